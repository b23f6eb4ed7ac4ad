package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// long reports whether tests may take minutes, as they may in CI.
func long() bool { return os.Getenv("LONG_TESTS") != "" }

// TestKillLosesNothingAndTellsNothingTwice kills the receiver in mid-load
// again and again. The server forgets ids after a second, so that only the
// index keeps facts from being told twice.
func TestKillLosesNothingAndTellsNothingTwice(t *testing.T) {
	pushes, kills, clients := 2000, 4, 16
	if long() {
		pushes, kills = 20000, 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	r := newReceiver(t, "nats: {dedupe_window: 1s}")
	r.start()
	load := newLoad(t, pushes, clients, r.push)
	for kill := 1; kill <= kills; kill++ {
		// Somewhere in the share of the load that belongs to this kill.
		share := pushes / (kills + 1)
		at := int64(kill*share - random.IntN(share/2+1))
		eventually(t, "the load goes on", func() bool { return load.acked.Load() >= at || load.done() })
		r.kill()
		r.start()
		url := r.push
		load.target.Store(&url)
	}
	load.wait()
	r.kill() // also what was accepted last must not be lost
	r.startBroker()

	c := subscribe(t, connect(t, r.broker))
	told := map[string]int{}
	eventually(t, "every accepted push is told", func() bool {
		batch, err := c.Fetch(1000, jetstream.FetchMaxWait(200*time.Millisecond))
		if err != nil {
			return false
		}
		for m := range batch.Messages() {
			told[m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:]]++
		}
		return len(told) >= pushes
	})
	for id, n := range told {
		if n > 1 {
			t.Errorf("%s was told %d times", id, n)
		}
		if !strings.HasPrefix(id, "load-") {
			t.Errorf("%s was never pushed", id)
		}
	}
	for i := range pushes {
		if told[fmt.Sprintf("load-%d", i)] == 0 {
			t.Errorf("load-%d was accepted and is lost", i)
		}
	}
	// A repeat of everything changes nothing.
	load = newLoad(t, min(pushes, 500), clients, r.push)
	load.wait()
	if batch, err := c.Fetch(1, jetstream.FetchMaxWait(300*time.Millisecond)); err == nil {
		for m := range batch.Messages() {
			t.Errorf("after a repeat came %s", m.Subject())
		}
	}
}

// load pushes so many facts, each until it is accepted.
type load struct {
	t      testing.TB
	target atomic.Pointer[string]
	acked  atomic.Int64
	total  int64
	wg     sync.WaitGroup
}

func newLoad(t testing.TB, pushes, clients int, url string) *load {
	l := &load{t: t, total: int64(pushes)}
	l.target.Store(&url)
	node := nodeOf(t, 4)
	var next atomic.Int64
	for range clients {
		l.wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= l.total || t.Context().Err() != nil {
					return
				}
				envelope := node.Notification(investment(fmt.Sprintf("load-%d", i)))
				envelope.MessageID = fmt.Sprintf("load-message-%d", i)
				e, err := testSigner(t).Sign(envelope)
				if err != nil {
					t.Error(err)
					return
				}
				l.until(e.Push())
			}
		})
	}
	t.Cleanup(l.wg.Wait)
	return l
}

// until pushes again and again until the push is accepted, as SNS would with
// more patience.
func (l *load) until(p corastonetest.Push) {
	for l.t.Context().Err() == nil {
		pusher := l.pusher()
		a, _ := pusher.Push(l.t.Context(), p) // who was killed answers nothing
		switch {
		case a.Status == http.StatusOK:
			l.acked.Add(1)
			return
		case a.Delivered():
			l.t.Errorf("a genuine push was answered %d", a.Status)
			return
		}
		pause(l.t.Context(), 5*time.Millisecond)
	}
}

var pushers sync.Map // of *corastonetest.Pusher by URL

func (l *load) pusher() *corastonetest.Pusher {
	url := *l.target.Load()
	if p, ok := pushers.Load(url); ok {
		return p.(*corastonetest.Pusher)
	}
	p, _ := pushers.LoadOrStore(url, (&receiver{t: l.t, push: url}).pusher(caller))
	return p.(*corastonetest.Pusher)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (l *load) done() bool { return l.acked.Load() >= l.total }

func (l *load) wait() {
	l.t.Helper()
	deadline := time.Now().Add(10 * time.Minute)
	for !l.done() && !l.t.Failed() && time.Now().Before(deadline) {
		pause(l.t.Context(), 10*time.Millisecond)
	}
	if !l.done() {
		l.t.Fatalf("%d of %d pushes were accepted in time", l.acked.Load(), l.total)
	}
}
