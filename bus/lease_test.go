package bus_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// hurried returns buses on one external server whose leases hold for two
// seconds.
func hurried(t *testing.T, external *bustest.External, n int, change ...func(*bus.Config)) []*bus.Bus {
	t.Helper()
	var all []*bus.Bus
	for range n {
		b := external.Bus(change...)
		bus.SetLease(b, 2*time.Second, 200*time.Millisecond)
		bustest.Prepare(t, b)
		all = append(all, b)
	}
	return all
}

// holding is a lease that is held until it is told to let go.
type holding struct {
	ctx  context.Context // what fn got
	stop func() error    // lets go and returns what Hold returned
}

// hold takes a lease, waiting for it if it must.
func hold(t *testing.T, b *bus.Bus, name, holder string) holding {
	t.Helper()
	got, letGo, ended := make(chan context.Context, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		deadline := time.Now().Add(30 * time.Second)
		for {
			ok, err := b.Hold(t.Context(), name, holder, func(ctx context.Context) error {
				got <- ctx
				<-letGo
				return nil
			})
			if ok || time.Now().After(deadline) {
				ended <- err
				return
			}
			<-time.After(10 * time.Millisecond)
		}
	}()
	var once sync.Once
	h := holding{stop: func() (err error) {
		once.Do(func() { close(letGo); err = <-ended })
		return err
	}}
	t.Cleanup(func() { h.stop() })
	select {
	case h.ctx = <-got:
	case err := <-ended:
		ended <- err
		t.Fatalf("the lease was not to be had: %v", err)
	}
	return h
}

func taken(t *testing.T, b *bus.Bus, name string) bool {
	t.Helper()
	ok, err := b.Hold(t.Context(), name, "somebody", func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return !ok
}

func holders(t *testing.T, b *bus.Bus) map[string]string {
	t.Helper()
	all, err := b.Holders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The lease outlives its time as long as it is held, and is free
// at once when it isn't.
func TestLeaseIsHeldByOne(t *testing.T) {
	t.Parallel()
	buses := hurried(t, bustest.NewExternal(t), 2)
	a, b := buses[0], buses[1]
	h := hold(t, a, "acme.list", "first")
	other := hold(t, b, "acme.other", "second")
	if diff := cmp.Diff(map[string]string{"acme.list": "first", "acme.other": "second"}, holders(t, b)); diff != "" {
		t.Error(diff)
	}
	for end := time.Now().Add(3500 * time.Millisecond); time.Now().Before(end); {
		if !taken(t, b, "acme.list") || !taken(t, a, "acme.list") {
			t.Fatal("two hold it")
		}
		<-time.After(50 * time.Millisecond)
	}
	if err := h.ctx.Err(); err != nil {
		t.Errorf("its context ended: %v", context.Cause(h.ctx))
	}
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if taken(t, b, "acme.list") || taken(t, a, "acme.list") {
		t.Error("it was not given back at once")
	}
	if h.ctx.Err() == nil {
		t.Error("the context goes on behind the holding")
	}
	if err := other.stop(); err != nil {
		t.Error(err)
	}
	if all := holders(t, a); len(all) != 0 {
		t.Errorf("nobody holds any, and it says %v", all)
	}
}

func TestManyTakeTurns(t *testing.T) {
	t.Parallel()
	buses := hurried(t, bustest.NewExternal(t), 2)
	var inside, turns atomic.Int32
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			for mine := 0; mine < 5; {
				ok, err := buses[i%2].Hold(t.Context(), "acme.list", "me", func(context.Context) error {
					if inside.Add(1) != 1 {
						t.Error("two are inside")
					}
					defer inside.Add(-1)
					turns.Add(1)
					return errEnough
				})
				if ok != (err != nil) || ok && !errors.Is(err, errEnough) {
					t.Errorf("got %v, %v", ok, err)
				}
				if ok {
					mine++
				}
			}
		})
	}
	all.Wait()
	if turns.Load() != 30 {
		t.Errorf("%d turns, want 30", turns.Load())
	}
}

func TestLeaseIsGivenBackWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	b := hurried(t, bustest.NewExternal(t), 1)[0]
	ctx, cancel := context.WithCancel(t.Context())
	ok, err := b.Hold(ctx, "acme.list", "me", func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %v", ok, err)
	}
	if taken(t, b, "acme.list") {
		t.Error("it was not given back")
	}
	func() {
		defer func() { recover() }()
		b.Hold(t.Context(), "acme.list", "me", func(context.Context) error { panic("out of order") })
	}()
	if taken(t, b, "acme.list") {
		t.Error("it was not given back after a panic")
	}
	if _, err := b.Hold(t.Context(), "acme..list", "me", nil); err == nil {
		t.Error("a name that can't be one")
	}
}

