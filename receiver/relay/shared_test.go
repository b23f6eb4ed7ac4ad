package relay_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// meeting is a bus at which two receivers look an entry up before either goes
// on.
type meeting struct {
	*bus.Bus
	both *sync.WaitGroup
	once sync.Once
}

func (m *meeting) Load(ctx context.Context, bucket, key string) (schemas.Entry, error) {
	e, err := m.Bus.Load(ctx, bucket, key)
	m.once.Do(func() {
		m.both.Done()
		m.both.Wait()
	})
	return e, err
}

func sharedWorld(t *testing.T) *world {
	w := newPolledWorld(t)
	config := w.config
	w.config = func(c *relay.Config) { config(c); c.Shared = true }
	return w
}

func TestOfTwoReceiversChangesOnOneBaseOneIsTold(t *testing.T) {
	b := bustest.Server(t)
	var both sync.WaitGroup
	both.Add(2)
	first, second := sharedWorld(t), sharedWorld(t)
	first.polled(entity("e1", 1, 0, "a"))
	second.polled(entity("e1", 1, 0, "b"))
	first.run(&meeting{Bus: b, both: &both})
	second.run(&meeting{Bus: b, both: &both})
	first.drain()
	second.drain()
	told := ids(t, b, schemas.StreamEvents)
	if len(told) != 1 {
		t.Fatalf("told %v, want one of the two", told)
	}
	e, err := b.Load(t.Context(), schemas.BucketState, "feed.e1")
	if err != nil {
		t.Fatal(err)
	}
	// Each receiver has keys of its own here: the one that told can read it.
	state := map[string]string{reported("e1", "1", "a"): `"a"`, reported("e1", "1", "b"): `"b"`}[told[0]]
	keys := map[string]*world{`"a"`: first, `"b"`: second}[state]
	if s, _ := keys.stored(b, schemas.BucketState, "feed.e1"); e.Revision == 0 || string(s.Record.Parts["list"].State) != state || s.Claimed {
		t.Errorf("%s is told, and %+v stored", told[0], s)
	}
}

func TestAClaimedChangeIsToldAfterACrash(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	w := sharedWorld(t)
	w.polled(entity("e1", 1, 0, "a"))
	d := &dying{Bus: b, at: schemas.StreamEvents, dead: make(chan struct{})}
	w.run(d)
	<-d.dead
	if s, _ := w.stored(b, schemas.BucketState, "feed.e1"); !s.Claimed || s.Record.Revision != 0 {
		t.Errorf("before it is told the entry is %+v", s)
	}
	w.crash()
	forgotten(t, b)
	w.run(b)
	w.drain()
	if diff := cmp.Diff([]string{reported("e1", "1", "a")}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if s, _ := w.stored(b, schemas.BucketState, "feed.e1"); s.Claimed || s.Record.Revision != 1 {
		t.Errorf("in the end the entry is %+v", s)
	}
}

func TestWhoeverFindsAClaimThatNobodyKeepsGoesOn(t *testing.T) {
	b := bustest.Server(t)
	w := sharedWorld(t)
	w.polled(entity("e1", 1, 0, "a"))
	d := &dying{Bus: b, at: schemas.StreamEvents, dead: make(chan struct{})}
	w.run(d)
	<-d.dead // and its disk never comes back
	w.stop()
	_, claimed := w.stored(b, schemas.BucketState, "feed.e1")
	other := sharedWorld(t)
	other.run(b)
	other.polled(entity("e1", 1, claimed, "b"))
	other.drain()
	if diff := cmp.Diff([]string{reported("e1", "1", "b")}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
