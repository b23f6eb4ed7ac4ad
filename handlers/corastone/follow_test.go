package corastone_test

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/schemas"
)

const (
	pathHistory      = "/external/v1/asset/history"
	pathAssets       = "/external/v1/asset"
	pathTransactions = "/external/v1/transactions"
	pathComments     = "/external/v1/comment"
	pathSecurities   = "/external/v1/securities"
)

// fund returns an offering that is open to us, and that was told.
func (a *asked) fund() string {
	a.t.Helper()
	a.bootstrap()
	id, err := a.ledger.Fund(corastonetest.Security{})
	if err != nil {
		a.t.Fatal(err)
	}
	a.push(1)
	a.follow()
	a.Advance(time.Minute)
	return id
}

// done returns a function that fails the test if an action failed, and returns
// its asset.
func (a *asked) done(r corastonetest.Receipt, err error) string {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
	return r.AssetID
}

// of returns the types of events about something, in order.
func of(events []schemas.Event, key string) []string {
	var types []string
	for _, e := range events {
		if e.Key == key {
			types = append(types, string(e.Type))
		}
	}
	return types
}

// assets returns the data of the events of subscriptions.
func assets(events []schemas.Event) (list []schemas.Asset) {
	for _, e := range events {
		if a, ok := e.Data.(schemas.Asset); ok {
			list = append(list, a)
		}
	}
	return list
}

func expect(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// While the history can't be read nothing is told under a step's name, and
// nothing else is delayed; when it can be, the steps are told.
func TestNoStepIsToldBeforeTheHistoryNamesIt(t *testing.T) {
	for name, fault := range map[string]corastonetest.Fault{
		"404":     {Kind: corastonetest.NotFound},
		"empty":   {Kind: corastonetest.Empty},
		"broken":  {Kind: corastonetest.Broken},
		"cut off": {Kind: corastonetest.Truncated},
		"reset":   {Kind: corastonetest.Reset},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			fund := a.fund()
			lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"}))
			fault.Endpoint, fault.For, fault.Until = corastonetest.EndpointAssetHistory, lot, a.Now().Add(time.Hour)
			a.ledger.Inject(fault)
			other := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{Amount: "3400.00"}))
			a.done(a.ledger.Pause(fund))
			a.push(1)
			var events []schemas.Event
			for range 6 {
				events = append(events, a.Follow()...)
				if got := of(events, lot); got != nil {
					t.Fatalf("told without its history: %v", got)
				}
				if len(a.Unanswered()) != 1 {
					t.Fatalf("these wait: %v", a.Unanswered())
				}
				a.Advance(9 * time.Minute)
			}
			expect(t, "of another subscription", []string{"subscription.created"}, of(events, other))
			expect(t, "of the offering", []string{"offering.paused"}, of(events, fund))
			a.Advance(time.Hour)
			expect(t, "after an hour", []string{"subscription.created"}, of(a.follow(), lot))
			if events := append(a.poll(), a.Round()...); len(assets(events)) > 0 {
				t.Errorf("told again: %v", names(events))
			}
		})
	}
}

// When nobody waits any longer for a history, it is told that the status
// changed, and that nobody knows how.
func TestAHistoryThatNeverComesIsAChangedStatus(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"}))
	a.push(1)
	a.follow()
	a.ledger.Inject(corastonetest.Fault{Endpoint: corastonetest.EndpointAssetHistory, Kind: corastonetest.NotFound, Until: a.Now().Add(200 * time.Hour)})
	a.done(a.ledger.Accept([]string{lot}))
	a.push(1)
	if events := a.Follow(); len(events) > 0 {
		t.Errorf("told without its history: %v", names(events))
	}
	waits := a.Unanswered()
	a.Advance(73 * time.Hour)
	events := a.Follow()
	expect(t, "at the end", []string{"subscription.status_changed"}, of(events, lot))
	if diff := cmp.Diff(waits, a.GivenUp()); diff != "" || len(waits) != 1 {
		t.Errorf("in quarantine (-want +got):\n%s", diff)
	}
	if got := assets(events)[0]; got.NativeEvent != nil || *got.NativeStatus != "confirmed" || *got.PreviousStatus != "created" {
		t.Errorf("told is %+v", got)
	}
	// Somebody releases it from quarantine when the history is there.
	a.ledger.Heal()
	a.Redeliver()
	expect(t, "when it is released", []string{"subscription.accepted"}, of(a.follow(), lot))
}

