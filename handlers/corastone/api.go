package corastone

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// endpoint is a read of Corastone's Integration API.
type endpoint struct {
	name string // in api.paths, metrics and errors
	path string
	// scope is what the token needs for it.
	scope string
	// page is how many rows an answer has at most, ids how many of them can be
	// asked for at once.
	page, ids int
	// once says that there is one row for each id.
	once bool
	// inferred says that the guide names the read, but not its path.
	inferred bool
}

// The reads, with the limits that the guide's libraries give. Those whose path
// is inferred are named by analogy with documented ones: api.paths replaces
// them.
var (
	readToken         = endpoint{name: "token", path: "/oauth2/token"}
	readSequencer     = endpoint{name: "sequencer", path: "/external/v1/sequencer", scope: "readSequencer", page: 100}
	readTransactions  = endpoint{name: "transactions", path: "/external/v1/transactions", scope: "readTransactionData", page: 50, ids: 50, once: true}
	readErrorLog      = endpoint{name: "error-log", path: "/external/v1/error-log", scope: "readErrors", page: 50, ids: 50}
	readAssets        = endpoint{name: "asset", path: "/external/v1/asset", scope: "readSubscription", page: 500, ids: 500, once: true}
	readAssetHistory  = endpoint{name: "asset-history", path: "/external/v1/asset/history", scope: "readSubscription", page: 50, ids: 500, inferred: true}
	readSecurities    = endpoint{name: "securities", path: "/external/v1/securities", scope: "readIssuance", page: 10, ids: 10, once: true}
	readExclusivity   = endpoint{name: "exclusivity", path: "/external/v1/exclusivity", scope: "readExclusivityOptions", page: 50, ids: 10}
	readPending       = endpoint{name: "pending-assignments", path: "/external/v1/exclusivity/pending-assignments", scope: "readExclusivityOptions", page: 50, inferred: true}
	readComments      = endpoint{name: "comment", path: "/external/v1/comment", scope: "readComments", page: 50, ids: 50}
	allEndpoints      = []endpoint{readToken, readSequencer, readTransactions, readErrorLog, readAssets, readAssetHistory, readSecurities, readExclusivity, readPending, readComments}
	errManyPages      = errors.New("it has more pages than can be")
	errRepeatedPages  = fmt.Errorf("%w: a page came twice", handlers.ErrMoved)
	errTokenIsMissing = fmt.Errorf("%w: access_token", handlers.ErrIncomplete)
)

// maxPages bounds how long a list can be.
const maxPages = 10_000

// client asks a node's API.
type client struct {
	session *handlers.Session
	base    string            // without a slash at its end
	paths   map[string]string // by the endpoint's name, where it isn't the usual one
}

// newClient returns a client for what the settings say. Scopes are those that
// the token is asked for.
func (a *API) newClient(means handlers.Means, scopes []string) (*client, error) {
	base, err := handlers.BaseURL("api.url", a.URL, "https://integration-api.org1.example")
	problems := []error{err}
	if a.ClientID == "" {
		problems = append(problems, errors.New("api.client_id is missing"))
	}
	if a.ClientSecret.Value() == "" {
		problems = append(problems, errors.New("api.client_secret is empty"))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Paths)) {
		known := slices.ContainsFunc(allEndpoints, func(e endpoint) bool { return e.name == name })
		switch path := a.Paths[name]; {
		case !known:
			problems = append(problems, fmt.Errorf("api.paths has %q, which is none of %s", name, endpointNames()))
		case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#"):
			problems = append(problems, fmt.Errorf("api.paths.%s must be a path, like /external/v1/asset/history", name))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	if len(a.Scopes) > 0 {
		scopes = a.Scopes
	}
	c := &client{base: base, paths: a.Paths}
	c.session = handlers.NewSession(means.Client, c.login(a.ClientID, a.ClientSecret.Value(), scopes))
	return c, nil
}

func endpointNames() string {
	var names []string
	for _, e := range allEndpoints {
		names = append(names, e.name)
	}
	return strings.Join(names, ", ")
}

func (c *client) url(e endpoint, query url.Values) string {
	path := e.path
	if p, ok := c.paths[e.name]; ok {
		path = p
	}
	at := c.base + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	return at
}

// login asks for a token as the guide's page on authentication says: client
// credentials (RFC 6749, section 4.4), in the form that the RFC gives them,
// because the guide doesn't say which.
func (c *client) login(id, secret string, scopes []string) handlers.Login {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	return func(ctx context.Context, ask handlers.Ask, _ handlers.Token) (handlers.Token, error) {
		form := url.Values{"grant_type": {"client_credentials"}}
		if len(scopes) > 0 {
			form.Set("scope", strings.Join(scopes, " "))
		}
		asked := time.Now()
		answer, err := ask(ctx, handlers.Call{
			Endpoint: readToken.name,
			Method:   http.MethodPost,
			URL:      c.url(readToken, nil),
			Header:   http.Header{"Authorization": {basic}, "Content-Type": {"application/x-www-form-urlencoded"}},
			Body:     []byte(form.Encode()),
		})
		if err != nil {
			return handlers.Token{}, err
		}
		var token struct {
			AccessToken string  `json:"access_token"`
			ExpiresIn   seconds `json:"expires_in"`
		}
		if err := json.Unmarshal(answer.Body, &token); err != nil || token.AccessToken == "" {
			return handlers.Token{}, &handlers.UpstreamError{Endpoint: readToken.name, Err: errTokenIsMissing}
		}
		t := handlers.Token{Value: token.AccessToken}
		if token.ExpiresIn > 0 {
			t.Expires = asked.Add(time.Duration(token.ExpiresIn) * time.Second)
		}
		return t, nil
	}
}

// seconds are a number, or a string of one.
type seconds int64

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (s *seconds) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	token, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if k := token.Kind(); k != jsontext.KindString && k != jsontext.KindNumber {
		return nil // it isn't known then
	}
	if n, err := strconv.ParseInt(token.String(), 10, 32); err == nil {
		*s = seconds(n)
	}
	return nil
}

