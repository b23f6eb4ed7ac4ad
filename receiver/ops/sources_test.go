package ops_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
)

// gate is sources that note what they are asked.
type gate struct {
	asked []string
	fails error
}

func (g *gate) Sources(context.Context) ([]ops.Source, error) {
	g.asked = append(g.asked, "list")
	at := time.Date(2026, 4, 14, 10, 20, 30, 0, time.UTC)
	return []ops.Source{
		{Name: "corastone", Platform: "corastone", Pollers: []string{}, Push: &ops.SourcePush{
			Signature: "pinned",
			Waiting:   []ops.WaitingConfirmation{{Topic: "north", Event: "e:1", Asked: at, Deadline: at.AddDate(0, 0, 2)}},
			Ended:     []ops.EndedSubscription{{Topic: "south", Event: "e:2", Ended: at}},
		}},
		{Name: "fund-one", Platform: "tokeny", Pollers: []string{}},
	}, g.fails
}

func (g *gate) Confirm(_ context.Context, actor, name string) ([]ops.Confirmation, error) {
	g.asked = append(g.asked, fmt.Sprintf("confirm %s by %s", name, actor))
	return []ops.Confirmation{{Topic: "north", Outcome: ops.OutcomeConfirmed}}, g.fails
}

func withGate(t *testing.T) (*panel, *gate) {
	t.Helper()
	g := &gate{}
	return open(t, func(c *ops.Config) {
		c.Sources = g
		c.Tokens = []ops.Token{
			{Name: "vera", Role: ops.RoleViewer, Token: "view"},
			{Name: "otto", Role: ops.RoleOperator, Token: "operate"},
			{Name: "ursula", Role: ops.RoleUnseal, Token: "unseal"},
		}
	}), g
}

func TestSourcesAreShownToAllAndConfirmedByOperators(t *testing.T) {
	p, g := withGate(t)
	const list = `{"sources":[{"name":"corastone","platform":"corastone","push":{"signature":"pinned","lastPush":null,"confirmSubscriptions":false,` +
		`"waiting":[{"topic":"north","event":"e:1","asked":"2026-04-14T10:20:30Z","deadline":"2026-04-16T10:20:30Z","lapsed":false,"tries":0}],` +
		`"ended":[{"topic":"south","event":"e:2","ended":"2026-04-14T10:20:30Z"}]},"pollers":[]},` +
		`{"name":"fund-one","platform":"tokeny","push":null,"pollers":[]}]}`
	for request, want := range map[string]struct {
		statuses    [5]int // of nobody, a viewer, an operator, who may unseal, the local token
		asked, body string
	}{
		"GET /api/v1/sources":                    {[5]int{200, 200, 200, 200, 200}, "list", list},
		"POST /api/v1/sources/corastone/confirm": {[5]int{401, 403, 200, 403, 200}, "confirm corastone by NAME", `{"confirmations":[{"topic":"north","outcome":"confirmed"}]}`},
	} {
		method, path, _ := strings.Cut(request, " ")
		for i, token := range []string{"", "view", "operate", "unseal", "local-token"} {
			h := p.do(t, method, path, func(r *http.Request) {
				if token != "" {
					bearer(token)(r)
				}
			})
			asked := strings.Join(g.asked, "\n")
			g.asked = nil
			if want.statuses[i] >= 400 {
				wantProblem(t, h, want.statuses[i])
				if asked != "" {
					t.Errorf("%s by %q was refused, and asked %q", request, token, asked)
				}
				continue
			}
			name := [5]string{"", "vera", "otto", "ursula", "ops.token"}[i]
			if h.status != http.StatusOK || asked != strings.ReplaceAll(want.asked, "NAME", name) {
				t.Errorf("%s by %q: %d, asked %q", request, token, h.status, asked)
			}
			if diff := cmp.Diff(want.body+"\n", h.body); diff != "" {
				t.Errorf("%s (-want +got):\n%s", request, diff)
			}
		}
	}
}

func TestSourceErrorsAreStatuses(t *testing.T) {
	p, g := withGate(t)
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{fmt.Errorf("x: %w", ops.ErrNoSource), http.StatusNotFound, ops.ErrNoSource.Error()},
		{fmt.Errorf("x: %w", ops.ErrNothingWaits), http.StatusNotFound, ops.ErrNothingWaits.Error()},
		{errors.New("the token is 2336412f"), http.StatusServiceUnavailable, "bus"},
	} {
		g.fails = c.err
		for _, request := range []string{"GET /api/v1/sources", "POST /api/v1/sources/corastone/confirm"} {
			method, path, _ := strings.Cut(request, " ")
			h := p.do(t, method, path, bearer("local-token"))
			wantProblem(t, h, c.status)
			if !strings.Contains(h.body, c.says) || strings.Contains(h.body, "2336412f") {
				t.Errorf("%s: %s", request, h.body)
			}
		}
	}
	g.fails, g.asked = nil, nil
	for _, request := range []string{
		"POST /api/v1/sources/Corastone/confirm", "POST /api/v1/sources/a%2Fb/confirm", "POST /api/v1/sources/corastone/confirm?all=true", "GET /api/v1/sources?x=1",
	} {
		method, path, _ := strings.Cut(request, " ")
		wantProblem(t, p.do(t, method, path, bearer("local-token")), http.StatusBadRequest)
	}
	if len(g.asked) > 0 {
		t.Errorf("asked %q", g.asked)
	}
}
