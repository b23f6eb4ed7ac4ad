package corastonetest_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

func TestInvestmentGoesItsWay(t *testing.T) {
	for kind, want := range map[string][]string{
		"":                           {"Created", "Confirmed", "Wired", "Settled", "Issued"},
		corastone.WhenIssuedDirectly: {"Created", "Confirmed", "Wired", "Issued"},
		corastone.WhenDrawdown:       {"Created", "CommitmentAccepted", "Issued"},
	} {
		l, fundID := fund(t, corastonetest.Options{}, corastonetest.Security{Kind: kind})
		id := subscribe(t, l, fundID).AssetID
		one := []string{id}
		_, err := l.Accept(one)
		if kind != corastone.WhenDrawdown {
			_, wired := l.MarkWired(one)
			_, settled := l.MarkSettled(one)
			err = errors.Join(err, wired, settled)
		}
		if kind != corastone.WhenIssuedDirectly {
			_, closed := l.RunClose(one)
			err = errors.Join(err, closed)
		}
		if err != nil || l.AssetStatus(id) != "issued" {
			t.Errorf("%q: %v; status %s", kind, err, l.AssetStatus(id))
		}
		var got []string
		for _, row := range newCaller(t, l).rows("asset/history", "assetIdsFilter", id) {
			event, _ := row["event"].(string)
			got = append(got, event)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", kind, diff)
		}
	}
}

func TestEveryTransactionHasItsRow(t *testing.T) {
	var o told
	l, fundID := fund(t, corastonetest.Options{Tell: o.tell}, corastonetest.Security{})
	r := subscribe(t, l, fundID)
	c := newCaller(t, l)
	var methods []string
	for _, row := range c.sequence().Sequence {
		if p := row["transaction"]; p != nil {
			method, _ := p["method"].(string)
			methods = append(methods, method)
		}
	}
	if want := []string{"launch", "add", "acceptFundAssignment", "createInvestment"}; !slices.Equal(methods, want) {
		t.Errorf("the Sequencer has %v", methods)
	}
	all, listed := c.sequence().Sequence, l.Entries()
	if len(all) != 7 || len(listed) != len(all) { // of the launch, only the transaction was granted
		t.Fatalf("%d rows and %d entries", len(all), len(listed))
	}
	for i, e := range listed {
		if got := jsonOf(t, all[i]); got != canonical(t, e.Entry()) {
			t.Errorf("row %d is %s, and the entry %s", i, got, e.Entry())
		}
	}
	rows := c.rows("transactions", "processIdsFilter", r.ProcessIDs[0])
	if len(rows) != 1 || rows[0]["orchestrationId"] != r.OrchestrationID {
		t.Fatalf("%v", rows)
	}
	want := []string{"add success", "orchestration success", "acceptFundAssignment success", "orchestration success", "createInvestment success", "orchestration success"}
	if diff := cmp.Diff(want, o.names()); diff != "" {
		t.Errorf("pushes (-want +got):\n%s", diff)
	}
}

// allowed is what the guide allows in each status of a subscription to a fund
// of the usual kind, written down again so that a slip in the table shows.
var allowed = map[string]string{
	"created":                         "modify review accept reject request-remediation recall",
	"modified":                        "modify review accept reject request-remediation recall",
	"remediation_pending":             "review accept reject remediate recall",
	"remediated":                      "modify review accept reject request-remediation recall",
	"confirmed":                       "recall wire decline settle",
	"settlement_confirmation_pending": "decline settle",
	"settled":                         "issue",
	"issued":                          "",
	"recalled":                        "accept-recall reject-recall",
	"disposed":                        "",
}

// ways lead to each of them.
var ways = map[string]string{
	"created": "", "modified": "modify", "remediation_pending": "request-remediation", "remediated": "request-remediation remediate",
	"confirmed": "accept", "settlement_confirmation_pending": "accept wire", "settled": "accept settle", "issued": "accept settle issue",
	"recalled": "recall", "disposed": "reject",
}

