package ops_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
)

func TestReloadTellsWhoAskedAndWhatBecameOfIt(t *testing.T) {
	var actors []string
	var answer ops.Reloaded
	var fails error
	p := open(t, func(c *ops.Config) {
		c.Tokens = []ops.Token{
			{Name: "eve", Role: ops.RoleViewer, Token: "view"},
			{Name: "alice", Role: ops.RoleOperator, Token: "operate"},
		}
		c.Reload = func(_ context.Context, actor string) (ops.Reloaded, error) {
			actors = append(actors, actor)
			return answer, fails
		}
	})
	reload := func(token string) heard { return p.do(t, http.MethodPost, "/api/v1/reload", bearer(token)) }

	wantProblem(t, p.do(t, http.MethodPost, "/api/v1/reload", nil), http.StatusUnauthorized)
	wantProblem(t, reload("view"), http.StatusForbidden)
	wantProblem(t, p.get(t, "/api/v1/reload"), http.StatusMethodNotAllowed)

	answer = ops.Reloaded{
		Applied: []ops.Change{{Setting: "sources.corastone", How: "changed"}}, Restart: []string{"ingress.listen"},
		Warnings: []ops.Problem{{File: "a.yaml", Line: 3, Column: 7, Message: "x"}},
	}
	want := `{"applied":[{"setting":"sources.corastone","how":"changed"}],"restart":["ingress.listen"],` +
		`"warnings":[{"file":"a.yaml","line":3,"column":7,"message":"x"}]}` + "\n"
	if h := reload("operate"); h.status != http.StatusOK || h.body != want {
		t.Errorf("%d %s", h.status, h.body)
	}
	answer = ops.Reloaded{}
	if h := reload("local-token"); h.body != `{"applied":[],"restart":[],"warnings":[]}`+"\n" {
		t.Errorf("nothing is shown as %s", h.body)
	}

	fails = &ops.ReloadError{Problems: []ops.Problem{{File: "a.yaml", Line: 1, Column: 2, Message: "is wrong"}, {File: "b.yaml", Message: "does not exist"}}}
	h := reload("operate")
	wantProblem(t, h, http.StatusUnprocessableEntity)
	if want := `"problems":[{"file":"a.yaml","line":1,"column":2,"message":"is wrong"},{"file":"b.yaml","message":"does not exist"}]`; !strings.Contains(h.body, want) {
		t.Errorf("%s", h.body)
	}
	fails = ops.ErrEnding
	wantProblem(t, reload("operate"), http.StatusServiceUnavailable)
	fails = errors.New("else")
	wantProblem(t, reload("operate"), http.StatusInternalServerError)

	if diff := cmp.Diff([]string{"alice", "ops.token", "alice", "alice", "alice"}, actors); diff != "" {
		t.Errorf("actors (-want +got):\n%s", diff)
	}
}

func TestUpdatedTokensHoldFromTheNextRequestOn(t *testing.T) {
	p := open(t, func(c *ops.Config) {
		c.Tokens = []ops.Token{{Name: "old", Role: ops.RoleViewer, Token: "old"}}
	})
	status := func(token string) int { return p.do(t, http.MethodGet, "/api/v1/version", bearer(token)).status }
	want := func(when string, statuses map[string]int) {
		t.Helper()
		for token, want := range statuses {
			if got := status(token); got != want {
				t.Errorf("%s, %s: %d, want %d", when, token, got, want)
			}
		}
	}
	want("at first", map[string]int{"old": 200, "new": 401, "local-token": 200, "local-2": 401})
	if err := p.UpdateTokens([]ops.Token{{Name: "new", Role: ops.RoleViewer, Token: "new"}}, "local-2"); err != nil {
		t.Fatal(err)
	}
	want("afterwards", map[string]int{"old": 401, "new": 200, "local-token": 401, "local-2": 200})
	for name, bad := range map[string]ops.Token{
		"an empty token": {Name: "x", Role: ops.RoleViewer}, "no role": {Name: "x", Token: "x"},
	} {
		if err := p.UpdateTokens([]ops.Token{bad}, "local-3"); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	want("after bad ones", map[string]int{"new": 200, "local-2": 200, "local-3": 401, "x": 401})
}

func TestTokensOffLoopbackAreNeverTakenAwayAltogether(t *testing.T) {
	p := openOn(t, "0.0.0.0:0", func(c *ops.Config) {
		c.TLS = someTLS(t)
		c.Tokens = []ops.Token{{Name: "one", Role: ops.RoleViewer, Token: "one"}}
	}, nil)
	if err := p.UpdateTokens(nil, "local-token"); err == nil || !strings.Contains(err.Error(), "ops.tokens") {
		t.Errorf("all tokens were taken away: %v", err)
	}
	if h := p.do(t, http.MethodGet, "/api/v1/version", bearer("one")); h.status != http.StatusOK {
		t.Errorf("the token that was there: %d", h.status)
	}
}