// Who can't renew is told before somebody else can have the lease.
func TestLeaseThatIsNotRenewedEndsAndIsTakenOver(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := hurried(t, external, 1)[0]
	for name, vanish := range map[string]func(p *proxy){
		"cut":  func(p *proxy) { p.listener.Close(); p.cut() },
		"mute": func(p *proxy) { p.setMute(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, external.URL())
			a := hurried(t, external, 1, func(cfg *bus.Config) { cfg.External.URL, cfg.Timeout = p.url(), 2*time.Second })[0]
			h := hold(t, a, "acme."+name, "first")
			vanish(p)
			if !taken(t, b, "acme."+name) {
				t.Error("it is free at once although nobody gave it back")
			}
			second := hold(t, b, "acme."+name, "second")
			if h.ctx.Err() == nil {
				t.Error("two hold it, and the first was not told")
			} else if cause := context.Cause(h.ctx); !errors.Is(cause, bus.ErrLeaseLost) {
				t.Errorf("the first was told %v", cause)
			}
			h.stop() // must not take it away from the second
			if got := holders(t, b)["acme."+name]; got != "second" {
				t.Errorf("it is held by %q", got)
			}
			if err := second.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLeaseOutlivesAShortOutage(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	a := external.Bus()
	bus.SetLease(a, 6*time.Second, 300*time.Millisecond)
	bustest.Prepare(t, a)
	h := hold(t, a, "acme.list", "first")
	external.Stop()
	external.Start()
	eventually(t, "it is back", func() bool { _, err := a.Holders(t.Context()); return err == nil })
	revision := load(t, a, schemas.BucketLeases, "acme.list").Revision
	eventually(t, "it is renewed", func() bool {
		e, err := a.Load(t.Context(), schemas.BucketLeases, "acme.list")
		return err == nil && e.Revision > revision
	})
	if h.ctx.Err() != nil {
		t.Errorf("it ended: %v", context.Cause(h.ctx))
	}
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if taken(t, a, "acme.list") {
		t.Error("it was not given back")
	}
}

// An answer that got lost makes the holder look, not believe that the lease is
// somebody else's.
func TestLeaseIsKnownAgainAfterALostAnswer(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	p := newProxy(t, external.URL())
	a := external.Bus(func(cfg *bus.Config) { cfg.External.URL = p.url() })
	bus.SetLease(a, time.Minute, 200*time.Millisecond) // a slow disk must not end it
	bustest.Prepare(t, a)
	b := hurried(t, external, 1)[0]
	h := hold(t, a, "acme.list", "first")
	before := load(t, b, schemas.BucketLeases, "acme.list").Revision
	p.setMute(true)
	eventually(t, "it is renewed without an answer", func() bool {
		return load(t, b, schemas.BucketLeases, "acme.list").Revision > before
	})
	p.setMute(false)
	before = load(t, b, schemas.BucketLeases, "acme.list").Revision + 2
	eventually(t, "it goes on", func() bool {
		return load(t, b, schemas.BucketLeases, "acme.list").Revision > before
	})
	if h.ctx.Err() != nil {
		t.Errorf("it ended: %v", context.Cause(h.ctx))
	}
	// The same when it is given back.
	p.setMute(true)
	before = load(t, b, schemas.BucketLeases, "acme.list").Revision
	eventually(t, "it is renewed without an answer again", func() bool {
		return load(t, b, schemas.BucketLeases, "acme.list").Revision > before
	})
	p.setMute(false)
	if err := h.stop(); err != nil {
		t.Error(err)
	}
	if taken(t, b, "acme.list") {
		t.Error("it was not given back")
	}
}

// Who deletes the key takes the lease away.
func TestLeaseThatIsTakenAwayEnds(t *testing.T) {
	t.Parallel()
	b := hurried(t, bustest.NewExternal(t), 1)[0]
	h := hold(t, b, "acme.list", "first")
	if err := keyValue(t, b, schemas.BucketLeases).Purge(t.Context(), "acme.list"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-h.ctx.Done():
	case <-time.After(1500 * time.Millisecond):
	}
	if cause := context.Cause(h.ctx); !errors.Is(cause, bus.ErrLeaseLost) {
		t.Errorf("got %v", cause)
	}
}

func TestLeaseEndsWithTheBus(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	h := hold(t, b, "acme.list", "me")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	<-h.ctx.Done()
	if cause := context.Cause(h.ctx); !errors.Is(cause, bus.ErrClosed) {
		t.Errorf("got %v", cause)
	}
}
