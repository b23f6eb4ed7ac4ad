package relay_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// entity returns the change that takes an entity from one revision to the
// next; base is that of its entry on the bus.
func entity(key string, revision, base uint64, state string) handlers.Change {
	return handlers.Change{
		Entry: "feed." + key, Base: base, Key: key, Role: "list",
		Current: handlers.Record{Revision: revision, Parts: map[string]handlers.Part{"list": {State: fmt.Appendf(nil, "%q", state)}}},
		To:      time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC), Generation: "g1", Digest: "d-" + state,
	}
}

// polled appends changes to the journal as a poller does.
func (w *world) polled(changes ...handlers.Change) {
	w.t.Helper()
	var ds []handlers.Delivery
	var contents [][32]byte
	for _, c := range changes {
		payload, err := c.Encode()
		if err != nil {
			w.t.Fatal(err)
		}
		ds = append(ds, handlers.Delivery{
			Source: "feed", Platform: "test", Channel: schemas.ChannelPoll, Role: "list",
			Received: time.Now(), Changes: true, Payload: payload,
		})
		contents = append(contents, c.Content())
	}
	if err := w.journal.AppendAll(w.t.Context(), ds, contents); err != nil {
		w.t.Fatal(err)
	}
}

// stored returns what the bus has for an entity, and its revision there.
func (w *world) stored(b *bus.Bus, bucket, entry string) (handlers.Stored, uint64) {
	w.t.Helper()
	e, err := b.Load(w.t.Context(), bucket, entry)
	if err != nil {
		w.t.Fatal(err)
	}
	if e.Revision == 0 {
		return handlers.Stored{}, 0
	}
	value, err := w.keys.Open(handlers.StoredContext(entry), e.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := handlers.DecodeStored(value)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, e.Revision
}

// tellChange is how the test's platform tells a change: by what its state is
// and was.
func tellChange(d handlers.Delivery) (handlers.Output, error) {
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, err
	}
	if string(c.After().State) == `"unusable"` {
		return handlers.Output{}, &handlers.UnusableError{Reason: schemas.ReasonInvalidEvent, Detail: "as the test says"}
	}
	return handlers.Output{Events: []schemas.Event{c.Event(d, schemas.ProcessReported, c.Key, schemas.Process{
		Platform: "test", ProcessID: c.Key, NativeStatus: string(c.After().State), Affects: map[string][]string{},
	})}}, nil
}

func newPolledWorld(t *testing.T) *world {
	w := newWorld(t)
	w.config = func(c *relay.Config) { c.Normalize["test"] = tellChange }
	return w
}

func reported(key, revision, state string) string {
	return "feed:process:" + key + ":g1." + revision + ":reported:d-" + state
}

