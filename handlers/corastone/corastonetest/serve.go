package corastonetest

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// The endpoints, as faults and counts name them.
const (
	EndpointToken           = "token"
	EndpointSequencer       = "sequencer"
	EndpointTransactions    = "transactions"
	EndpointOrchestrations  = "orchestrations"
	EndpointErrorLog        = "error-log"
	EndpointAsset           = "asset"
	EndpointAssetHistory    = "asset-history"
	EndpointSecurities      = "securities"
	EndpointSecurityHistory = "securities-history"
	EndpointExclusivity     = "exclusivity"
	EndpointPending         = "pending-assignments"
	EndpointComment         = "comment"
)

// The OAuth client that every ledger has, with all scopes.
const (
	ClientID     = "standin-client"
	ClientSecret = "standin-secret"
)

// Scopes returns the scopes that the ledger's reads need.
func Scopes() []string {
	return []string{
		"readSequencer", "readTransactionData", "readErrors", "readSubscription", "readIssuance",
		"readExclusivityOptions", "readComments",
	}
}

type oauthClient struct {
	secret string
	scopes []string
}

type token struct {
	client string
	scopes []string
	ends   time.Time
}

// read is one of the API's reads.
type read struct {
	endpoint string
	scope    string
	max      int // rows a page
	answer   func(*Ledger, *query) any
}

// reads returns the paths that are served, with the limits of the guide. The
// paths of both histories and of pending assignments are inferred from those of
// others, and so are the limits of what it gives none for: the asset history,
// pending assignments and comments.
func reads() map[string]read {
	return map[string]read{
		"/external/v1/sequencer":                       {EndpointSequencer, "readSequencer", 100, (*Ledger).readSequence},
		"/external/v1/transactions":                    {EndpointTransactions, "readTransactionData", 50, (*Ledger).readTransactions},
		"/external/v1/transactions/orchestrations":     {EndpointOrchestrations, "readTransactionData", 50, (*Ledger).readOrchestrations},
		"/external/v1/error-log":                       {EndpointErrorLog, "readErrors", 50, (*Ledger).readErrors},
		"/external/v1/asset":                           {EndpointAsset, "readSubscription", 500, (*Ledger).readAssets},
		"/external/v1/asset/history":                   {EndpointAssetHistory, "readSubscription", 500, (*Ledger).readAssetHistory},
		"/external/v1/securities":                      {EndpointSecurities, "readIssuance", 10, (*Ledger).readSecurities},
		"/external/v1/securities/history":              {EndpointSecurityHistory, "readIssuance", 10, (*Ledger).readSecurityHistory},
		"/external/v1/exclusivity":                     {EndpointExclusivity, "readExclusivityOptions", 50, (*Ledger).readExclusivity},
		"/external/v1/exclusivity/pending-assignments": {EndpointPending, "readExclusivityOptions", 50, (*Ledger).readPending},
		"/external/v1/comment":                         {EndpointComment, "readComments", 50, (*Ledger).readComments},
	}
}

// AddClient makes an OAuth client, or gives one another secret and other
// scopes. Tokens that it has stay as they are.
func (l *Ledger) AddClient(id, secret string, scopes ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients[id] = &oauthClient{secret, scopes}
}

// EndTokens has all tokens be invalid from now on.
func (l *Ledger) EndTokens() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.tokens)
}

// ServeHTTP answers as the Integration API does: with arrays as a rule, with
// an object where the guide shows one.
func (l *Ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", l.now().Format(http.TimeFormat))
	if r.Header.Get("User-Agent") == "" {
		forbidden(w)
		return
	}
	if r.URL.Path == "/oauth2/token" {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		if err != nil || l.next(EndpointToken, nil, 0).fails(w, r) {
			return
		}
		status, answer := l.token(r, body)
		write(w, status, encoded(answer))
		return
	}
	rd, ok := l.reads[r.URL.Path]
	if !ok || r.Method != http.MethodGet {
		write(w, http.StatusNotFound, []byte(`{"message":"Not Found"}`))
		return
	}
	values := r.URL.Query()
	offset, _ := strconv.Atoi(values.Get("offset"))
	f := l.next(rd.endpoint, values, offset)
	if f.fails(w, r) {
		return
	}
	status, body := l.read(r, rd, values, f)
	if f.Kind == Truncated {
		body = body[:len(body)/2]
	}
	write(w, status, body)
}

func (l *Ledger) read(r *http.Request, rd read, values url.Values, f Fault) (int, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.authorize(r, rd.scope)
	var answer any
	if err == nil {
		q := &query{values: values, max: rd.max, fault: f.Kind}
		if q.flag("includeComments") {
			q.max = min(q.max, 50)
		}
		q.page()
		if answer = rd.answer(l, q); q.err != nil {
			err = q.err
		}
	}
	if err != nil {
		return err.Status, encoded(map[string]any{"code": err.Code, "message": err.Message})
	}
	return http.StatusOK, encoded(answer)
}

func encoded(v any) []byte {
	b, err := json.Marshal(v, json.Deterministic(true), json.FormatNilSliceAsNull(false))
	if err != nil {
		panic(err) // a slip of this package
	}
	return b
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// forbidden is what the web application firewall in front of a node answers,
// to those without a User-Agent for one.
func forbidden(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusForbidden)
	_, _ = io.WriteString(w, "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body><center><h1>403 Forbidden</h1></center></body>\r\n</html>\r\n")
}

// token answers the request for a token (RFC 6749, section 4.4).
func (l *Ledger) token(r *http.Request, body []byte) (int, any) {
	refuse := func(status int, code string) (int, any) { return status, map[string]any{"error": code} }
	if r.Method != http.MethodPost {
		return refuse(http.StatusMethodNotAllowed, "invalid_request")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return refuse(http.StatusBadRequest, "invalid_request")
	}
	if form.Get("grant_type") != "client_credentials" {
		return refuse(http.StatusBadRequest, "unsupported_grant_type")
	}
	id, secret, _ := r.BasicAuth()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[id]
	if c == nil && id == ClientID {
		c = &oauthClient{ClientSecret, Scopes()}
	}
	if c == nil || c.secret != secret {
		return refuse(http.StatusUnauthorized, "invalid_client")
	}
	scopes := strings.Fields(form.Get("scope"))
	for _, s := range scopes {
		if !slices.Contains(c.scopes, s) {
			return refuse(http.StatusBadRequest, "invalid_scope")
		}
	}
	if len(scopes) == 0 {
		scopes = c.scopes
	}
	value := l.uuid()
	l.tokens[value] = token{id, scopes, l.options.Now().Add(l.options.TokenLife)}
	return http.StatusOK, map[string]any{
		"access_token": value, "token_type": "Bearer", "expires_in": int(l.options.TokenLife / time.Second),
		"scope": strings.Join(scopes, " "),
	}
}

// authorize refuses a request whose token isn't good, or not for this.
func (l *Ledger) authorize(r *http.Request, scope string) *RefusedError {
	value, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t, known := l.tokens[value]
	switch {
	case !ok || !known || !l.options.Now().Before(t.ends):
		return refused("AU0001", "The access token is invalid or missing.")
	case !slices.Contains(t.scopes, scope):
		return refused("AU0002", "You do not have access to this scope: '"+scope+"'")
	}
	return nil
}
