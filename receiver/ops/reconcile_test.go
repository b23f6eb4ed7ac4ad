package ops_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/receiver/ops"
)

// comparison is a Reconcile that finds what it is told to, and then fails.
type comparison struct {
	asked []string
	finds int
	fails error
}

func (c *comparison) reconcile(_ context.Context, actor string, q ops.ReconcileQuery, progress func(ops.Reconciled) error) error {
	c.asked = append(c.asked, fmt.Sprintf("%s %s dry=%v repeats=%v", actor, q.Source, q.DryRun, q.AcceptRepeats))
	for i := range c.finds {
		r := ops.Reconciled{From: q.Since, To: time.Now(), Facts: i + 1, Complete: i == c.finds-1 && c.fails == nil}
		if err := progress(r); err != nil {
			return err
		}
	}
	return c.fails
}

func withComparison(t *testing.T) (*panel, *comparison) {
	t.Helper()
	c := &comparison{}
	return open(t, func(cfg *ops.Config) {
		cfg.Reconcile = c.reconcile
		cfg.Tokens = []ops.Token{
			{Name: "vera", Role: ops.RoleViewer, Token: "view"},
			{Name: "otto", Role: ops.RoleOperator, Token: "operate"},
		}
	}), c
}

func reports(t *testing.T, body string) (all []ops.Reconciled) {
	t.Helper()
	for line := range strings.Lines(body) {
		var r ops.Reconciled
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

func TestAComparisonTellsHowFarItIs(t *testing.T) {
	p, c := withComparison(t)
	c.finds = 3
	h := p.do(t, http.MethodPost, "/api/v1/sources/corastone/reconcile?since=72h&dry_run=true", bearer("operate"))
	if h.status != http.StatusOK || h.header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%d %v", h.status, h.header)
	}
	all := reports(t, h.body)
	if len(all) != 3 || all[2].Facts != 3 || !all[2].Complete || all[1].Complete {
		t.Errorf("got %+v", all)
	}
	if len(c.asked) != 1 || c.asked[0] != "otto corastone dry=true repeats=false" {
		t.Errorf("asked %v", c.asked)
	}
}

func TestAComparisonThatEndsEarlySaysWhy(t *testing.T) {
	p, c := withComparison(t)
	c.finds = 2
	for err, want := range map[error]string{
		&ops.NotNowError{Detail: "sequencer: answered 500"}: "sequencer: answered 500",
		errors.New("a secret"):                              "the bus, the journal or the platform can't be asked now",
	} {
		c.fails = err
		all := reports(t, p.do(t, http.MethodPost, "/api/v1/sources/corastone/reconcile?since=72h", bearer("operate")).body)
		if last := all[len(all)-1]; last.Complete || last.Error != want {
			t.Errorf("%v: the last line is %+v", err, last)
		}
	}
	c.finds = 0
	for err, want := range map[error]int{
		ops.ErrNotThere:                        http.StatusNotFound,
		&ops.NotNowError{Detail: "no history"}: http.StatusConflict,
		errors.New("a secret"):                 http.StatusServiceUnavailable,
	} {
		c.fails = err
		wantProblem(t, p.do(t, http.MethodPost, "/api/v1/sources/corastone/reconcile?since=72h", bearer("operate")), want)
	}
}

func TestAComparisonIsForOperatorsWhoSayWhat(t *testing.T) {
	p, c := withComparison(t)
	for _, token := range []string{"", "view"} {
		h := p.do(t, http.MethodPost, "/api/v1/sources/corastone/reconcile?since=72h", bearer(token))
		if h.status != http.StatusUnauthorized && h.status != http.StatusForbidden {
			t.Errorf("with the token %q: %d", token, h.status)
		}
	}
	for _, query := range []string{"", "?since=", "?since=yesterday", "?since=1h&until=never", "?since=1h&dry_run=perhaps", "?since=1h&since=2h", "?since=1h&who=me"} {
		wantProblem(t, p.do(t, http.MethodPost, "/api/v1/sources/corastone/reconcile"+query, bearer("operate")), http.StatusBadRequest)
	}
	if c.asked != nil {
		t.Errorf("asked %v", c.asked)
	}
}
