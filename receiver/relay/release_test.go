package relay_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// releasing has the relay tell of releases that are settled.
func (w *world) releasing() <-chan relay.Released {
	settled := make(chan relay.Released, 100)
	w.config = func(c *relay.Config) { c.Released = func(r relay.Released) { settled <- r } }
	return settled
}

// release releases the record at a sequence of the quarantine.
func (w *world) release(b *bus.Bus, seq uint64, action string) {
	w.t.Helper()
	m, err := b.Get(w.t.Context(), schemas.StreamQuarantine, seq)
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.keys.OpenDelivery(m.Data)
	if err != nil {
		w.t.Fatal(err)
	}
	err = w.journal.Readmit(w.t.Context(), d, handlers.Release{
		Record: seq, Reason: schemas.Reason(m.Header[schemas.HeaderReason][0]), Actor: "alice", Action: action, Time: time.Now(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func settledNext(t *testing.T, settled <-chan relay.Released) relay.Released {
	t.Helper()
	select {
	case r := <-settled:
		return r
	case <-time.After(patience):
		t.Fatal("no release was settled")
	}
	return relay.Released{}
}

// quarantined returns the reasons of what is in quarantine.
func quarantined(t *testing.T, b *bus.Bus) []string {
	t.Helper()
	list := []string{}
	for _, m := range messages(t, b, schemas.StreamQuarantine) {
		list = append(list, m.Header[schemas.HeaderReason]...)
	}
	return list
}

func TestReleaseOverrulesAgeAndTransportConflict(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	settled := w.releasing()
	w.run(b)
	stale := w.acceptAs(handlers.Delivery{Payload: []byte("process p1 success"), Stale: true}, "m1")
	w.accept("m2", "process p2 success")
	other := w.accept("m2", "process p3 success")
	w.drain()
	if diff := cmp.Diff([]string{"stale", "conflict"}, quarantined(t, b)); diff != "" {
		t.Fatal(diff)
	}
	for i, delivery := range []string{stale.ID, other.ID} {
		w.release(b, uint64(i+1), "A"+delivery)
		want := relay.Released{DeliveryID: delivery, Action: "A" + delivery, Outcome: relay.ReleaseTold}
		if diff := cmp.Diff(want, settledNext(t, settled)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"feed:process:p2:success", "feed:process:p1:success", "feed:process:p3:success"}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if left := quarantined(t, b); len(left) > 0 {
		t.Errorf("in quarantine is still %q", left)
	}
	eventually(t, "the journal forgets what was released", func() bool { return w.journal.Stats().Entries == 0 })

	var actions []string
	for _, m := range messages(t, b, schemas.StreamOps) {
		if m.Subject != "postern.ops.postern.quarantine_released" {
			continue
		}
		var body struct {
			Data schemas.Action `json:"data"`
		}
		if err := json.Unmarshal(m.Data, &body); err != nil {
			t.Fatal(err)
		}
		actions = append(actions, body.Data.Actor+" "+*body.Data.Target+" "+*body.Data.Outcome)
	}
	if diff := cmp.Diff([]string{"alice " + stale.ID + " told", "alice " + other.ID + " told"}, actions); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	raw := messages(t, b, schemas.StreamRaw)
	if d, err := w.keys.OpenDelivery(raw[len(raw)-1].Data); err != nil || d.Release == nil || d.ID != other.ID {
		t.Errorf("the last raw record is not that of the release: %v, %v", d.Release, err)
	}
}

func TestReleaseOfWhatIsStillUnusableKeepsItInQuarantine(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	settled := w.releasing()
	w.run(b)
	r := w.accept("m1", "unusable")
	w.drain()
	for _, action := range []string{"A1", "A2"} { // as often as one likes
		w.release(b, 1, action)
		want := relay.Released{DeliveryID: r.ID, Action: action, Outcome: relay.ReleaseKept, Reason: schemas.ReasonUnknownKind}
		if diff := cmp.Diff(want, settledNext(t, settled)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff([]string{"unknown_kind"}, quarantined(t, b)); diff != "" {
		t.Errorf("in quarantine (-want +got):\n%s", diff)
	}
}

// The de-duplication window must not make the second record of a reason
// vanish: the first is deleted.
func TestReleaseThatFailsForAnotherReasonIsInQuarantineForThat(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	settled := w.releasing()
	broken := atomic.Bool{}
	config := w.config
	w.config = func(c *relay.Config) {
		config(c)
		c.Normalize["test"] = func(d handlers.Delivery) (handlers.Output, error) {
			if broken.Load() {
				return handlers.Output{}, errors.New("broken")
			}
			return normalize(d)
		}
	}
	w.run(b)
	w.accept("m1", "panic")
	w.drain()
	for i, now := range []string{"invalid_event", "panic", "invalid_event", "panic"} {
		broken.Store(now == "invalid_event")
		w.release(b, messages(t, b, schemas.StreamQuarantine)[0].Seq, "A"+strings.Repeat("x", i))
		got := settledNext(t, settled)
		if got.Outcome != relay.ReleaseKept || string(got.Reason) != now {
			t.Errorf("%+v, want it kept for %s", got, now)
		}
		if diff := cmp.Diff([]string{now}, quarantined(t, b)); diff != "" {
			t.Fatalf("in quarantine after release %d (-want +got):\n%s", i+1, diff)
		}
	}
}

func TestReleaseOfAContradictionNeverTellsAFactTwice(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	w := newWorld(t)
	settled := w.releasing()
	w.run(b)
	w.accept("m1", "process p1 success")
	w.accept("m2", "process p1 success tx=other")
	w.drain()
	forgotten(t, b)
	w.release(b, 1, "A")
	if got := settledNext(t, settled); got.Outcome != relay.ReleaseKept || got.Reason != schemas.ReasonConflict {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff([]string{"feed:process:p1:success"}, ids(t, b, schemas.StreamEvents)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := strings.Count(strings.Join(subjects(t, b, schemas.StreamOps), " "), ".conflict"); n != 1 {
		t.Errorf("the conflict was told %d times", n)
	}
}

func TestReleaseOfWhatWasToldSaysSo(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	w := newWorld(t)
	settled := w.releasing()
	w.run(b)
	w.acceptAs(handlers.Delivery{Payload: []byte("process p1 success"), Stale: true}, "m1")
	w.accept("m2", "process p1 success")
	w.drain()
	forgotten(t, b)
	w.release(b, 1, "A")
	if got := settledNext(t, settled); got.Outcome != relay.ReleaseNothingNew {
		t.Errorf("%+v", got)
	}
	if left := quarantined(t, b); len(left) > 0 {
		t.Errorf("in quarantine is still %q", left)
	}
}

// undeletable is a bus that deletes nothing.
type undeletable struct {
	*bus.Bus
	tried chan struct{}
}

func (u *undeletable) Delete(context.Context, schemas.Stream, uint64, string) (bool, error) {
	select {
	case u.tried <- struct{}{}:
	default:
	}
	return false, errors.New("not now")
}

func TestCrashBetweenTellingAndDeletingIsSettledByTheNextStart(t *testing.T) {
	b := bustest.Server(t, shortMemory)
	w := newWorld(t)
	settled := w.releasing()
	u := &undeletable{b, make(chan struct{}, 1)}
	w.run(u)
	w.acceptAs(handlers.Delivery{Payload: []byte("process p1 success"), Stale: true}, "m1")
	w.drain()
	w.release(b, 1, "A")
	<-u.tried
	eventually(t, "the fact is told", func() bool { return len(ids(t, b, schemas.StreamEvents)) == 1 })
	if diff := cmp.Diff([]string{"stale"}, quarantined(t, b)); diff != "" {
		t.Errorf("before the crash (-want +got):\n%s", diff)
	}
	w.crash()
	forgotten(t, b)
	w.run(b)
	settledNext(t, settled)
	if left := quarantined(t, b); len(left) > 0 {
		t.Errorf("in quarantine is still %q", left)
	}
	if n := len(ids(t, b, schemas.StreamEvents)); n != 1 {
		t.Errorf("the fact was told %d times", n)
	}
	if n := strings.Count(strings.Join(subjects(t, b, schemas.StreamOps), " "), ".quarantine_released"); n < 1 || n > 2 {
		t.Errorf("the release was told %d times", n)
	}
}

// A quarantine that was made anew may hold another delivery where the released
// one was.
func TestReleaseDeletesNoOtherRecord(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	settled := w.releasing()
	w.run(b)
	w.acceptAs(handlers.Delivery{Payload: []byte("process p1 success"), Stale: true}, "m1")
	w.accept("m2", "unusable")
	w.drain()
	m, err := b.Get(t.Context(), schemas.StreamQuarantine, 1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.keys.OpenDelivery(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	wrong := handlers.Release{Record: 2, Reason: schemas.ReasonStale, Actor: "alice", Action: "A", Time: time.Now()}
	if err := w.journal.Readmit(t.Context(), d, wrong); err != nil {
		t.Fatal(err)
	}
	settledNext(t, settled)
	if diff := cmp.Diff([]string{"stale", "unknown_kind"}, quarantined(t, b)); diff != "" {
		t.Errorf("in quarantine (-want +got):\n%s", diff)
	}
}