// actions are what can be done to one subscription.
func actions(l *corastonetest.Ledger) map[string]func(id string) error {
	single := func(f func(string, ...corastonetest.How) (corastonetest.Receipt, error)) func(string) error {
		return func(id string) error { _, err := f(id); return err }
	}
	batch := func(f func([]string, ...corastonetest.How) (corastonetest.Receipt, error)) func(string) error {
		return func(id string) error { _, err := f([]string{id}); return err }
	}
	return map[string]func(string) error{
		"accept": batch(l.Accept), "wire": batch(l.MarkWired), "settle": batch(l.MarkSettled), "issue": batch(l.RunClose),
		"reject": single(l.Reject), "review": single(l.Review), "remediate": single(l.Remediate), "recall": single(l.Recall),
		"accept-recall": single(l.AcceptRecall), "reject-recall": single(l.RejectRecall), "decline": single(l.Decline),
		"modify": func(id string) error { _, err := l.Modify(id, "7.00"); return err },
		"request-remediation": func(id string) error {
			_, err := l.RequestRemediation(id, nil)
			return err
		},
	}
}

func TestSubscriptionDoesNothingThatTheGuideDoesNotAllow(t *testing.T) {
	for status, may := range allowed {
		for name := range actions(nil) {
			l, fundID := fund(t, corastonetest.Options{}, corastonetest.Security{})
			id, do := subscribe(t, l, fundID).AssetID, actions(l)
			for _, step := range strings.Fields(ways[status]) {
				if err := do[step](id); err != nil {
					t.Fatalf("%s on the way to %s: %v", step, status, err)
				}
			}
			if got := l.AssetStatus(id); got != status {
				t.Fatalf("the way to %s leads to %s", status, got)
			}
			before := len(l.Processes())
			err := do[name](id)
			if want := slices.Contains(strings.Fields(may), name); want != (err == nil) {
				t.Errorf("%s: %s: %v", status, name, err)
			}
			if err != nil && (refusal(err) != "AS0005" || l.AssetStatus(id) != status || len(l.Processes()) != before) {
				t.Errorf("%s: %s was refused with %v, and left it %s", status, name, err, l.AssetStatus(id))
			}
		}
	}
}

func TestOfferingDoesNothingThatTheGuideDoesNotAllow(t *testing.T) {
	type action = func(*corastonetest.Ledger, string, ...corastonetest.How) (corastonetest.Receipt, error)
	all := map[string]action{
		"open": (*corastonetest.Ledger).Open, "pause": (*corastonetest.Ledger).Pause, "resume": (*corastonetest.Ledger).Resume,
		"complete": (*corastonetest.Ledger).Complete, "approve": (*corastonetest.Ledger).ApproveRevert,
		"revert": (*corastonetest.Ledger).RevertToActive, "close": (*corastonetest.Ledger).Close,
		"cancel": (*corastonetest.Ledger).Cancel, "refund": (*corastonetest.Ledger).Refund, "bust": (*corastonetest.Ledger).Bust,
	}
	for way, want := range map[string]struct{ status, may string }{
		"":                 {"active", "pause complete cancel bust"},
		"pause":            {"paused", "resume complete bust"},
		"complete":         {"completed", "approve close cancel bust"},
		"complete approve": {"approved_revert_to_active", "revert"},
		"complete close":   {"closed", "bust"},
		"cancel":           {"canceled", "refund"},
		"cancel refund":    {"canceled", "refund"},
		"bust":             {"busted", ""},
	} {
		for name, do := range all {
			l, id := fund(t, corastonetest.Options{}, corastonetest.Security{})
			for _, step := range strings.Fields(way) {
				if _, err := all[step](l, id); err != nil {
					t.Fatal(step, err)
				}
			}
			if got := l.SecurityStatus(id); got != want.status {
				t.Fatalf("%q leads to %s", way, got)
			}
			_, err := do(l, id)
			if may := slices.Contains(strings.Fields(want.may), name); may != (err == nil) || err != nil && refusal(err) != "IS0012" {
				t.Errorf("%s: %s: %v", want.status, name, err)
			}
		}
	}
}

