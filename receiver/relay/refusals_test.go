package relay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// gatekeeper refuses pushes.
type gatekeeper struct {
	*relay.Refusals
	t       *testing.T
	keys    *journal.Keyring
	metrics *prometheus.Registry
	clock   atomic.Pointer[time.Time]
	stop    func()
}

func newGatekeeper(t *testing.T) *gatekeeper {
	t.Helper()
	keys, err := journal.OpenKeyring(journal.KeyConfig{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	g := &gatekeeper{t: t, keys: keys, metrics: prometheus.NewRegistry(), stop: func() {}}
	g.Refusals = relay.NewRefusals(relay.RefusalsConfig{
		Keys: keys, Sources: []string{"feed"}, Registerer: g.metrics, Log: bustest.Log(t),
	})
	now := time.Now()
	g.clock.Store(&now)
	g.SetClock(func() time.Time { return *g.clock.Load() })
	t.Cleanup(func() { g.stop() })
	return g
}

func (g *gatekeeper) run(b relay.RefusalBus) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx, b)
	}()
	g.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// refuse refuses a push.
func (g *gatekeeper) refuse(reason handlers.Reason, body string) {
	g.Refused(handlers.Refusal{
		Source: "feed", Platform: "test", Reason: reason, Detail: "not as it should be",
		Remote: netip.MustParseAddr("192.0.2.7"), Received: time.Now().UTC(),
		Header: http.Header{"X-Odd": {"\xff\x00ü"}, "Content-Type": {"text/plain"}}, Body: []byte(body),
	})
}

// kept returns the bodies of the refused pushes that are kept.
func (g *gatekeeper) kept(b *bus.Bus) []string {
	g.t.Helper()
	list := []string{}
	for _, m := range messages(g.t, b, schemas.StreamRejected) {
		p, err := relay.OpenRefusal(g.keys, m.Data)
		if err != nil {
			g.t.Fatal(err)
		}
		list = append(list, string(p.Body))
	}
	return list
}