// Of a transaction that touched many, what the history does name is told by its
// name in the end.
func TestAHistoryThatNamesSomeOfThemIsToldInTheEnd(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	one := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	two := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	a.push(1)
	a.follow()
	a.alter = func(path string, body []byte) []byte {
		if path == pathHistory {
			return bytes.ReplaceAll(body, []byte(`"assetId":"`+two), []byte(`"assetId":"X`+two[1:]))
		}
		return body
	}
	a.done(a.ledger.Accept([]string{one, two}))
	a.push(1)
	if events := a.Follow(); len(events) > 0 {
		t.Errorf("an answer that lacks one is told: %v", names(events))
	}
	a.Advance(73 * time.Hour)
	events := a.Follow()
	expect(t, "of the one that is named", []string{"subscription.accepted"}, of(events, one))
	expect(t, "of the other", []string{"subscription.status_changed"}, of(events, two))
}

// A status that the poller sees first is not told if the history has a step
// that leads to it: the follow-up tells that.
func TestAPollerLeavesToTheFollowUpWhatTheHistoryExplains(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	a.push(1)
	a.follow()
	a.done(a.ledger.Accept([]string{lot}))
	a.Advance(time.Minute)
	if events := a.Round("assets"); len(events) > 0 || a.Err() != nil {
		t.Errorf("told by the poller: %v, with %v", names(events), a.Err())
	}
	a.push(1)
	events := a.follow()
	expect(t, "by the follow-up", []string{"subscription.accepted"}, of(events, lot))
	if got := assets(events)[0]; got.PreviousStatus != nil {
		t.Errorf("the status before is told as %s, which is the one after", *got.PreviousStatus)
	}
	// What no history explains is told.
	a.ledger.Inject(corastonetest.Fault{Endpoint: corastonetest.EndpointAssetHistory, Kind: corastonetest.Broken, Until: a.Now().Add(24 * time.Hour)})
	a.done(a.ledger.MarkWired([]string{lot}, corastonetest.Quiet()))
	a.Advance(time.Minute)
	expect(t, "without a history", []string{"subscription.status_changed"}, of(a.Round("assets"), lot))
}

// The status before a step is told if it is known, and not what was seen after
// it.
func TestTheStatusBeforeIsNeverOneFromAfter(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	a.done(a.ledger.Accept([]string{lot}))
	a.done(a.ledger.MarkWired([]string{lot}))
	a.push(1)
	var got []string
	line := func(e schemas.Asset) string {
		before := "?"
		if e.PreviousStatus != nil {
			before = *e.PreviousStatus
		}
		return before + ">" + *e.NativeEvent + ">" + *e.NativeStatus
	}
	for _, e := range assets(a.follow()) {
		got = append(got, line(e))
	}
	expect(t, "all at once", []string{"?>Created>created", "?>Confirmed>confirmed", "?>Wired>settlement_confirmation_pending"}, got)
	a.done(a.ledger.MarkSettled([]string{lot}))
	a.push(1)
	expect(t, "as it happens", []string{"settlement_confirmation_pending>Settled>settled"}, []string{line(assets(a.follow())[0])})
}

// A record that still says that the transaction is under way is no answer.
func TestARecordThatLagsIsAskedAgain(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	a.alter = func(path string, body []byte) []byte {
		if path == pathTransactions {
			return bytes.ReplaceAll(body, []byte(`"success"`), []byte(`"in_progress"`))
		}
		return body
	}
	a.push(1)
	if events := a.Follow(); len(events) > 0 || len(a.Unanswered()) != 1 {
		t.Errorf("told %v, and these wait: %v", names(events), a.Unanswered())
	}
	a.alter = nil
	expect(t, "when it has ended", []string{"subscription.created"}, of(a.follow(), lot))
}

// The push of a process lists less than its record: what is followed up is what
// the record says.
func TestWhatWasTouchedIsWhatTheRecordSays(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	process := a.outbox[0].Entry()
	if !strings.Contains(process, lot) {
		t.Fatalf("the push is %s", process)
	}
	a.outbox[0] = corastonetest.Text(strings.Replace(process, `"details":{"assetIds":["`+lot+`"]}`, `"details":{}`, 1))
	if a.outbox[0].Entry() == process {
		t.Fatalf("the push is %s", process)
	}
	a.push(1)
	expect(t, "of what no push named", []string{"subscription.created"}, of(a.follow(), lot))
}

