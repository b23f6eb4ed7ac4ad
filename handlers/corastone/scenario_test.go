package corastone_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// bootstrap has all pollers look before anything happens.
func (a *asked) bootstrap() {
	a.t.Helper()
	if events := a.Round(); len(events) > 0 || a.Err() != nil {
		a.t.Fatalf("of an empty ledger %d events are told, with %v", len(events), a.Err())
	}
	a.Advance(time.Minute)
}

// push delivers what the ledger notified of, each so many times, and returns
// what was told then.
func (a *asked) push(times int) (events []schemas.Event) {
	a.t.Helper()
	for _, entry := range a.outbox {
		e := a.node.Notification(entry)
		e.Timestamp = a.Now().Format(corastonetest.TimeLayout)
		push := sign(a.t, e).Push()
		for range times {
			events = append(events, a.Push(push.Header, push.Body)...)
		}
	}
	a.outbox = nil
	return events
}

// poll reads the sequencer up to what happened until now, and returns what was
// told.
func (a *asked) poll() []schemas.Event {
	a.t.Helper()
	a.Advance(time.Minute)
	events := a.Round("sequencer")
	if err := a.Err(); err != nil {
		a.t.Fatal(err)
	}
	return events
}

// follow follows up, and fails the test if something has no answer.
func (a *asked) follow() []schemas.Event {
	a.t.Helper()
	events := a.Follow()
	if open := a.Unanswered(); len(open) > 0 {
		a.t.Errorf("these have no answer: %v", open)
	}
	return events
}

// play plays a scenario and returns what is told of it. How its facts arrive is
// up to hear, which is called after each of its lines.
func (a *asked) play(s corastonetest.Scenario, hear func() []schemas.Event) []schemas.Event {
	a.t.Helper()
	a.bootstrap()
	var told []schemas.Event
	_, err := corastonetest.Play(a.t.Context(), a.ledger, s, func(context.Context, corastonetest.Line) error {
		a.Advance(time.Minute)
		told = append(told, hear()...)
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return told
}

// The flows of Corastone's Integration API guide, each by its name there. What
// is told of each is in a golden file; it is the same whether it was pushed,
// pushed again and again, or found by polling, and nothing of it is told twice.
func TestOnboardAFund(t *testing.T)       { flow(t, "onboard a fund") }
func TestInitialInvestment(t *testing.T)  { flow(t, "initial investment") }
func TestRemediation(t *testing.T)        { flow(t, "remediation") }
func TestRecall(t *testing.T)             { flow(t, "recall") }
func TestRevertBackToActive(t *testing.T) { flow(t, "revert back to active") }

var flows = []string{"onboard a fund", "initial investment", "remediation", "recall", "revert back to active"}

func TestEveryScenarioIsOfAFlowThatIsTested(t *testing.T) {
	all, err := corastonetest.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if !slices.Contains(flows, s.Flow) {
			t.Errorf("no test has the name of %q, which %s is of", s.Flow, s.Name)
		}
	}
}

func flow(t *testing.T, name string) {
	all, err := corastonetest.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Flow == name {
			t.Run(s.Name, func(t *testing.T) { told(t, s) })
		}
	}
}

// told tests what is told of a scenario.
func told(t *testing.T, s corastonetest.Scenario) {
	a := ask(t)
	pushed := a.play(s, func() []schemas.Event {
		events := append(a.push(1), a.follow()...)
		// What pushes can't tell: what we were entitled to see only later.
		a.Advance(time.Minute)
		events = append(events, a.poll()...)
		return append(events, a.follow()...)
	})
	handlerstest.Golden(t, "testdata/scenarios/"+s.Name+".golden", pushed)
	once(t, pushed)
	for range 2 {
		a.Redeliver()
		a.Advance(6 * time.Hour)
		var again []schemas.Event
		again = append(again, a.Round()...)
		again = append(again, a.follow()...)
		if len(again) > 0 || a.Err() != nil {
			t.Errorf("told again when all is asked again: %v, with %v", names(again), a.Err())
		}
		a.Restart()
	}

	t.Run("polled", func(t *testing.T) {
		a := ask(t)
		same(t, pushed, a.play(s, func() []schemas.Event {
			a.Advance(time.Minute)
			return append(a.poll(), a.follow()...)
		}))
	})
	t.Run("pushed twice", func(t *testing.T) {
		a := ask(t)
		same(t, pushed, a.play(s, func() []schemas.Event {
			events := append(a.push(2), a.follow()...)
			a.Advance(time.Minute)
			events = append(events, a.poll()...)
			a.Redeliver()
			return append(events, a.follow()...)
		}))
	})
	t.Run("all at the end", func(t *testing.T) {
		a := ask(t)
		events := a.play(s, func() []schemas.Event { return nil })
		slices.Reverse(a.outbox)
		events = append(events, a.push(1)...)
		a.Advance(time.Minute)
		events = append(events, a.poll()...)
		events = append(events, a.follow()...)
		events = append(events, a.Round()...)
		once(t, events)
		// Of offerings only the last status is left to be seen, the reasons are
		// there by now, and what was on its way has ended.
		steps := func(e schemas.Event) bool {
			return e.Type.Entity() != "offering" && e.Type != schemas.SubscriptionRemediationReasonsAdded && !interim(e)
		}
		if diff := cmp.Diff(sorted(pushed, steps), sorted(events, steps)); diff != "" {
			t.Errorf("told (-as it happened +at the end):\n%s", diff)
		}
	})
}

// names returns the ids of events.
func names(events []schemas.Event) []string {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

// once fails the test if an event is there twice.
func once(t *testing.T, events []schemas.Event) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range events {
		if seen[e.ID] {
			t.Errorf("told twice: %s", e.ID)
		}
		seen[e.ID] = true
	}
}

// sorted returns the ids of some events, without the digests of what was seen:
// when it was seen differs.
func sorted(events []schemas.Event, of func(schemas.Event) bool) []string {
	var ids []string
	for _, e := range events {
		if !of(e) {
			continue
		}
		id := e.ID
		if e.Type.Entity() == "offering" {
			id = e.Key + " " + string(e.Type)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// interim reports whether an event is of what had not ended: only the poller
// tells it, if it comes by.
func interim(e schemas.Event) bool {
	return strings.HasSuffix(string(e.Type), ".in_progress") || strings.HasSuffix(string(e.Type), ".queued")
}

// same compares what was told, whatever the order.
func same(t *testing.T, want, got []schemas.Event) {
	t.Helper()
	once(t, got)
	all := func(e schemas.Event) bool { return !interim(e) }
	if diff := cmp.Diff(sorted(want, all), sorted(got, all)); diff != "" {
		t.Errorf("told (-pushed +now):\n%s", diff)
	}
}
