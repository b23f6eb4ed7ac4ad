package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// Two receivers get the same pushes, 200 a second each, while the server that
// leads POSTERN_EVENTS is killed and comes back: each fact is told once, none
// is lost, in the order in which it was pushed.
func TestLeaderIsKilledAndTwoReceiversTellEachFactOnce(t *testing.T) {
	pushes, kills := 400, 1
	if long() {
		pushes, kills = 16_000, 6
	}
	cluster := bustest.NewCluster(t)
	var receivers []*receiver
	for range 2 {
		r := newReceiver(t, "")
		r.edit(`nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}`, "nats: {replicas: 3}")
		externalConfig(r, cluster.URL())
		r.start()
		receivers = append(receivers, r)
	}
	js := cluster.Connect()
	events := subscribe(t, js)
	twins := newTwins(t, pushes, receivers)
	for kill := range kills {
		// Somewhere in the share of the load that belongs to this kill.
		share := pushes / (kills + 1)
		eventually(t, "events are told", func() bool { return stored(t, js) > uint64(kill*share+share/2) })
		leader := cluster.Leader("POSTERN_EVENTS")
		before := stored(t, js)
		cluster.Kill(leader)
		began := time.Now()
		eventually(t, "events are told without "+leader, func() bool { return stored(t, js) > before || before == uint64(pushes) })
		t.Logf("%s was killed after %d events; the next was there %v later", leader, before, time.Since(began).Round(time.Millisecond))
		cluster.Start(leader)
		if kill < kills-1 {
			cluster.Leader("POSTERN_EVENTS") // when all have caught up
		}
	}
	twins.wait()
	for _, r := range receivers {
		const relayed = `postern_deliveries_relayed_total{outcome=%q,source="corastone"}`
		// It may have waited for one leader after the other.
		eventuallyIn(t, 4*patience, "a receiver has told everything", func() bool {
			published, _ := strconv.Atoi(r.metric(fmt.Sprintf(relayed, "published")))
			duplicate, _ := strconv.Atoi(r.metric(fmt.Sprintf(relayed, "duplicate")))
			return published+duplicate == pushes
		})
		t.Logf("published %s, found told %s", r.metric(fmt.Sprintf(relayed, "published")), r.metric(fmt.Sprintf(relayed, "duplicate")))
	}
	if got := stored(t, js); got != uint64(pushes) {
		t.Errorf("%d events are on the bus, want %d", got, pushes)
	}
	last := -1
	for range pushes {
		m := next(t, events)
		_, number, _ := strings.Cut(m.Subject(), ".fact-")
		n, err := strconv.Atoi(number)
		if err != nil {
			t.Fatalf("nobody pushed %s", m.Subject())
		}
		if n != last+1 {
			t.Fatalf("fact %d follows fact %d", n, last)
		}
		last = n
	}
	for _, stream := range []string{"POSTERN_QUARANTINE", "POSTERN_OPS"} {
		if s, err := js.Stream(t.Context(), stream); err != nil || s.CachedInfo().State.Msgs > 0 {
			t.Errorf("%s holds something: %v", stream, err)
		}
	}
}

// stored returns how many events are on the bus, 0 if nobody can say.
func stored(t *testing.T, js jetstream.JetStream) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	s, err := js.Stream(ctx, "POSTERN_EVENTS")
	if err != nil {
		return 0
	}
	return s.CachedInfo().State.Msgs
}

// twins push the same facts to several receivers, to each one after the other,
// each until it is accepted.
type twins struct {
	*testing.T
	wg sync.WaitGroup
}

func newTwins(t *testing.T, pushes int, receivers []*receiver) *twins {
	w := &twins{T: t}
	node := nodeOf(t, 31)
	var ways []chan corastonetest.Push
	for _, r := range receivers {
		way := make(chan corastonetest.Push, pushes)
		ways = append(ways, way)
		pusher := r.pusher(caller)
		w.wg.Go(func() {
			for p := range way {
				w.until(pusher, p)
			}
		})
	}
	w.wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for i := range pushes {
			e, err := testSigner(t).Sign(node.Notification(investment(fmt.Sprintf("fact-%d", i))))
			if err != nil {
				t.Error(err)
			}
			select {
			case <-tick.C:
			case <-t.Context().Done():
			}
			for _, way := range ways {
				way <- e.Push()
			}
		}
		for _, way := range ways {
			close(way)
		}
	})
	t.Cleanup(w.wg.Wait)
	return w
}

func (w *twins) until(pusher *corastonetest.Pusher, p corastonetest.Push) {
	for w.Context().Err() == nil {
		switch a, _ := pusher.Push(w.Context(), p); {
		case a.Status == http.StatusOK:
			return
		case a.Delivered():
			w.Errorf("a genuine push was answered %d", a.Status)
			return
		default:
			w.Errorf("a push was answered %d while only NATS was in trouble", a.Status)
			pause(w.Context(), 50*time.Millisecond)
		}
	}
}

// wait waits until all is accepted.
func (w *twins) wait() {
	w.Helper()
	done := make(chan struct{})
	go func() { w.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Minute):
		w.Fatal("the pushes never ended")
	}
}
