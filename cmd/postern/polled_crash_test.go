package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
)

// step is what an event says of an investor's status.
type step struct {
	id       string
	revision int64
	from, to string
}

// chained checks that what was told of each investor's status after so many
// events is a chain without a gap, a repeat or a fork, which ends in the status
// that the platform shows now.
func (w *polled) chained(js jetstream.JetStream, ids []string, after int) {
	w.t.Helper()
	chains := map[string][]step{}
	seen := map[string]bool{}
	for _, m := range w.held(js, "POSTERN_EVENTS")[after:] {
		var body struct {
			ID   string `json:"id"`
			Type string `json:"type"`
			Data struct {
				CandidateID    string  `json:"candidateId"`
				Revision       int64   `json:"revision"`
				NativeStatus   string  `json:"nativeStatus"`
				PreviousStatus *string `json:"previousStatus"`
			} `json:"data"`
		}
		if err := json.Unmarshal(m.Data(), &body); err != nil {
			w.t.Fatal(err)
		}
		if seen[body.ID] {
			w.t.Errorf("%s was told twice", body.ID)
		}
		seen[body.ID] = true
		switch body.Type {
		case "postern.investor.status_changed.v1":
		case "postern.investor.qualified.v1", "postern.investor.disqualified.v1":
			continue // told of the same change
		default:
			w.t.Errorf("told %s", m.Subject())
			continue
		}
		d := body.Data
		s := step{body.ID, d.Revision, "", d.NativeStatus}
		if d.PreviousStatus != nil {
			s.from = *d.PreviousStatus
		}
		chains[d.CandidateID] = append(chains[d.CandidateID], s)
	}
	steps := 0
	for _, id := range ids {
		status, revision := "registered", int64(1)
		for _, s := range chains[id] {
			if s.from != status || s.revision != revision+1 || s.from == s.to {
				w.t.Errorf("%s: from %s at revision %d to %s at %d", id, s.from, revision, s.to, s.revision)
			}
			status, revision = s.to, s.revision
			steps++
		}
		if now := w.statuses[id]; now != status {
			w.t.Errorf("%s: the last that was told is %s at revision %d, and it is %s", id, status, revision, now)
		}
		delete(chains, id)
	}
	if len(chains) > 0 {
		w.t.Errorf("told of %d whom nobody knows", len(chains))
	}
	w.t.Logf("%d steps of %d investors were told", steps, len(ids))
}

// The process is killed again and again while hundreds of changes are on their
// way: between the journal and the bus, between events and what is written of
// them. Nothing is lost and nothing is told twice.
func TestKillsAmongManyChangesLoseNothingAndTellNothingTwice(t *testing.T) {
	t.Parallel()
	investors, kills := 150, 4
	if long() {
		investors, kills = 1000, 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	server := bustest.NewExternal(t)
	w := newPolled(t)
	w.external(server)
	var ids []string
	for i := range investors {
		ids = append(ids, w.tokeny.Add(firstToken, tokenytest.Investor{Email: fmt.Sprintf("%d@probst.example", i)}))
	}
	w.start()
	w.settled()
	known := len(w.held(w.js, "POSTERN_EVENTS"))
	if known != investors+2 {
		t.Fatalf("%d events", known)
	}
	// Who hears an event at once hears it before its receiver writes what it led
	// to.
	heard := make(chan struct{}, 100*investors)
	if _, err := w.js.Conn().Subscribe("postern.events.fund-one.>", func(*nats.Msg) { heard <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	leases := bucket(t, w.js, "postern_leases")
	statuses := []string{"pending", "registered"}
	for kill := range kills {
		before := messages(t, w.js, "POSTERN_EVENTS")
		for _, id := range ids {
			w.set(id, statuses[kill%len(statuses)])
		}
		// Half of the kills hit when events were told, half somewhere before or
		// after that.
		for kill%2 == 0 && len(heard) == 0 {
			pause(t.Context(), 100*time.Microsecond)
		}
		if kill%2 == 1 {
			pause(t.Context(), time.Duration(random.IntN(400))*time.Millisecond)
		}
		w.kill()
		// Its leases end by themselves in fifteen seconds; that is another test.
		for _, name := range allPollers() {
			key := strings.Replace(name, "/", ".", 1)
			if err := leases.Purge(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("killed after %d of %d", messages(t, w.js, "POSTERN_EVENTS")-before, investors)
		w.start()
		w.scanned(2, candidatesOne)
		for len(heard) > 0 {
			<-heard
		}
	}
	w.settled()
	w.chained(w.js, ids, known)
}

// While POSTERN_EVENTS takes nothing, pollers wait by themselves: they ask the
// platform no more, and what they found is told once when there is room.
func TestPollersWaitWhileTheBusIsFull(t *testing.T) {
	t.Parallel()
	server := bustest.NewExternal(t)
	w := newPolled(t)
	w.external(server)
	var ids []string
	for i := range 100 {
		ids = append(ids, w.tokeny.Add(firstToken, tokenytest.Investor{Email: fmt.Sprintf("%d@probst.example", i)}))
	}
	w.start()
	w.settled()
	known := len(w.held(w.js, "POSTERN_EVENTS"))
	limit(t, w.js, "POSTERN_EVENTS", 120<<10)
	full := messages(t, w.js, "POSTERN_EVENTS")
	for _, id := range ids {
		w.set(id, "pending")
	}
	eventually(t, "a scan found it", func() bool {
		items := w.metric(ofPoller("poll_items_total", candidatesOne, `result="changed"`))
		return items != "100" && items != "" && items != "0"
	})
	asked := w.tokeny.Count(tokenytest.Candidates)
	for range 10 { // scans that would be due
		pause(t.Context(), 250*time.Millisecond)
		for _, id := range ids[:10] {
			w.set(id, "registered")
		}
	}
	// The pollers of the source share a journal: at most one of each was under
	// way.
	if got := w.tokeny.Count(tokenytest.Candidates); got > asked+2 {
		t.Errorf("the platform was asked %d times though nothing can be told", got-asked)
	}
	if got := messages(t, w.js, "POSTERN_EVENTS"); got >= full+uint64(len(ids)) {
		t.Errorf("the stream was never full: it has %d more", got-full)
	}
	limit(t, w.js, "POSTERN_EVENTS", 64<<20)
	eventually(t, "all is told", func() bool { return w.metric("postern_journal_entries") == "0" })
	w.settled()
	w.chained(w.js, ids, known)
	if i := slices.IndexFunc(w.news(), func(e string) bool { return e == "poll_failed" }); i >= 0 {
		t.Error("a bus that is full was told as the platform's failure")
	}
}