func TestRefusalsHaveTheirDocumentedCodes(t *testing.T) {
	l, id := fund(t, corastonetest.Options{}, corastonetest.Security{Contingent: true})
	other, err := l.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	lot, second := subscribe(t, l, id).AssetID, subscribe(t, l, other).AssetID
	unassigned := l.AddSecurity(corastonetest.Security{})
	_, opened := l.Open(unassigned)
	_, completed := l.Complete(id)
	_, approved := l.ApproveRevert(id)
	if err := errors.Join(opened, completed, approved, l.SetRestricted(other, true)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err    error
		code   string
		status int
	}{
		"unknown offering":             {did(l.Pause("NOSUCHFUND00")), "IS0009", http.StatusNotFound},
		"unknown subscription":         {did(l.Recall("NOSUCHLOT000")), "AS0001", http.StatusNotFound},
		"subscribing when completed":   {did(l.Subscribe(id, corastonetest.Subscription{})), "IS0012", http.StatusConflict},
		"accepting when completed":     {did(l.Accept([]string{lot})), "IS0012", http.StatusConflict},
		"reverting what is contingent": {did(l.RevertToActive(id)), "IS0031", http.StatusConflict},
		"subscribing when restricted":  {did(l.Subscribe(other, corastonetest.Subscription{})), "IS0013", http.StatusConflict},
		"accepting when restricted":    {did(l.Accept([]string{second})), "IS0013", http.StatusConflict},
		"pausing when restricted":      {did(l.Pause(other)), "IS0013", http.StatusConflict},
		"without an assignment":        {did(l.Subscribe(unassigned, corastonetest.Subscription{})), "IS0099", http.StatusForbidden},
		"accepting no assignment":      {did(l.AcceptAssignment(unassigned)), "EX0001", http.StatusNotFound},
		"a batch of two offerings":     {did(l.Accept([]string{lot, second})), "IS0016", http.StatusConflict},
		"a batch of nothing":           {did(l.Accept(nil)), "GN0002", http.StatusBadRequest},
		"a batch that is too large":    {did(l.Accept(slices.Repeat([]string{lot}, 501))), "GN0002", http.StatusBadRequest},
	} {
		var refused *corastonetest.RefusedError
		if !errors.As(c.err, &refused) || refused.Code != c.code || refused.Status != c.status {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}

// TestTablesSpeakTheGuidesWords: their statuses and events are those that the
// guide's filters list.
func TestTablesSpeakTheGuidesWords(t *testing.T) {
	assets := strings.Fields("deleted preSynced created modified confirmed settlement_confirmation_pending settled issued busted canceled disposed recalled remediated remediation_pending locked refunded")
	events := strings.Fields("Remediated Modified RemediationRequested Confirmed CommitmentAccepted ReviewStatusUpdated Rejected Created Declined Canceled Issued Settled Refunded Recalled RecallRejected RecallAccepted Wired Busted")
	securities := strings.Fields("preSync active closed completed bust_in_progress busted cancel_in_progress canceled refund_in_progress approved_revert_to_active paused")
	check := func(table string, transitions []corastone.Transition, statuses []string) {
		for _, tr := range transitions {
			for _, s := range append(slices.Clone(tr.From), tr.To) {
				if s != "" && s != corastone.StatusBefore && !slices.Contains(statuses, s) {
					t.Errorf("%s: %s: %q is no status", table, tr.Action, s)
				}
			}
			for _, s := range tr.Offering {
				if !slices.Contains(securities, s) {
					t.Errorf("%s: %s: %q is no status of an offering", table, tr.Action, s)
				}
			}
			if tr.Event != "" && !slices.Contains(events, tr.Event) {
				t.Errorf("%s: %s: %q is no event", table, tr.Action, tr.Event)
			}
			if len(tr.From) > 0 && tr.Refused == "" {
				t.Errorf("%s: %s is refused without a code", table, tr.Action)
			}
		}
	}
	check("assets", corastone.AssetTransitions(), assets)
	check("securities", corastone.SecurityTransitions(), securities)
	check("assignments", corastone.AssignmentTransitions(), strings.Fields("assigned accepted rejected inactive"))
}

func TestFailureFailsAllThatFollows(t *testing.T) {
	var o told
	l, fundID := fund(t, corastonetest.Options{Interim: true, Tell: o.tell}, corastonetest.Security{})
	before := len(o.names())
	r, err := l.Subscribe(fundID, corastonetest.Subscription{Transactions: 2}, corastonetest.Held())
	if err != nil || l.AssetStatus(r.AssetID) != "preSynced" {
		t.Fatal(err, l.AssetStatus(r.AssetID))
	}
	c := newCaller(t, l)
	if got := statuses(c, r); !slices.Equal(got, []string{"in_progress", "queued", "in_progress"}) {
		t.Errorf("while it goes on: %v", got)
	}
	failed, err := l.FailOrchestration(r.OrchestrationID, "IS0030")
	if err != nil || failed.ErrorID == "" {
		t.Fatal(err)
	}
	if got := statuses(c, r); !slices.Equal(got, []string{"failed", "failed", "failed"}) || l.AssetStatus(r.AssetID) != "deleted" {
		t.Errorf("afterwards: %v and %s", got, l.AssetStatus(r.AssetID))
	}
	want := []string{
		"createInvestor queued", "createInvestment queued", "createInvestor in_progress",
		"createInvestor failed", "createInvestment failed", "orchestration failed", "error",
	}
	if diff := cmp.Diff(want, o.names()[before:]); diff != "" {
		t.Errorf("pushes (-want +got):\n%s", diff)
	}
	rows := c.rows("error-log", "trackingIdsFilter", r.OrchestrationID)
	if len(rows) != 1 || rows[0]["errorId"] != failed.ErrorID || !strings.Contains(jsonOf(t, rows[0]), `"code":"IS0030"`) {
		t.Errorf("the error log has %v", rows)
	}
	if _, err := l.Finish(r.OrchestrationID); refusal(err) != "GN0002" {
		t.Errorf("what has ended ended again: %v", err)
	}
}

// statuses returns those of an action's transactions and of its orchestration.
func statuses(c *caller, r corastonetest.Receipt) (out []string) {
	c.t.Helper()
	for _, row := range c.rows("transactions", "orchestrationIdsFilter", r.OrchestrationID) {
		status, _ := row["status"].(string)
		out = append(out, status)
	}
	for _, row := range c.rows("transactions/orchestrations", "orchestrationIdsFilter", r.OrchestrationID) {
		status, _ := row["status"].(string)
		if _, ended := row["timestamp"]; ended == (status == "in_progress") {
			c.t.Errorf("an orchestration that is %s has a timestamp: %t", status, ended)
		}
		out = append(out, status)
	}
	return out
}

// TestHeldActionIsCheckedAgain: what happened meanwhile counts.
func TestHeldActionIsCheckedAgain(t *testing.T) {
	l, fundID := fund(t, corastonetest.Options{}, corastonetest.Security{})
	lot := subscribe(t, l, fundID).AssetID
	held, err := l.Accept([]string{lot}, corastonetest.Held())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reject(lot); err != nil {
		t.Fatal(err)
	}
	r, err := l.Finish(held.OrchestrationID)
	if err != nil || r.ErrorID == "" || l.AssetStatus(lot) != "disposed" {
		t.Errorf("%+v, %v; it is %s", r, err, l.AssetStatus(lot))
	}
}

// TestAnythingMayHappen: whatever is done in whatever order, the ledger's own
// records agree.
func TestAnythingMayHappen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := newClock()
		l, fundID := fund(t, corastonetest.Options{Now: clock.now, Seed: 7}, corastonetest.Security{})
		var lots []string
		do := actions(l)
		names := []string{"subscribe"}
		for name := range do {
			names = append(names, name)
		}
		slices.Sort(names)
		for range rapid.IntRange(1, 25).Draw(rt, "actions") {
			clock.pass(time.Second)
			name := rapid.SampledFrom(names).Draw(rt, "action")
			if name == "subscribe" || len(lots) == 0 {
				lots = append(lots, subscribe(t, l, fundID).AssetID)
				continue
			}
			if err := do[name](rapid.SampledFrom(lots).Draw(rt, "lot")); err != nil && refusal(err) != "AS0005" {
				rt.Fatal(name, err)
			}
		}
		c := newCaller(t, l)
		last := map[string]string{}
		for _, row := range c.rows("asset/history") {
			id, _ := row["assetId"].(string)
			update, _ := row["update"].(map[string]any)
			last[id], _ = update["status"].(string)
		}
		for _, lot := range lots {
			if last[lot] != l.AssetStatus(lot) {
				rt.Errorf("the history leaves it %s, and it is %s", last[lot], l.AssetStatus(lot))
			}
		}
	})
}