// A step that the guide doesn't list is told as a change of the status, flagged.
func TestAnUnknownStepIsFlagged(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	a.alter = func(path string, body []byte) []byte {
		if path == pathHistory {
			return bytes.ReplaceAll(body, []byte(`"Created"`), []byte(`"Blessed"`))
		}
		return body
	}
	a.push(1)
	events := slices.DeleteFunc(a.follow(), func(e schemas.Event) bool { return e.Key != lot })
	if len(events) != 1 || events[0].Type != schemas.SubscriptionStatusChanged || !events[0].Unknown || !strings.HasSuffix(events[0].ID, ":blessed") {
		t.Errorf("told %+v", events)
	}
}

// A node that shows steps of other transactions, without saying which they are
// of, has only those told that are at the transaction's place on the ledger.
func TestAStepOfAnUnknownTransactionIsNotToldAsAnothers(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
	a.push(1)
	a.follow()
	a.rewrite = func(path string, query url.Values) {
		if path == pathHistory {
			query.Del("transactionId")
		}
	}
	unnamed := regexp.MustCompile(`"transactionId":"[^"]*",?`)
	a.alter = func(path string, body []byte) []byte {
		if path == pathHistory {
			body = unnamed.ReplaceAll(body, nil)
			body = bytes.ReplaceAll(body, []byte(`,}`), []byte(`}`))
		}
		return body
	}
	a.done(a.ledger.Accept([]string{lot}))
	a.push(1)
	expect(t, "of the transaction", []string{"subscription.accepted"}, of(a.follow(), lot))
}

// A failure that is logged only later is explained then; one that nobody logs
// is asked for no longer than half an hour.
func TestAFailureIsExplainedWhenItIsLogged(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	failed, err := a.ledger.Subscribe(fund, corastonetest.Subscription{}, corastonetest.TimesOut())
	if err != nil {
		t.Fatal(err)
	}
	silent, err := a.ledger.Subscribe(fund, corastonetest.Subscription{}, corastonetest.TimesOut())
	if err != nil {
		t.Fatal(err)
	}
	a.push(1)
	if events := a.Follow(); len(events) > 0 || len(a.Unanswered()) != 2 {
		t.Fatalf("told %v, and these wait: %v", names(events), a.Unanswered())
	}
	a.Advance(20 * time.Minute)
	id := a.ledger.LogError("IV0010", failed.OrchestrationID, fund)
	expect(t, "when it is logged", []string{"process.failure_explained"}, of(a.Follow(), failed.ProcessIDs[0]))
	a.Advance(20 * time.Minute)
	a.push(1)
	events := a.follow()
	expect(t, "of what nobody logged", nil, of(events, silent.ProcessIDs[0]))
	expect(t, "of the log", []string{"error.detailed"}, of(events, id))
}

// An offering that we were taken off, and don't see any more, is no reason to
// wait; one that isn't shown yet is.
func TestAnOfferingThatWeWereTakenOffNeedNotBeShown(t *testing.T) {
	a := ask(t)
	fund := a.fund()
	hide := func(path string, body []byte) []byte {
		if path == pathSecurities {
			return []byte(`[]`)
		}
		return body
	}
	a.alter = hide
	a.done(a.ledger.Pause(fund))
	a.push(1)
	if events := a.Follow(); len(events) > 0 || len(a.Unanswered()) != 1 {
		t.Errorf("told %v, and these wait: %v", names(events), a.Unanswered())
	}
	a.alter = nil
	expect(t, "when it is shown", []string{"offering.paused"}, of(a.follow(), fund))
	a.done(a.ledger.Resume(fund))
	a.alter = hide
	a.push(1)
	a.Follow()
	waits := a.Unanswered()
	a.Advance(73 * time.Hour)
	if a.Follow(); !slices.Equal(waits, a.GivenUp()) || len(waits) != 1 {
		t.Errorf("in quarantine are %v, and not %v", a.GivenUp(), waits)
	}
	a.done(a.ledger.RemoveAssignment(fund))
	a.push(1)
	expect(t, "of our assignment", []string{"offering.assignment_removed"}, of(a.follow(), fund))
}
