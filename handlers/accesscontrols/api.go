package accesscontrols

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// maxIDs is how many ids go into one call. CAS doesn't say how many it takes.
const maxIDs = 100

// documents says where documents of one kind are.
type documents struct {
	role   string
	api    string // v1 or v2
	view   View
	list   string // path of the read for many ids
	single string // path of the read for one, behind which the id goes
	suffix string // what follows the id
	scope  string // what a token must have
	member string // the id's name in a document
	ids    string // the name of the list of ids, where it wants one
	shape  *shape
}

func (a *source) tranchesV1() documents {
	return documents{
		role: RoleTranchesV1, api: "v1", scope: scopeRead,
		list: "/v1/fixedincome/tranche/accesscontrols", single: "/v1/fixedincome/tranche/", suffix: "/accesscontrols",
		member: "trancheId", ids: "trancheIds", shape: documented.tranchesV1,
	}
}

func (a *source) tranchesV2() documents {
	return a.inView(documents{role: RoleTranchesV2, member: "trancheId", ids: "trancheIds", shape: documented.tranchesV2}, "tranches")
}

func (a *source) deals() documents {
	return a.inView(documents{role: RoleDeals, member: "dealId", ids: "dealIds", shape: documented.deals}, "deals")
}

func (a *source) inView(d documents, path string) documents {
	d.api, d.view, d.list, d.scope = "v2", a.settings.View, "/v2/"+path, scopeRead
	if d.view == ViewFull {
		d.list, d.scope = "/v2/admin/"+path, scopeAdmin
	}
	d.single = d.list + "/"
	return d
}

func (a *source) documents() []documents {
	return []documents{a.tranchesV1(), a.tranchesV2(), a.deals()}
}

// found is what the platform answered when it was asked for something: a
// document, or a status that says why there is none.
type found struct {
	document map[string]any
	status   int
}

// nothing lists the answers that say that something can't be read: it isn't
// there, or not for us, which CAS may not tell apart.
var nothing = []int{http.StatusForbidden, http.StatusNotFound}

// read asks for documents and calls each with what it found, in the order of
// ids. It goes on after a server's error that may be of one document only, and
// returns it at last.
func (a *source) read(ctx context.Context, d documents, ids []string, each func(id string, f found) error) error {
	var failed error
	for len(ids) > 0 {
		chunk := ids[:min(maxIDs, len(ids))]
		ids = ids[len(chunk):]
		documents, refused, err := a.readMany(ctx, d, chunk)
		if err == nil {
			err = a.readChunk(ctx, d, chunk, documents, refused, each)
		}
		if err != nil && !passing(err) {
			return err
		}
		failed = cmp.Or(failed, err)
	}
	return failed
}

// readChunk calls each with documents, and with what is answered for those of
// ids that are not among them.
func (a *source) readChunk(ctx context.Context, d documents, ids []string, documents map[string]map[string]any, refused error, each func(id string, f found) error) error {
	var failed error
	all := make([]found, len(ids))
	if a.settings.Shared && !a.may(d.scope) {
		refused = &handlers.UpstreamError{Endpoint: d.role, Code: http.StatusForbidden}
	}
	readable := refused == nil
	for i, id := range ids {
		all[i].document = documents[strings.ToLower(id)]
		if all[i].document == nil {
			var err error
			if all[i], err = a.readOne(ctx, d, id); err != nil && !passing(err) {
				return err
			} else if err != nil {
				failed = cmp.Or(failed, err)
			}
		}
		readable = readable || all[i].document != nil || all[i].status == http.StatusNotFound
	}
	if !readable {
		// None of them may be read, nor may many at once: that says something
		// of us, and nothing of the documents.
		return cmp.Or(failed, refused)
	}
	for i, id := range ids {
		if all[i].document == nil && all[i].status == 0 {
			continue // it is what failed
		}
		if err := each(id, all[i]); err != nil {
			return err
		}
	}
	return failed
}

