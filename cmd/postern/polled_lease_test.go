package main

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
)

// external has it use a NATS server that others run.
func (w *polled) external(server *bustest.External) {
	w.t.Helper()
	w.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "nats: {trim_after: 1s}")
	text := readFile(w.t, w.dir+"/more.yaml")
	externalConfig(w.receiver, server.URL())
	_, sources, _ := strings.Cut(text, "\nsources:\n")
	w.write("more.yaml", readFile(w.t, w.dir+"/more.yaml")+"\nsources:\n"+sources)
	w.js = connect(w.t, server.URL())
}

// another returns a second receiver that polls the same.
func (w *polled) another() *polled {
	w.t.Helper()
	second := *w
	second.receiver = newReceiver(w.t, readFile(w.t, w.dir+"/more.yaml"))
	second.seen = nil // the first one looks
	for _, name := range []string{
		"postern.yaml", "agent.password", "issuer.password", "tokeny.password", "cas.secret", "nats.password", "seal.key", "pseudonym.key",
	} {
		second.write(name, readFile(w.t, w.dir+"/"+name))
	}
	return &second
}

// holds returns how many leases a receiver has.
func (w *polled) holds() int {
	w.t.Helper()
	n := 0
	for name, value := range w.metrics() {
		if strings.HasPrefix(name, "postern_poll_lease_held{") && value == "1" {
			n++
		}
	}
	return n
}

// Of two receivers each poller is run by one. When that is killed the other
// one takes over, and tells what happened meanwhile, once.
func TestAnotherReceiverTakesOverWithinTwentySeconds(t *testing.T) {
	t.Parallel()
	server := bustest.NewExternal(t)
	first := newPolled(t)
	first.external(server)
	id := first.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example"})
	first.names[id] = "dora"
	first.start()
	eventually(t, "the first has all leases", func() bool { return first.holds() == len(allPollers()) })
	first.settled()
	first.told("POSTERN_EVENTS")
	second := first.another()
	second.start()
	first.scanned(3)
	if n := second.holds(); n != 0 {
		t.Errorf("the second has %d leases", n)
	}

	first.kill()
	began := time.Now()
	first.set(id, "qualified")
	eventually(t, "the second has all leases", func() bool { return second.holds() == len(allPollers()) })
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took over after %v", took)
	} else {
		t.Logf("it took over after %v", took.Round(time.Millisecond))
	}
	second.scanned(2)
	want := []string{"fund-one.investor.qualified.first-dora", "fund-one.investor.status_changed.first-dora"}
	if diff := cmp.Diff(want, first.told("POSTERN_EVENTS")); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}

	// Who ends in order gives its leases back at once.
	first.start()
	eventually(t, "the first is ready", func() bool { return first.metric(ofPoller("poll_lease_held", candidatesOne)) == "0" })
	began = time.Now()
	second.terminate()
	eventually(t, "the first has all leases again", func() bool { return first.holds() == len(allPollers()) })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took over after %v though the other one ended in order", took)
	}
	first.settled()
	if got := first.told("POSTERN_EVENTS"); len(got) > 0 {
		t.Errorf("told again: %q", got)
	}
}

