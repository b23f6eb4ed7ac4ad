package ops_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
)

// archive is where events are found; it notes what it is asked.
type archive struct{ asked []string }

func (a *archive) Event(_ context.Context, id string) (ops.TailEvent, error) {
	a.asked = append(a.asked, "event "+id)
	return ops.TailEvent{Sequence: 3, Event: []byte(`{"id":"x"}`)}, nil
}

func (a *archive) Restricted(_ context.Context, actor, id string) (ops.TailEvent, error) {
	a.asked = append(a.asked, "restricted "+actor+" "+id)
	return ops.TailEvent{Sequence: 4, Event: []byte(`{}`)}, nil
}

func (a *archive) Raw(_ context.Context, actor, id string) (ops.Record, error) {
	a.asked = append(a.asked, "raw "+actor+" "+id)
	return ops.Record{}, ops.ErrNotThere
}

func TestEventsAskForTheRoleThatTheyNeed(t *testing.T) {
	a := &archive{}
	p := open(t, func(c *ops.Config) {
		c.Events = a
		c.Tokens = []ops.Token{{Name: "ursula", Role: ops.RoleUnseal, Token: "unseal"}, {Name: "otto", Role: ops.RoleOperator, Token: "operate"}}
	})
	const id = "/api/v1/events/one:process:a.b=c_d-e:success"
	for request, want := range map[string]int{
		" " + id: 200, "unseal " + id: 200,
		" " + id + "/restricted": 401, "operate " + id + "/restricted": 403, "unseal " + id + "/restricted": 200,
		" " + id + "/raw": 401, "operate " + id + "/raw": 403, "unseal " + id + "/raw": 404,
		" " + id + "?x=1": 400, " /api/v1/events/a%2Fb": 400, " /api/v1/events/a%20b": 400, " /api/v1/events/": 404,
	} {
		a.asked = nil
		token, path, _ := strings.Cut(request, " ")
		h := p.do(t, http.MethodGet, path, func(r *http.Request) {
			if token != "" {
				bearer(token)(r)
			}
		})
		if h.status != want {
			t.Errorf("%s: %d, want %d", request, h.status, want)
		}
		if asked := len(a.asked) == 1; asked != (want == 200 || token == "unseal") {
			t.Errorf("%s: asked %q", request, a.asked)
		}
		if want == 200 && h.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept by caches", request)
		}
	}
	a.asked = nil
	p.do(t, http.MethodGet, id+"/raw", bearer("unseal"))
	if diff := cmp.Diff([]string{"raw ursula one:process:a.b=c_d-e:success"}, a.asked); diff != "" {
		t.Error(diff)
	}
}