// passing reports whether an error may be of one call, so that others are
// worth a try.
func passing(err error) bool {
	var e *handlers.UpstreamError
	return errors.As(err, &e) && e.Code >= 500 && e.Code != http.StatusServiceUnavailable && e.RetryAfter == 0
}

// readMany asks for up to maxIDs documents at once and returns those that were
// there, by their ids in lower case. Shared data is read one by one: reads of
// many don't know of it, and would answer with private data. If we may not
// read one of them, which may mean all, refused says so.
func (a *source) readMany(ctx context.Context, d documents, ids []string) (documents map[string]map[string]any, refused, err error) {
	if a.settings.Shared {
		return nil, nil, nil
	}
	wrapped := a.wrapped[d.list]
	answer, err := a.send(ctx, d, ids, wrapped.Load())
	if code(err) == http.StatusBadRequest {
		// The documentation doesn't say whether the ids stand alone or in an
		// object. What was understood once is right.
		form := !wrapped.Load()
		if answer, err = a.send(ctx, d, ids, form); err == nil {
			wrapped.Store(form)
		}
	}
	switch code(err) {
	case http.StatusForbidden:
		return nil, err, nil
	case http.StatusNotFound:
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var list []jsontext.Value
	if err := json.Unmarshal(answer.Body, &list); err != nil || list == nil {
		return nil, nil, unusable(d.role, answer.Body)
	}
	documents = make(map[string]map[string]any, len(list))
	for _, native := range list {
		tree, err := parse(native)
		object, ok := tree.(map[string]any)
		if err == nil && tree == nil {
			continue
		}
		id := strings.ToLower(textOf(member(object, d.member)))
		if err != nil || !ok || id == "" {
			return nil, nil, unusable(d.role, answer.Body)
		}
		if _, ok := documents[id]; !ok {
			documents[id] = object
		}
	}
	return documents, nil, nil
}

func (a *source) send(ctx context.Context, d documents, ids []string, wrapped bool) (handlers.Answer, error) {
	var body []byte
	var err error
	if wrapped {
		body, err = json.Marshal(map[string][]string{d.ids: ids})
	} else {
		body, err = json.Marshal(ids)
	}
	if err != nil {
		return handlers.Answer{}, fmt.Errorf("%s: %w", d.role, handlers.ErrNotJSON)
	}
	return a.session.Do(ctx, handlers.Call{
		Endpoint: d.role, Method: http.MethodPost, URL: a.root + accessControls + d.list, Body: body,
	})
}

// readOne asks for one document.
func (a *source) readOne(ctx context.Context, d documents, id string) (found, error) {
	answer, err := a.session.Do(ctx, handlers.Call{
		Endpoint: d.role,
		URL:      a.root + accessControls + d.single + url.PathEscape(id) + d.suffix,
		Header:   a.accessType(),
		Accept:   nothing,
	})
	if err != nil {
		return found{}, err
	}
	if answer.Code != http.StatusOK {
		return found{status: answer.Code}, nil
	}
	tree, err := parse(answer.Body)
	object, ok := tree.(map[string]any)
	if err != nil || !ok {
		return found{}, unusable(d.role, answer.Body)
	}
	if said := textOf(member(object, d.member)); said != "" && !strings.EqualFold(said, id) {
		return found{}, fmt.Errorf("%s: it is of another id: %w", d.role, handlers.ErrIncomplete)
	}
	return found{document: object}, nil
}

// accessType says which data is asked for.
func (a *source) accessType() http.Header {
	if a.settings.Shared {
		return http.Header{"X-Access-Type": {"shared"}}
	}
	return nil
}

// unusable says what is wrong with an answer's body.
func unusable(endpoint string, body []byte) error {
	if !jsontext.Value(body).IsValid() {
		return fmt.Errorf("%s: %w", endpoint, handlers.ErrNotJSON)
	}
	return fmt.Errorf("%s: %w", endpoint, handlers.ErrIncomplete)
}

// code returns the status of an answer that is an error, 0 if it is none.
func code(err error) int {
	var e *handlers.UpstreamError
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}
