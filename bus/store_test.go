package bus_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

const state = schemas.BucketState

// puts returns changes of the keys acme.k<from> to acme.k<to>, which have
// nothing yet.
func puts(from, to int) []schemas.Put {
	var all []schemas.Put
	for i := from; i <= to; i++ {
		all = append(all, schemas.Put{Key: fmt.Sprintf("acme.k%d", i), Value: fmt.Appendf(nil, "value %d", i)})
	}
	return all
}

func store(t testing.TB, b *bus.Bus, bucket string, puts ...schemas.Put) []uint64 {
	t.Helper()
	revisions, err := b.Store(t.Context(), bucket, puts)
	if err != nil {
		t.Fatalf("store: %v", err)
	}
	if len(revisions) != len(puts) {
		t.Fatalf("store returned %d revisions for %d puts", len(revisions), len(puts))
	}
	return revisions
}

func load(t testing.TB, b *bus.Bus, bucket, key string) schemas.Entry {
	t.Helper()
	e, err := b.Load(t.Context(), bucket, key)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return e
}

// each returns what Each tells, by key.
func each(t testing.TB, b *bus.Bus, bucket, prefix string) map[string]schemas.Entry {
	t.Helper()
	all := map[string]schemas.Entry{}
	err := b.Each(t.Context(), bucket, prefix, func(e schemas.Entry) error {
		all[e.Key] = e
		return nil
	})
	if err != nil {
		t.Fatalf("each: %v", err)
	}
	return all
}

func keyValue(t testing.TB, b *bus.Bus, bucket string) jetstream.KeyValue {
	t.Helper()
	kv, err := newJS(t, bus.Conn(b)).KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestStoredEntriesAreLoadedAsTheyAre(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	for _, n := range []int{1, 15, 16, 500, 501} {
		bucket := []string{schemas.BucketState, schemas.BucketCursors}[n%2]
		var all []schemas.Put
		want := map[string]schemas.Entry{}
		for i := range n {
			all = append(all, schemas.Put{Key: fmt.Sprintf("of-%d.a_=-%d", n, i), Value: fmt.Appendf(nil, "\x00\r\n%d", i)})
		}
		for i, revision := range store(t, b, bucket, all...) {
			want[all[i].Key] = schemas.Entry{Key: all[i].Key, Value: all[i].Value, Revision: revision}
			if got := load(t, b, bucket, all[i].Key); i%50 == 0 && !cmp.Equal(want[all[i].Key], got) {
				t.Errorf("%d: loaded %+v", n, got)
			}
		}
		if diff := cmp.Diff(want, each(t, b, bucket, fmt.Sprintf("of-%d.", n))); diff != "" {
			t.Errorf("%d: %s", n, diff)
		}
		// Others read it in the usual way.
		last := all[n-1]
		entry, err := keyValue(t, b, bucket).Get(t.Context(), last.Key)
		if err != nil || !bytes.Equal(entry.Value(), last.Value) || entry.Revision() != want[last.Key].Revision {
			t.Errorf("%d: a client gets %v, %v", n, entry, err)
		}
	}
}

func TestNothingIsLoadedWhereNothingIs(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	if diff := cmp.Diff(schemas.Entry{Key: "acme.x"}, load(t, b, state, "acme.x")); diff != "" {
		t.Error(diff)
	}
	if all := each(t, b, state, ""); len(all) != 0 {
		t.Errorf("an empty bucket has %v", all)
	}
	store(t, b, state, puts(1, 3)...)
	if err := keyValue(t, b, state).Delete(t.Context(), "acme.k1"); err != nil {
		t.Fatal(err)
	}
	if err := keyValue(t, b, state).Purge(t.Context(), "acme.k3"); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"acme.k1", "acme.k3"} {
		if diff := cmp.Diff(schemas.Entry{Key: key}, load(t, b, state, key)); diff != "" {
			t.Error(diff)
		}
	}
	if all := each(t, b, state, ""); len(all) != 1 || string(all["acme.k2"].Value) != "value 2" {
		t.Errorf("got %v", all)
	}
	if all := each(t, b, state, "ac."); len(all) != 0 {
		t.Errorf("a token is cut: %v", all)
	}
}