// get asks an endpoint once.
func (c *client) get(ctx context.Context, e endpoint, query url.Values) (handlers.Answer, error) {
	return c.session.Do(ctx, handlers.Call{Endpoint: e.name, URL: c.url(e, query)})
}

// reader takes the rows out of an answer.
type reader func(handlers.Answer) (rows []jsontext.Value, err error)

// pages asks an endpoint for all its rows, page after page up to one with
// nothing on it, and calls fn with each page: a node may give fewer rows a page
// than it was asked for. Rows that were asked for by id, each of which there is
// once, are all when there are as many as enough; 0: how many there are isn't
// known. All pages are asked with one token, or the list is asked for again from
// its beginning, once: then fn must be able to hear of rows again.
func (c *client) pages(ctx context.Context, e endpoint, query url.Values, enough int, read reader, fn func([]jsontext.Value) error) error {
	for again := false; ; again = true {
		err := c.pagesOnce(ctx, e, query, enough, read, fn)
		if again || !errors.Is(err, handlers.ErrMoved) {
			return err
		}
	}
}

func (c *client) pagesOnce(ctx context.Context, e endpoint, query url.Values, enough int, read reader, fn func([]jsontext.Value) error) error {
	var epoch uint64
	seen := map[[sha256.Size]byte]bool{}
	offset, short := 0, false
	for range maxPages {
		q := maps.Clone(query)
		if q == nil {
			q = url.Values{}
		}
		q.Set("pageSize", strconv.Itoa(e.page))
		q.Set("offset", strconv.Itoa(offset))
		answer, err := c.get(ctx, e, q)
		switch {
		case short && notThere(err):
			return nil // some say so behind the last page
		case err != nil:
			return err
		case epoch != 0 && answer.Epoch != epoch:
			return &handlers.UpstreamError{Endpoint: e.name, Err: handlers.ErrMoved}
		}
		epoch = answer.Epoch
		rows, err := read(answer)
		if err != nil {
			return &handlers.UpstreamError{Endpoint: e.name, Err: err}
		}
		fresh := 0
		for _, row := range rows {
			if sum := sha256.Sum256(row); !seen[sum] {
				seen[sum] = true
				fresh++
			}
		}
		before := short
		short = len(rows) < e.page
		switch {
		case len(rows) == 0:
			return nil
		case fresh == 0 && (before || short): // it shows the last page for those behind it
			return nil
		case fresh == 0:
			return &handlers.UpstreamError{Endpoint: e.name, Err: errRepeatedPages}
		}
		if err := fn(rows); err != nil {
			return err
		}
		offset += len(rows)
		if short && enough > 0 && offset >= enough {
			return nil
		}
	}
	return &handlers.UpstreamError{Endpoint: e.name, Err: errManyPages}
}

// list reads a body that is a list of rows, or one row: the guide shows both.
func list(answer handlers.Answer) ([]jsontext.Value, error) {
	v := jsontext.Value(answer.Body)
	if !v.IsValid() {
		return nil, handlers.ErrNotJSON
	}
	switch v.Kind() {
	case jsontext.KindBeginArray:
		var rows []jsontext.Value
		if err := json.Unmarshal(v, &rows); err != nil {
			return nil, handlers.ErrNotJSON
		}
		return rows, nil
	case jsontext.KindBeginObject:
		return []jsontext.Value{v}, nil
	}
	return nil, handlers.ErrIncomplete
}

// byIDs asks for rows by their ids, as many at once as the endpoint takes.
func (c *client) byIDs(ctx context.Context, e endpoint, filter string, ids []string, more url.Values, fn func([]jsontext.Value) error) error {
	for some := range slices.Chunk(ids, e.ids) {
		query := url.Values{}
		maps.Copy(query, more)
		query.Set(filter, filterValue(some))
		enough := 0
		if e.once {
			enough = len(some)
		}
		if err := c.pages(ctx, e, query, enough, list, fn); err != nil {
			return err
		}
	}
	return nil
}

// filterValue writes a list for a filter: with commas between, and quotes
// around what has one in it.
func filterValue(ids []string) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		if strings.Contains(id, ",") {
			id = `"` + id + `"`
		}
		parts[i] = id
	}
	return strings.Join(parts, ",")
}

// notThere reports whether an endpoint or what it was asked for isn't there.
func notThere(err error) bool {
	var answered *handlers.UpstreamError
	return errors.As(err, &answered) && answered.Code == http.StatusNotFound
}
