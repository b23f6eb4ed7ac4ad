package bus_test

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// A connection that is cut in the midst of a bucket ends that Each, and nothing
// is told that isn't there.
func TestEachEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	all := puts(1, 3000)
	for i := range all {
		all[i].Value = make([]byte, 2000)
	}
	store(t, b, state, all...)
	var once sync.Once
	err := b.Each(t.Context(), state, "", func(schemas.Entry) error {
		once.Do(external.Stop)
		return nil
	})
	if !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("got %v", err)
	}
	if err := b.Each(t.Context(), state, "", func(schemas.Entry) error { return errEnough }); err == nil {
		t.Error("without a connection it ends well")
	}
	external.Start()
	eventually(t, "it is back", func() bool {
		n := 0
		err := b.Each(t.Context(), state, "", func(schemas.Entry) error { n++; return nil })
		return err == nil && n == 3000
	})
	if err := b.Each(t.Context(), state, "", func(schemas.Entry) error { return errEnough }); !errors.Is(err, errEnough) {
		t.Errorf("the caller's error is %v", err)
	}
}

// What changes while entries are told is told in the end, and nothing is missed
// because others took its place.
func TestEachMissesNothingThatChanges(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	all := puts(1, 3000)
	revisions := store(t, b, state, all...)
	changed := false
	got := map[string]uint64{}
	err := b.Each(t.Context(), state, "", func(e schemas.Entry) error {
		got[e.Key] = e.Revision
		if changed {
			return nil
		}
		changed = true
		var again []schemas.Put
		for i, p := range all[:20] { // told already
			again = append(again, schemas.Put{Key: p.Key, Value: p.Value, Base: revisions[i]})
		}
		again = append(again, puts(5000, 5100)...)
		for i, p := range all[2900:] { // to come
			again = append(again, schemas.Put{Key: p.Key, Value: []byte("new"), Base: revisions[2900+i]})
		}
		_, err := b.Store(t.Context(), state, again)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if got[p.Key] == 0 {
			t.Fatalf("%s was missed", p.Key)
		}
	}
}

// Nobody says that what was still to come is gone.
func TestEachEndsWhenTheRestIsDeleted(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	all := puts(1, 3000)
	for i := range all {
		all[i].Value = make([]byte, 2000)
	}
	store(t, b, state, all...)
	stream, err := newJS(t, bus.Conn(b)).Stream(t.Context(), "KV_"+state)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	err = b.Each(t.Context(), state, "", func(schemas.Entry) error {
		once.Do(func() { err = stream.Purge(t.Context()) })
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLargeBucketIsReadWhole has as many entries as the largest deals.
func TestLargeBucketIsReadWhole(t *testing.T) {
	if os.Getenv("LONG_TESTS") == "" {
		t.Skip("LONG_TESTS is not set")
	}
	b := bustest.Server(t, func(cfg *bus.Config) { cfg.MaxStore = 10 << 30 })
	const n = 100_000
	began := time.Now()
	for from := 1; from <= n; from += 5000 {
		all := puts(from, from+4999)
		for i := range all {
			all[i].Value = bytes.Repeat([]byte("x"), 500)
		}
		store(t, b, state, all...)
	}
	t.Logf("stored in %v", time.Since(began))
	began = time.Now()
	count := 0
	if err := b.Each(t.Context(), state, "acme.", func(schemas.Entry) error { count++; return nil }); err != nil || count != n {
		t.Fatalf("%d entries, %v", count, err)
	}
	t.Logf("read in %v", time.Since(began))
}

// Whoever knows how far it has read reads only what came since, what was
// deleted too.
func TestNewerTellsWhatCameSince(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	store(t, b, state, puts(1, 20)...)
	_, last, err := b.BucketState(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	newer := func(after uint64) map[string]uint64 {
		t.Helper()
		got := map[string]uint64{}
		err := b.Newer(t.Context(), state, "acme.", after, func(e schemas.Entry) error { got[e.Key] = e.Revision; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := newer(last); len(got) != 0 {
		t.Errorf("nothing came, and it tells %v", got)
	}
	changed := puts(3, 3)
	changed[0].Base = load(t, b, state, "acme.k3").Revision
	revisions := store(t, b, state, append(changed, puts(21, 21)...)...)
	store(t, b, state, schemas.Put{Key: "other.k1", Value: []byte("x")})
	bucket, err := newJS(t, bus.Conn(b)).KeyValue(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	if err := bucket.Delete(t.Context(), "acme.k7"); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"acme.k3": revisions[0], "acme.k21": revisions[1], "acme.k7": 0}
	if diff := cmp.Diff(want, newer(last)); diff != "" {
		t.Errorf("newer (-want +got):\n%s", diff)
	}
	if _, now, err := b.BucketState(t.Context(), state); err != nil || now != last+4 {
		t.Errorf("the last revision is %d after four changes of what had %d, %v", now, last, err)
	}
	err = b.Newer(t.Context(), state, "", last+1000, func(schemas.Entry) error { return nil })
	if !errors.Is(err, bus.ErrRewound) {
		t.Errorf("of what hasn't come that far: %v", err)
	}
}