// However many are stored at once, those whose keys have moved on are refused,
// and all others are stored, also where a marker stands for nothing.
func TestStoreRefusesOnlyWhatHasMovedOn(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	kv := keyValue(t, b, state)
	for _, n := range []int{1, 4, 15, 16, 100, 700} {
		for name, moved := range map[string]func(i int) bool{
			"none":   func(int) bool { return false },
			"one":    func(i int) bool { return i == n/2 },
			"some":   func(i int) bool { return i%7 == 3 },
			"all":    func(int) bool { return true },
			"others": func(i int) bool { return i > 2 },
		} {
			t.Run(fmt.Sprintf("%s of %d", name, n), func(t *testing.T) {
				all := make([]schemas.Put, n)
				for i := range all {
					all[i] = schemas.Put{Key: fmt.Sprintf("%d-%s.k%d", n, name, i), Value: []byte("first")}
				}
				for i, revision := range store(t, b, state, all...) {
					all[i].Base, all[i].Value = revision, []byte("second")
				}
				// Every fourth was deleted, which those that don't know must
				// find moved on, and those that know find empty.
				for i := 0; i < n; i += max(4, n/20) {
					if err := kv.Delete(t.Context(), all[i].Key); err != nil {
						t.Fatal(err)
					}
					all[i].Base = 0
				}
				var others []schemas.Put
				for i := range all {
					if moved(i) {
						p := all[i]
						p.Value = []byte("other")
						others = append(others, p)
					}
				}
				store(t, b, state, others...)
				want := map[string]string{}
				for i, revision := range store(t, b, state, all...) {
					want[all[i].Key] = "second"
					if moved(i) {
						want[all[i].Key] = "other"
					}
					if moved(i) != (revision == 0) {
						t.Errorf("put %d, moved on: %v, has the revision %d", i, moved(i), revision)
					}
				}
				got := map[string]string{}
				for key, e := range each(t, b, state, fmt.Sprintf("%d-%s.", n, name)) {
					got[key] = string(e.Value)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestStoreKnowsDeletedFromMovedOn(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	first := store(t, b, state, schemas.Put{Key: "acme.x", Value: []byte("1")})[0]
	if err := keyValue(t, b, state).Delete(t.Context(), "acme.x"); err != nil {
		t.Fatal(err)
	}
	if got := store(t, b, state, schemas.Put{Key: "acme.x", Value: []byte("2"), Base: first}); got[0] != 0 {
		t.Errorf("a change of what was deleted is made: %d", got[0])
	}
	second := store(t, b, state, schemas.Put{Key: "acme.x", Value: []byte("3")})[0]
	if second <= first {
		t.Errorf("revisions are %d and %d", first, second)
	}
	if got := store(t, b, state, schemas.Put{Key: "acme.x", Value: []byte("4")}); got[0] != 0 {
		t.Errorf("what is there is made anew: %d", got[0])
	}
	if e := load(t, b, state, "acme.x"); string(e.Value) != "3" || e.Revision != second {
		t.Errorf("got %+v", e)
	}
}

// A repeat after an answer that got lost: what was stored counts as moved on,
// and has the value that was to be stored.
func TestStoreTwiceStoresOnce(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	all := puts(1, 5000)
	began := time.Now()
	revisions := store(t, b, state, all...)
	t.Logf("%d entries are stored in %v", len(all), time.Since(began))
	if slices.Contains(revisions, 0) {
		t.Fatal("a new key has moved on")
	}
	again := store(t, b, state, append(puts(4990, 5010), all[:700]...)...)
	for i, revision := range again {
		if want := i > 10 && i < 21; want != (revision != 0) {
			t.Errorf("put %d has the revision %d", i, revision)
		}
	}
	got := each(t, b, state, "acme.")
	for i, p := range all {
		want := schemas.Entry{Key: p.Key, Value: p.Value, Revision: revisions[i]}
		if e := got[p.Key]; !cmp.Equal(e, want) {
			t.Fatalf("got %+v, want %+v", e, want)
		}
	}
	if len(got) != 5010 {
		t.Errorf("%d entries, want 5010", len(got))
	}
}

func TestOneKeyTwiceInOneCallIsStoredOnce(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	for _, n := range []int{2, 60} {
		all := puts(n*1000, n*1000+n-1)
		all = append(all, schemas.Put{Key: all[0].Key, Value: []byte("again")})
		revisions := store(t, b, state, all...)
		if slices.Index(revisions, 0) != n {
			t.Errorf("got %v", revisions)
		}
		if e := load(t, b, state, all[0].Key); !bytes.Equal(e.Value, all[0].Value) {
			t.Errorf("got %q", e.Value)
		}
	}
}

func TestStoreRefusesWhatCanNeverBeStored(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) { cfg.MaxStore = 300 << 20 })
	for name, bad := range map[string]schemas.Put{
		"no key":                  {},
		"empty token":             {Key: "acme..x"},
		"empty end":               {Key: "acme."},
		"wildcard":                {Key: "acme.*"},
		"everything":              {Key: "acme.>"},
		"space":                   {Key: "acme.a b"},
		"too long":                {Key: "acme." + strings.Repeat("x", 1100)},
		"too large":               {Key: "acme.x", Value: make([]byte, b.MaxPayload()+1)},
		"larger than the bucket":  {Key: "acme.x", Value: make([]byte, 3<<20)},
		"strange character":       {Key: "acme.ä"},
		"a key that is a subject": {Key: "$KV.acme"},
	} {
		bucket := schemas.BucketCursors
		for _, before := range []int{0, 20} {
			revisions, err := b.Store(t.Context(), bucket, append(puts(1, before), bad))
			if !errors.Is(err, schemas.ErrUnpublishable) || slices.Max(revisions) != 0 || len(revisions) != before+1 {
				t.Errorf("%s after %d: %v, %v", name, before, revisions, err)
			}
			if err != nil && bad.Key != "" && strings.Contains(err.Error(), bad.Key) {
				t.Errorf("the error tells the key: %v", err)
			}
		}
		if bad.Value == nil {
			if _, err := b.Load(t.Context(), bucket, bad.Key); err == nil {
				t.Errorf("%s can be loaded", name)
			}
		}
	}
	if all := each(t, b, schemas.BucketCursors, ""); len(all) != 0 {
		t.Errorf("something is stored: %v", all)
	}
	for _, prefix := range []string{"acme", ".", "acme..", "*.", "a b."} {
		if err := b.Each(t.Context(), state, prefix, func(schemas.Entry) error { return nil }); err == nil {
			t.Errorf("prefix %q is none", prefix)
		}
	}
	if revisions, err := b.Store(t.Context(), state, nil); err != nil || len(revisions) != 0 {
		t.Errorf("nothing: %v, %v", revisions, err)
	}
}

// A bucket that is full refuses what is new, for as long as it is full.
func TestFullBucketIsATransientTrouble(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) { cfg.MaxStore = 300 << 20 })
	var full error
	n := 0
	for full == nil && n < 100 {
		n++
		_, full = b.Store(t.Context(), schemas.BucketCursors, []schemas.Put{{Key: fmt.Sprintf("big.k%d", n), Value: make([]byte, 300<<10)}})
	}
	if full == nil || errors.Is(full, schemas.ErrUnpublishable) {
		t.Fatalf("after %d: %v", n, full)
	}
	many := puts(1, 20)
	for i := range many {
		many[i].Value = make([]byte, 50<<10)
	}
	if revisions, err := b.Store(t.Context(), schemas.BucketCursors, many); err == nil || errors.Is(err, schemas.ErrUnpublishable) || slices.Max(revisions) != 0 {
		t.Errorf("a batch: %v, %v", revisions, err)
	}
	if err := keyValue(t, b, schemas.BucketCursors).Purge(t.Context(), "big.k1"); err != nil {
		t.Fatal(err)
	}
	store(t, b, schemas.BucketCursors, schemas.Put{Key: "acme.x", Value: make([]byte, 100<<10)})
}
