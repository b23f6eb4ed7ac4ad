package ops_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
)

// bench is a set of pollers that notes what it is asked.
type bench struct {
	asked []string
	fails error
}

func (b *bench) List(context.Context) ([]ops.PollerStatus, error) {
	return []ops.PollerStatus{{Name: "bank/list", State: "waiting"}}, b.fails
}

func (b *bench) Act(_ context.Context, actor, name string, verb ops.PollerVerb) error {
	b.asked = append(b.asked, fmt.Sprintf("%s %s %s", actor, verb, name))
	return b.fails
}

func withBench(t *testing.T) (*panel, *bench) {
	t.Helper()
	b := &bench{}
	return open(t, func(c *ops.Config) {
		c.Pollers = b
		c.Tokens = []ops.Token{
			{Name: "vera", Role: ops.RoleViewer, Token: "view"},
			{Name: "otto", Role: ops.RoleOperator, Token: "operate"},
		}
	}), b
}

func TestPollersAreShownAndMoved(t *testing.T) {
	p, b := withBench(t)
	if a := p.get(t, "/api/v1/pollers"); a.status != http.StatusOK {
		t.Errorf("listing them: %d", a.status)
	}
	for _, verb := range []string{"run", "pause", "resume", "accept"} {
		if a := p.do(t, http.MethodPost, "/api/v1/pollers/bank/list/"+verb, bearer("operate")); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", verb, a.status, a.body)
		}
	}
	want := []string{"otto run bank/list", "otto pause bank/list", "otto resume bank/list", "otto accept bank/list"}
	if diff := cmp.Diff(want, b.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestPollersAreMovedByOperatorsOnly(t *testing.T) {
	p, b := withBench(t)
	for _, token := range []string{"", "view", "wrong"} {
		if a := p.do(t, http.MethodPost, "/api/v1/pollers/bank/list/pause", bearer(token)); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("with the token %q: %d", token, a.status)
		}
	}
	if b.asked != nil {
		t.Errorf("asked %v", b.asked)
	}
}

func TestPollersSayWhyNothingWasDone(t *testing.T) {
	p, b := withBench(t)
	for err, want := range map[error]int{
		fmt.Errorf("wrapped: %w", ops.ErrNotThere):        http.StatusNotFound,
		&ops.NotNowError{Detail: "it rests"}:              http.StatusConflict,
		fmt.Errorf("wrapped: %w", ops.ErrNothingToDo):     http.StatusConflict,
		errors.New("the bus is away with a secret in it"): http.StatusServiceUnavailable,
	} {
		b.fails = err
		wantProblem(t, p.do(t, http.MethodPost, "/api/v1/pollers/bank/list/pause", bearer("operate")), want)
	}
	b.fails = nil
	wantProblem(t, p.do(t, http.MethodPost, "/api/v1/pollers/bank/list/explode", bearer("operate")), http.StatusNotFound)
	wantProblem(t, p.do(t, http.MethodPost, "/api/v1/pollers/bank/run", bearer("operate")), http.StatusNotFound)
}
