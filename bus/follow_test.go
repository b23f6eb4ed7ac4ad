package bus_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// follower notes what it is told.
type follower struct {
	cancel context.CancelFunc
	ended  chan error

	mu       sync.Mutex
	headings []schemas.Heading
	last     uint64
	calls    int
}

func follow(t *testing.T, b *bus.Bus, stream schemas.Stream, after uint64) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &follower{cancel: cancel, ended: make(chan error, 1)}
	go func() {
		f.ended <- b.Follow(ctx, stream, after, func(headings []schemas.Heading, last uint64) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if last < f.last {
				t.Errorf("last went back from %d to %d", f.last, last)
			}
			f.headings = append(f.headings, headings...)
			f.last = last
			f.calls++
			return nil
		})
	}()
	return f
}

func (f *follower) reached(last uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last >= last
}

// end stops it and returns what it was told.
func (f *follower) end(t *testing.T) []schemas.Heading {
	t.Helper()
	f.cancel()
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("following ended with %v", err)
	}
	return f.headings
}

func headings(from, to int) []schemas.Heading {
	var all []schemas.Heading
	for i, id := range ids(from, to) {
		all = append(all, schemas.Heading{ID: id, Facets: "status=" + id, Seq: uint64(from + i)})
	}
	return all
}

func TestStateOfAStream(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	js := newJS(t, bus.Conn(b))
	state := func() (s schemas.StreamState) {
		s, err := b.StreamState(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		if s.Created.IsZero() || s.MaxBytes <= 0 {
			t.Errorf("state is %+v", s)
		}
		return s
	}
	if s := state(); s.First != 1 || s.Last != 0 || s.Messages != 0 || s.Bytes != 0 {
		t.Errorf("state of a new stream is %+v", s)
	}
	publish(t, b, raw, events(raw, 1, 5)...)
	if s := state(); s.First != 1 || s.Last != 5 || s.Messages != 5 || s.Bytes == 0 {
		t.Errorf("state is %+v", s)
	}
	stream, err := js.Stream(t.Context(), string(raw))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := state(); s.First != 6 || s.Last != 5 || s.Messages != 0 {
		t.Errorf("state of an emptied stream is %+v", s)
	}
}

func TestFollowTellsWhatIsThereAndWhatComes(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, raw, events(raw, 1, 1200)...)
	f := follow(t, b, raw, 100)
	eventually(t, "what was there is told", func() bool { return f.reached(1200) })
	publish(t, b, raw, events(raw, 1201, 1203)...)
	publish(t, b, raw, events(raw, 1204, 1220)...)
	eventually(t, "what came is told", func() bool { return f.reached(1220) })
	if f.calls > 100 {
		t.Errorf("%d calls for 1120 messages", f.calls)
	}
	if diff := cmp.Diff(headings(101, 1220), f.end(t)); diff != "" {
		t.Error(diff)
	}
}

func TestFollowPassesWhatIsGoneOrHasNoID(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, raw, events(raw, 1, 20)...)
	js := newJS(t, bus.Conn(b))
	s, err := js.Stream(t.Context(), string(raw))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "postern.raw.foreign", []byte("has no id")); err != nil { // 21
		t.Fatal(err)
	}
	publish(t, b, raw, events(raw, 22, 30)...)
	for _, seq := range []uint64{1, 2, 10, 29, 30} {
		if err := s.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	f := follow(t, b, raw, 0)
	eventually(t, "the end is told although it is gone", func() bool { return f.reached(30) })
	want := append(append(headings(3, 9), headings(11, 20)...), headings(22, 28)...)
	if diff := cmp.Diff(want, f.end(t)); diff != "" {
		t.Error(diff)
	}

	f = follow(t, b, raw, 28) // only what is gone is left
	eventually(t, "the end is told although nothing is left", func() bool { return f.reached(30) })
	if got := f.end(t); len(got) != 0 {
		t.Errorf("told %v", got)
	}
	f = follow(t, b, raw, 30) // nothing is left
	publish(t, b, raw, event(raw, "e31"))
	eventually(t, "what comes is told", func() bool { return f.reached(31) })
	if diff := cmp.Diff(headings(31, 31), f.end(t)); diff != "" {
		t.Error(diff)
	}
}

func TestFollowGoesOnOverRestarts(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	f := follow(t, b, schemas.StreamEvents, 0)
	for i := range 3 {
		from, to := i*400+1, (i+1)*400
		eventually(t, "publish", func() bool {
			seqs, err := b.Publish(t.Context(), schemas.StreamEvents, events(schemas.StreamEvents, from, to))
			return err == nil && len(seqs) == 400
		})
		external.Stop() // maybe amid its telling
		external.Start()
	}
	eventually(t, "everything is told", func() bool { return f.reached(1200) })
	if diff := cmp.Diff(headings(1, 1200), f.end(t)); diff != "" {
		t.Error(diff)
	}
}

// A connection that loses what the server said shows as a hole in what the
// consumer sent, and is mended.
func TestFollowMendsHoles(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	direct := external.Bus()
	bustest.Prepare(t, direct)
	p := newProxy(t, external.URL())
	b := external.Bus(func(cfg *bus.Config) { cfg.External.URL = p.url() })
	f := follow(t, b, raw, 0)
	publish(t, direct, raw, events(raw, 1, 50)...)
	eventually(t, "the beginning is told", func() bool { return f.reached(50) })
	p.setMute(true)
	publish(t, direct, raw, events(raw, 51, 60)...)
	eventually(t, "the server sends what nobody hears", func() bool {
		return undelivered(t, direct) == 0
	})
	p.setMute(false)
	publish(t, direct, raw, events(raw, 61, 100)...)
	eventually(t, "the rest is told", func() bool { return f.reached(100) })
	if diff := cmp.Diff(headings(1, 100), f.end(t)); diff != "" {
		t.Error(diff)
	}
}

// undelivered returns how many messages the consumers of RAW have not sent yet.
func undelivered(t *testing.T, b *bus.Bus) uint64 {
	t.Helper()
	s, err := newJS(t, bus.Conn(b)).Stream(t.Context(), string(raw))
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	list := s.ListConsumers(t.Context())
	for c := range list.Info() {
		n += c.NumPending
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFollowEndsWhenTheStreamWentBack(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	js := newJS(t, bus.Conn(b))
	publish(t, b, raw, events(raw, 1, 5)...)
	if err := b.Follow(t.Context(), raw, 6, nil); !errors.Is(err, bus.ErrRewound) {
		t.Errorf("behind the end: %v", err)
	}
	f := follow(t, b, raw, 0)
	eventually(t, "everything is told", func() bool { return f.reached(5) })
	if err := js.DeleteStream(t.Context(), string(raw)); err != nil {
		t.Fatal(err)
	}
	bustest.Prepare(t, b)
	publish(t, b, raw, events(raw, 1, 10)...) // as if nothing had been
	select {
	case err := <-f.ended:
		if !errors.Is(err, bus.ErrRewound) {
			t.Errorf("made anew: %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("goes on although the stream is another one")
	}
}

func TestFollowEndsWithItsReader(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, raw, events(raw, 1, 3)...)
	enough := errors.New("enough")
	err := b.Follow(t.Context(), raw, 0, func([]schemas.Heading, uint64) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("ended with %v", err)
	}
	ended := make(chan error, 1)
	told := make(chan struct{})
	go func() {
		ended <- b.Follow(t.Context(), raw, 0, func([]schemas.Heading, uint64) error { close(told); return nil })
	}()
	<-told
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, bus.ErrClosed) {
		t.Errorf("ended with %v when the bus was closed", err)
	}
}