// A lease protects nothing: two receivers that both believe to have it tell
// everything once all the same.
func TestALostLeaseTellsNothingTwice(t *testing.T) {
	t.Parallel()
	server := bustest.NewExternal(t)
	first := newPolled(t)
	first.external(server)
	var ids []string
	for range 20 {
		ids = append(ids, first.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example"}))
	}
	first.start()
	eventually(t, "the first has all leases", func() bool { return first.holds() == len(allPollers()) })
	first.settled()
	second := first.another()
	second.start()
	eventually(t, "the second is there", func() bool { return len(second.metrics()) > 0 && second.holds() == 0 })
	known := len(first.held(first.js, "POSTERN_EVENTS"))

	leases := bucket(t, first.js, "postern_leases")
	both, changes := 0, 0
	for round := range 2 {
		keys, err := leases.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if err := leases.Purge(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		// The other one has it within seconds; who had it learns that later.
		for until := time.Now().Add(4 * time.Second); time.Now().Before(until); {
			status := []string{"pending", "registered"}[changes/len(ids)%2]
			first.set(ids[changes%len(ids)], status)
			changes++
			pause(t.Context(), 20*time.Millisecond)
			if first.metric(ofPoller("poll_lease_held", candidatesOne)) == "1" && second.metric(ofPoller("poll_lease_held", candidatesOne)) == "1" {
				both++
			}
		}
		t.Logf("round %d: both polled at %d moments", round, both)
	}
	if both == 0 {
		t.Error("they never polled both, so that this shows nothing")
	}
	eventually(t, "one has the lease", func() bool {
		return first.metric(ofPoller("poll_lease_held", candidatesOne)) != second.metric(ofPoller("poll_lease_held", candidatesOne))
	})
	holder := first
	if second.metric(ofPoller("poll_lease_held", candidatesOne)) == "1" {
		holder = second
	}
	holder.scanned(4, candidatesOne)
	first.chained(first.js, ids, known)
}

// Two receivers found different things of the same entities while nothing could
// be told. What the first one tells supersedes what the second one has in its
// journal when it comes back.
func TestWhatAnotherReceiverHasToldSupersedesWhatWasFound(t *testing.T) {
	t.Parallel()
	server := bustest.NewExternal(t)
	first := newPolled(t)
	first.external(server)
	var ids []string
	for range 60 {
		ids = append(ids, first.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example"}))
	}
	first.start()
	first.settled()
	second := first.another()
	second.start()
	// What is told stays there for a second.
	eventually(t, "the journal is empty", func() bool { return first.metric("postern_journal_entries") == "0" })
	known := len(first.held(first.js, "POSTERN_EVENTS"))
	limit(t, first.js, "POSTERN_EVENTS", 20<<10) // far less than it has
	become := func(status string) {
		for _, id := range ids {
			first.set(id, status)
		}
	}
	found := func(w *polled) {
		eventually(t, "a receiver has what it found in its journal", func() bool {
			n, _ := strconv.Atoi(w.metric("postern_journal_entries"))
			return n >= len(ids)
		})
	}
	become("pending")
	found(first)
	become("qualified") // which it doesn't see: it waits for its journal
	leases := bucket(t, first.js, "postern_leases")
	eventually(t, "the second polls", func() bool {
		if err := leases.Purge(t.Context(), strings.Replace(candidatesOne, "/", ".", 1)); err != nil {
			t.Fatal(err)
		}
		pause(t.Context(), time.Second)
		return second.metric(ofPoller("poll_lease_held", candidatesOne)) == "1"
	})
	found(second)
	if got := messages(t, first.js, "POSTERN_EVENTS"); got != uint64(known) {
		t.Fatalf("%d were told though there is no room", got-uint64(known))
	}
	second.kill() // so that the first one tells first
	limit(t, first.js, "POSTERN_EVENTS", 64<<20)
	drained := func(w *polled) {
		eventually(t, "the journal is told", func() bool { return w.metric("postern_journal_entries") == "0" })
	}
	drained(first)
	second.start()
	drained(second)
	// Whose they are depends on who claimed them last while there was no room;
	// it can be both, when what is told was found a third time.
	superseded := 0
	for _, w := range []*polled{first, second} {
		n, _ := strconv.Atoi(w.metric(`postern_deliveries_relayed_total{outcome="superseded",source="fund-one"}`))
		superseded += n
	}
	if superseded < len(ids) {
		t.Errorf("%d are superseded, want at least one of %d each", superseded, len(ids))
	}
	eventually(t, "one polls", func() bool { return first.holds()+second.holds() == len(allPollers()) })
	holder := first
	if second.metric(ofPoller("poll_lease_held", candidatesOne)) == "1" {
		holder = second
	}
	holder.scanned(3, candidatesOne)
	first.chained(first.js, ids, known)
}

// A receiver that stood still for twenty seconds, as a machine does that is
// moved, goes on with what it had in hand: nothing of that is told twice.
func TestAReceiverThatStoodStillTellsNothingTwice(t *testing.T) {
	if !long() {
		t.Skip("set LONG_TESTS=1: it stands still for 20 seconds, three times")
	}
	t.Parallel()
	server := bustest.NewExternal(t)
	first := newPolled(t)
	first.external(server)
	var ids []string
	for range 200 {
		ids = append(ids, first.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example"}))
	}
	first.start()
	first.settled()
	second := first.another()
	second.start()
	known := len(first.held(first.js, "POSTERN_EVENTS"))
	now, other := first, second
	for round := range 3 {
		status := []string{"pending", "registered", "pending"}[round]
		for _, id := range ids {
			first.set(id, status)
		}
		if err := now.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		pause(t.Context(), 20*time.Second)
		eventually(t, "the other one took over", func() bool { return other.holds() == len(allPollers()) })
		if err := now.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		other.scanned(4)
		eventually(t, "who stood still gave up", func() bool { return now.holds() == 0 })
		now, other = other, now
	}
	now.settled()
	first.chained(first.js, ids, known)
}

func bucket(t *testing.T, js jetstream.JetStream, name string) jetstream.KeyValue {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}