func TestAChangeIsToldAndThenWritten(t *testing.T) {
	b := bustest.Server(t)
	w := newPolledWorld(t)
	w.run(b)
	w.polled(entity("e1", 1, 0, "a"), entity("e2", 1, 0, "a"))
	w.drain()
	s, revision := w.stored(b, schemas.BucketState, "feed.e1")
	if s.Record.Revision != 1 || string(s.Record.Parts["list"].State) != `"a"` {
		t.Errorf("what is stored: %+v", s)
	}
	w.polled(entity("e1", 2, revision, "b"))
	w.drain()
	w.polled(entity("e1", 2, revision, "c")) // based on what is not there any more
	w.drain()

	want := []string{reported("e1", "1", "a"), reported("e2", "1", "a"), reported("e1", "2", "b")}
	if diff := cmp.Diff(want, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if s, _ := w.stored(b, schemas.BucketState, "feed.e1"); string(s.Record.Parts["list"].State) != `"b"` {
		t.Errorf("what is stored in the end: %+v", s)
	}
	if got := len(messages(t, b, schemas.StreamRaw)); got != 4 {
		t.Errorf("raw has %d deliveries, want 4", got)
	}
}

func TestOfTwoChangesOnOneBaseOnlyTheFirstIsTold(t *testing.T) {
	b := bustest.Server(t)
	w := newPolledWorld(t)
	w.polled(entity("e1", 1, 0, "a"), entity("e1", 1, 0, "b")) // one batch
	w.run(b)
	w.drain()
	if diff := cmp.Diff([]string{reported("e1", "1", "a")}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestACursorIsWrittenAndNotTold(t *testing.T) {
	b := bustest.Server(t)
	w := newPolledWorld(t)
	w.run(b)
	w.polled(handlers.Change{Entry: "feed.list.cursor", Cursor: []byte(`{"at":7}`)})
	w.drain()
	if s, _ := w.stored(b, schemas.BucketCursors, "feed.list.cursor"); string(s.Cursor) != `{"at":7}` {
		t.Errorf("the cursor is %s", s.Cursor)
	}
	for _, s := range []schemas.Stream{schemas.StreamEvents, schemas.StreamRaw, schemas.StreamQuarantine} {
		if n := len(messages(t, b, s)); n != 0 {
			t.Errorf("%s has %d messages", s, n)
		}
	}
}

func TestAChangeInQuarantineIsNotFoundAgain(t *testing.T) {
	b := bustest.Server(t)
	w := newPolledWorld(t)
	w.run(b)
	w.polled(entity("e1", 1, 0, "unusable"))
	w.drain()
	if n := len(messages(t, b, schemas.StreamQuarantine)); n != 1 {
		t.Errorf("quarantine has %d records, want 1", n)
	}
	if s, _ := w.stored(b, schemas.BucketState, "feed.e1"); s.Record.Revision != 1 {
		t.Errorf("its state is not stored, so that the next scan would find it again: %+v", s)
	}
}

// dyingStore is a bus under which the receiver dies when it writes state.
type dyingStore struct {
	*bus.Bus
	store bool // before the answer rather than before the write
	dead  chan struct{}
}

func (d *dyingStore) Store(ctx context.Context, bucket string, puts []schemas.Put) ([]uint64, error) {
	if d.store {
		if _, err := d.Bus.Store(ctx, bucket, puts); err != nil {
			return nil, err
		}
	}
	close(d.dead)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestACrashBetweenEventsAndStateTellsOnce(t *testing.T) {
	for name, stored := range map[string]bool{"state not written": false, "state written": true} {
		t.Run(name, func(t *testing.T) {
			b := bustest.Server(t, shortMemory)
			w := newPolledWorld(t)
			w.polled(entity("e1", 1, 0, "a"), entity("e2", 1, 0, "a"))
			d := &dyingStore{Bus: b, store: stored, dead: make(chan struct{})}
			w.run(d)
			<-d.dead
			w.crash()
			forgotten(t, b)
			w.run(b)
			w.drain()
			want := []string{reported("e1", "1", "a"), reported("e2", "1", "a")}
			if diff := cmp.Diff(want, ids(t, b, schemas.StreamEvents)); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			for _, entry := range []string{"feed.e1", "feed.e2"} {
				if s, _ := w.stored(b, schemas.BucketState, entry); s.Record.Revision != 1 {
					t.Errorf("%s is not stored: %+v", entry, s)
				}
			}
			eventually(t, "the journal is empty", func() bool { return w.journal.Stats().Entries == 0 })
		})
	}
}

func TestManyFirstSightsAreToldOnceInOrder(t *testing.T) {
	b := bustest.Server(t)
	w := newPolledWorld(t)
	const n = 1300 // more than two batches
	var all []handlers.Change
	var want []string
	for i := range n {
		key := fmt.Sprintf("e%04d", i)
		all = append(all, entity(key, 1, 0, "a"))
		want = append(want, reported(key, "1", "a"))
	}
	w.polled(all...)
	w.run(b)
	w.drain()
	if diff := cmp.Diff(want, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if _, revision := w.stored(b, schemas.BucketState, "feed.e1299"); revision == 0 {
		t.Error("the last one is not stored")
	}
}

func TestAChangeThatWasWrittenOverIsToldAgainWhereItWasLost(t *testing.T) {
	server := bustest.NewExternal(t)
	b := server.Bus()
	w := newPolledWorld(t)
	config := w.config
	w.config = func(c *relay.Config) { config(c); c.TrimAfter = time.Hour }
	w.run(b)
	w.polled(entity("e1", 1, 0, "a"))
	w.drain()
	_, first := w.stored(b, schemas.BucketState, "feed.e1")
	server.Stop()
	server.Save()
	server.Start()
	w.polled(entity("e1", 2, first, "b"), entity("e1", 2, first, "x")) // the second is superseded
	w.drain()
	_, second := w.stored(b, schemas.BucketState, "feed.e1")
	w.polled(entity("e1", 3, second, "c"))
	w.drain()

	server.RestoreOnly(schemas.StreamEvents)
	eventually(t, "the bus is back", func() bool { return b.Prepare(t.Context()) == nil })
	w.polled(entity("e2", 1, 0, "a"))
	w.drain()
	want := []string{reported("e1", "1", "a"), reported("e1", "2", "b"), reported("e1", "3", "c"), reported("e2", "1", "a")}
	sorted := func() []string {
		got := ids(t, b, schemas.StreamEvents)
		slices.Sort(got)
		return got
	}
	eventually(t, "what was lost is told again", func() bool { return len(sorted()) >= len(want) })
	if diff := cmp.Diff(want, sorted()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if s, _ := w.stored(b, schemas.BucketState, "feed.e1"); string(s.Record.Parts["list"].State) != `"c"` {
		t.Errorf("what is stored in the end: %+v", s)
	}
}

func TestAChangeThatTheBusCantTakeDoesNotStayInTheJournal(t *testing.T) {
	b := bustest.Server(t)
	w := newPolledWorld(t)
	w.run(b)
	w.polled(entity("e1", 1, 0, strings.Repeat("x", b.MaxPayload())))
	w.drain()
	eventually(t, "the journal is empty", func() bool { return w.journal.Stats().Entries == 0 })
	if got := ids(t, b, schemas.StreamEvents); len(got) != 0 {
		t.Errorf("told: %v", got)
	}
}

func TestAPoisonousChangeIsNotFoundAgain(t *testing.T) {
	w := newPolledWorld(t)
	w.polled(entity("e1", 1, 0, "a"))
	for range 3 { // the process dies while it translates it
		entries, err := w.journal.Read(t.Context(), 0, 1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.journal.Guard(entries[0].Seq, entries[0].Seq); err != nil {
			t.Fatal(err)
		}
		w.crash()
	}
	b := bustest.Server(t)
	w.run(b)
	w.drain()
	if diff := cmp.Diff([]string{"postern.quarantine.feed.poison"}, subjects(t, b, schemas.StreamQuarantine)); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
	if s, _ := w.stored(b, schemas.BucketState, "feed.e1"); s.Record.Revision != 1 {
		t.Errorf("its state is not stored, so that the next scan would find it again: %+v", s)
	}
}