// tellings returns what was told of refused pushes: "id count".
func tellings(t *testing.T, b *bus.Bus) []string {
	t.Helper()
	list := []string{}
	for _, m := range messages(t, b, schemas.StreamOps) {
		if !strings.HasSuffix(m.Subject, ".push_rejected") {
			continue
		}
		var body struct {
			Type string            `json:"type"`
			Data schemas.Rejection `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &body); err != nil || body.Type != "postern.platform.push_rejected.v1" {
			t.Fatalf("%s: %v", m.Data, err)
		}
		list = append(list, fmt.Sprintf("%s %s %d", m.Subject, body.Data.Reason, body.Data.Count))
	}
	return list
}

func TestRefusedPushIsKeptSealed(t *testing.T) {
	b := bustest.Server(t)
	g := newGatekeeper(t)
	g.run(b)
	const canary = "canary 4929-1234"
	g.refuse(handlers.ReasonSignature, canary)
	eventually(t, "it is kept", func() bool { return len(messages(t, b, schemas.StreamRejected)) == 1 })
	m := messages(t, b, schemas.StreamRejected)[0]
	if m.Subject != "postern.rejected.feed" || m.Header[schemas.HeaderReason][0] != "signature" || m.Header[schemas.HeaderDetail][0] != "not as it should be" {
		t.Errorf("%s, %v", m.Subject, m.Header)
	}
	for _, secret := range []string{canary, "192.0.2.7", "X-Odd"} {
		if bytes.Contains(m.Data, []byte(secret)) || strings.Contains(fmt.Sprint(m.Header), secret) {
			t.Errorf("%q is in the clear", secret)
		}
	}
	p, err := relay.OpenRefusal(g.keys, m.Data)
	if err != nil {
		t.Fatal(err)
	}
	if string(p.Body) != canary || p.Remote.String() != "192.0.2.7" || p.Header.Get("Content-Type") != "text/plain" ||
		p.Reason != handlers.ReasonSignature || p.Source != "feed" || p.Platform != "test" || p.Received.IsZero() {
		t.Errorf("opened: %+v", p)
	}
	if _, err := g.keys.OpenDelivery(m.Data); !errors.Is(err, journal.ErrDamaged) {
		t.Error("it could be taken for a delivery:", err)
	}
	if _, err := relay.OpenRefusal(g.keys, g.keys.SealDelivery(handlers.Delivery{})); !errors.Is(err, journal.ErrDamaged) {
		t.Error("a delivery could be taken for it:", err)
	}
}

func TestTheLastHundredRefusedPushesAreKept(t *testing.T) {
	b := bustest.Server(t)
	g := newGatekeeper(t)
	g.run(b)
	var want []string
	for i := range 1000 {
		body := fmt.Sprint("push ", i)
		g.refuse(handlers.ReasonTopic, body)
		want = append(want, body)
	}
	want = want[900:]
	eventually(t, "the last are kept", func() bool {
		kept := g.kept(b)
		return len(kept) > 0 && kept[len(kept)-1] == want[99]
	})
	if diff := cmp.Diff(want, g.kept(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefusedPushesAreToldOncePerReasonAndHour(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	g := newGatekeeper(t)
	noon := time.Now().Add(time.Hour).Truncate(time.Hour)
	g.clock.Store(&noon)
	told := func(want ...string) {
		t.Helper()
		var got []string
		eventually(t, "it is told", func() bool { got = tellings(t, b); return len(got) >= len(want) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	const subject = "postern.ops.feed.push_rejected "
	first := []string{subject + "signature 2", subject + "topic 1"}
	g.refuse(handlers.ReasonSignature, "a")
	g.refuse(handlers.ReasonSignature, "b")
	g.run(b)
	eventually(t, "the first reason is told", func() bool { return len(tellings(t, b)) == 1 })
	g.refuse(handlers.ReasonTopic, "c")
	told(first...)
	for range 5 {
		g.refuse(handlers.ReasonSignature, "d")
	}
	eventually(t, "they are kept", func() bool { return len(g.kept(b)) == 8 })
	told(first...)

	// In the next hour those that were not told of are told with the next.
	later := noon.Add(time.Hour)
	g.clock.Store(&later)
	g.refuse(handlers.ReasonSignature, "e")
	told(append(first, subject+"signature 6")...)
	g.stop()
}

func TestTwoReceiversTellOfRefusedPushesOnce(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	for range 2 {
		g := newGatekeeper(t) // another receiver, or the same after a restart
		g.run(b)
		g.refuse(handlers.ReasonHeader, "x")
		eventually(t, "it is told", func() bool { return len(tellings(t, b)) > 0 })
		g.stop()
		forgotten(t, b)
	}
	if got := tellings(t, b); len(got) != 1 {
		t.Errorf("told: %q", got)
	}
	if kept := messages(t, b, schemas.StreamRejected); len(kept) != 2 {
		t.Errorf("%d are kept", len(kept))
	}
}

// faltering is a bus that is away until it is not, or takes small messages
// only.
type faltering struct {
	*bus.Bus
	away atomic.Bool
	most int
}

func (f *faltering) Publish(ctx context.Context, s schemas.Stream, msgs []schemas.Message) ([]uint64, error) {
	if f.away.Load() {
		return nil, errors.New("away")
	}
	return f.Bus.Publish(ctx, s, msgs)
}

func (f *faltering) MaxPayload() int {
	if f.most > 0 {
		return f.most
	}
	return f.Bus.MaxPayload()
}

func TestRefusalsHoldNobodyUpWhileTheBusIsAway(t *testing.T) {
	f := &faltering{Bus: bustest.Server(t)}
	f.away.Store(true)
	g := newGatekeeper(t)
	g.run(f)
	const n = 5000
	large := strings.Repeat("x", 256<<10)
	start := time.Now()
	for i := range n {
		g.refuse(handlers.ReasonUnverifiable, fmt.Sprint(i))
		if i%50 == 0 {
			g.refuse(handlers.ReasonUnverifiable, large)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("%d refusals took %v", n, took)
	}
	f.away.Store(false)
	eventually(t, "the last is kept", func() bool {
		kept := g.kept(f.Bus)
		return len(kept) > 0 && kept[len(kept)-1] == fmt.Sprint(n-1)
	})
	if got := tellings(t, f.Bus); len(got) != 1 || got[0] != fmt.Sprintf("postern.ops.feed.push_rejected unverifiable %d", n+n/50) {
		t.Errorf("told: %q", got)
	}
	families, err := g.metrics.Gather()
	if err != nil || len(families) != 1 || families[0].GetMetric()[0].GetCounter().GetValue() < n-200 {
		t.Errorf("dropped: %v, %v", families, err)
	}
}

func TestRefusedPushThatTheBusDoesNotTakeIsKeptWithoutItsBody(t *testing.T) {
	f := &faltering{Bus: bustest.Server(t), most: 4000}
	g := newGatekeeper(t)
	g.run(f)
	g.refuse(handlers.ReasonSize, strings.Repeat("x", 5000))
	eventually(t, "it is kept", func() bool { return len(messages(t, f.Bus, schemas.StreamRejected)) == 1 })
	if diff := cmp.Diff([]string{""}, g.kept(f.Bus)); diff != "" {
		t.Error(diff)
	}
}
