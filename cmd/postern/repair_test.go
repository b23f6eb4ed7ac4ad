package main

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// repairs is a receiver between a ledger on which much happens and a courier
// that loses some of it.
type repairs struct {
	*receiver
	ledger   *corastonetest.Ledger
	courier  *corastonetest.Courier
	interval time.Duration
	asset    string
	before   map[string]bool // what was before it was switched on
	hidden   []string        // transactions that we don't see yet
	late     int             // facts that a poll may have been quicker with
}

func newRepairs(t *testing.T) *repairs {
	t.Helper()
	w := &repairs{interval: 3 * time.Second, before: map[string]bool{}}
	tell := func(e corastonetest.Entry) {
		if w.courier != nil {
			w.courier.Take(e)
		}
	}
	w.ledger = corastonetest.NewLedger(corastonetest.Options{Seed: 8, Tell: tell})
	fund, err := w.ledger.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := w.ledger.Subscribe(fund, corastonetest.Subscription{})
	if err != nil {
		t.Fatal(err)
	}
	w.asset = made.AssetID
	for _, id := range w.facts() {
		w.before[id] = true
	}
	server := httptest.NewServer(w.ledger)
	t.Cleanup(server.Close)
	// What facts mean is not asked here: at the pace that is fair to a
	// platform that would take most of an hour.
	w.receiver = newReceiver(t, `
sources:
  corastone:
    api: {url: "`+server.URL+`", org_id: `+corastonetest.OurOrg+`, client_id: `+corastonetest.ClientID+`, client_secret: {file: client.secret}}
    poll: {interval: `+w.interval.String()+`, overlap: 2s}
    follow_up: {enabled: false}
`)
	w.write("client.secret", corastonetest.ClientSecret+"\n")
	t.Cleanup(w.kill) // before the ledger, which waits for what is asked
	w.startBroker()
	eventually(t, "the sequencer was read", func() bool { return w.runs() > 0 })
	pusher := w.pusher(caller)
	pusher.Retries = 3
	w.courier = corastonetest.NewCourier(nodeOf(t, 8), pusher, time.Now, corastonetest.Plan{
		Seed: 8, Drop: .01, Duplicate: .05, Reorder: .1, Forge: .002, Parallel: 8,
	})
	return w
}

func (w *repairs) runs() int {
	n, _ := strconv.Atoi(w.metric(`postern_poll_runs_total{poller="sequencer",result="success",source="corastone"}`))
	return n
}

// facts are the ids of what the platform has, as it ended, sorted.
func (w *repairs) facts() []string {
	var ids []string
	for _, e := range w.ledger.Entries() {
		id := ""
		switch e := e.(type) {
		case corastonetest.Process:
			id = "process:" + e.ProcessID + ":" + e.Status
		case corastonetest.Orchestration:
			id = "orchestration:" + e.OrchestrationID + ":" + e.Status
		case corastonetest.Error:
			id = "error:" + e.ErrorID
		}
		if id = "corastone:" + id; !w.before[id] {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// happen makes something happen, the n-th time.
func (w *repairs) happen(n int) {
	w.t.Helper()
	if n%4 == 0 {
		w.ledger.LogError("IS0102", fmt.Sprintf("call-%d", n))
		return
	}
	var how []corastonetest.How
	switch {
	case n%133 == 1:
		how = append(how, corastonetest.Hidden())
	case n%50 == 1:
		how = append(how, corastonetest.Fails("AS0005"))
	}
	r, err := w.ledger.Review(w.asset, how...)
	if err != nil {
		w.t.Fatal(err)
	}
	if n%133 == 1 {
		w.hidden = append(w.hidden, r.ProcessIDs...)
	}
}

// told are the ids of the facts on the bus, sorted, and how many details were
// added to them later.
func (w *repairs) told() (ids []string, details int) {
	w.t.Helper()
	for _, m := range w.held(connect(w.t, w.broker), "POSTERN_EVENTS") {
		id := m.Headers().Get("Nats-Msg-Id")
		switch entity := strings.Split(id, ":")[1]; {
		case strings.HasSuffix(id, ":details"):
			details++
		case entity != "offering":
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, details
}

// repaired waits until facts are told, and checks that it takes no longer than
// two intervals.
func (w *repairs) repaired(what, reason string, least int) {
	w.t.Helper()
	began := time.Now()
	name := fmt.Sprintf("postern_reconcile_repaired_total{reason=%q,source=\"corastone\"}", reason)
	eventually(w.t, what, func() bool {
		n, _ := strconv.Atoi(w.metric(name))
		return n >= least
	})
	took := time.Since(began)
	w.t.Logf("%s after %v", what, took.Round(10*time.Millisecond))
	if took > 2*w.interval {
		w.t.Errorf("%s only after %v, which is more than two intervals of %v", what, took, w.interval)
	}
}

// What pushes lose, repeat, reorder and forge, and what we are entitled to see
// only later: in the end each fact is on the bus once, and nothing else is.
func TestEveryFactIsToldOnceHoweverBadTheDay(t *testing.T) {
	facts := 2000
	if long() {
		facts = 20_000
	}
	w := newRepairs(t)
	made, batch := 0, 80
	for n := 0; made < facts; {
		began, had := time.Now(), made
		for range batch {
			w.happen(n)
			n++
		}
		if err := w.courier.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		made = len(w.facts())
		if took := time.Since(began); took > w.interval/3 {
			t.Logf("a batch took %v", took)
			w.late += made - had
		}
	}
	c := w.courier.Counts()
	t.Logf("%d facts: %+v, %d hidden", made, c, len(w.hidden))
	if c.Discarded > 0 || c.Dropped == 0 || c.Duplicated == 0 || c.Reordered == 0 || c.Forged == 0 || c.Refused != c.Forged || len(w.hidden) == 0 {
		t.Fatalf("the day was not bad enough, or too bad: %+v", c)
	}
	w.repaired("what was dropped is told", "missed", c.Dropped)

	// Behind what is read again nobody finds it but as an entitlement.
	runs := w.runs()
	eventually(t, "it was read twice more", func() bool { return w.runs() >= runs+2 })
	if err := w.ledger.Grant("", w.hidden...); err != nil {
		t.Fatal(err)
	}
	w.repaired("what was granted is told", "granted", len(w.hidden))

	got, details := w.told()
	want := w.facts()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts on the bus (-want +got):\n%s", diff)
	}
	t.Logf("%d facts are on the bus, of %d processes more was told later", len(got), details)
	missed, _ := strconv.Atoi(w.metric(`postern_reconcile_repaired_total{reason="missed",source="corastone"}`))
	if missed < c.Dropped || missed > c.Dropped+w.late {
		t.Errorf("%d facts count as missed, and %d were dropped (%d may have come late)", missed, c.Dropped, w.late)
	}
	if granted := w.metric(`postern_reconcile_repaired_total{reason="granted",source="corastone"}`); granted != strconv.Itoa(len(w.hidden)) {
		t.Errorf("%s facts count as granted, and %d were", granted, len(w.hidden))
	}
}
