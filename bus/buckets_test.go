package bus_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

func TestBucketsWithoutAConnection(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	revision := store(t, b, state, puts(1, 20)...)[4]
	external.Stop()
	eventually(t, "the lost connection shows", func() bool { return !b.Check(t.Context())[0].OK })
	for name, call := range map[string]func() error{
		"load":  func() error { _, err := b.Load(t.Context(), state, "acme.k5"); return err },
		"each":  func() error { return b.Each(t.Context(), state, "", func(schemas.Entry) error { return nil }) },
		"store": func() error { _, err := b.Store(t.Context(), state, puts(21, 60)); return err },
		"one":   func() error { _, err := b.Store(t.Context(), state, puts(61, 61)); return err },
		"made":  func() error { _, _, err := b.BucketState(t.Context(), state); return err },
		"hold": func() error {
			_, err := b.Hold(t.Context(), "acme", "me", func(context.Context) error { return nil })
			return err
		},
		"holders": func() error { _, err := b.Holders(t.Context()); return err },
	} {
		if err := call(); !errors.Is(err, bus.ErrDisconnected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	external.Start()
	eventually(t, "it is back", func() bool {
		e, err := b.Load(t.Context(), state, "acme.k5")
		return err == nil && e.Revision == revision
	})
}

// Of two that change a key at once one succeeds.
func TestConcurrentStoresChangeAKeyOnce(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	buses := []*bus.Bus{external.Bus(), external.Bus()}
	for _, b := range buses {
		bustest.Prepare(t, b)
	}
	all := puts(1, 400)
	revisions := make([][]uint64, 2)
	var both sync.WaitGroup
	for i, b := range buses {
		both.Go(func() {
			for from := 0; from < len(all); from += 40 {
				got, err := b.Store(t.Context(), state, all[from:from+40])
				if err != nil {
					t.Error(err)
				}
				revisions[i] = append(revisions[i], got...)
			}
		})
	}
	both.Wait()
	for i := range all {
		if (revisions[0][i] == 0) == (revisions[1][i] == 0) {
			t.Errorf("key %d has the revisions %d and %d", i, revisions[0][i], revisions[1][i])
		}
	}
}

func TestStoreBatchesOnlyWhereTheBucketSaysSo(t *testing.T) {
	t.Parallel()
	for _, atomic := range []bool{false, true} {
		external := bustest.NewExternal(t)
		nc, err := nats.Connect(external.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		if _, err := newJS(t, nc).CreateStream(t.Context(), jetstream.StreamConfig{
			Name: "KV_" + state, Subjects: []string{"$KV." + state + ".>"}, AllowAtomicPublish: atomic,
			MaxMsgsPerSubject: 1, AllowRollup: true, AllowDirect: true, DenyDelete: true, Discard: jetstream.DiscardNew,
		}); err != nil {
			t.Fatal(err)
		}
		sub, err := nc.SubscribeSync("$KV.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		b := external.Bus()
		eventually(t, "connect", func() bool { return b.Epoch() > 0 })
		if revisions := store(t, b, state, puts(1, 40)...); slices.Contains(revisions, 0) {
			t.Errorf("got %v", revisions)
		}
		for range 40 {
			m, err := sub.NextMsg(nats.DefaultTimeout)
			if err != nil {
				t.Fatal(err)
			}
			if batched := m.Header.Get("Nats-Batch-Id") != ""; batched != atomic {
				t.Fatalf("sent in a batch: %v, want %v", batched, atomic)
			}
		}
	}
}

// Where a batch is taken for single messages nobody knows what is stored. That
// must not look as if somebody else had stored it.
func TestStoreDoesNotBelieveAnAnswerThatKnowsNoBatch(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	p := newProxy(t, external.URL(), func(p *proxy) {
		p.toServer = func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("Nats-Batch-"), []byte("None-Batch-"))
		}
	})
	b := external.Bus(func(cfg *bus.Config) { cfg.External.URL = p.url() })
	bustest.Prepare(t, b)
	if revisions, err := b.Store(t.Context(), state, puts(1, 40)); err == nil {
		t.Errorf("got %v", revisions)
	}
}

func TestABucketIsAnotherWhenItIsMadeAnew(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	created := func() time.Time {
		at, _, err := b.BucketState(t.Context(), state)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := created()
	if age := time.Since(first); age < 0 || age > time.Minute {
		t.Errorf("it was created %v ago", age)
	}
	external.Stop()
	external.Start()
	eventually(t, "it is back", func() bool { _, _, err := b.BucketState(t.Context(), state); return err == nil })
	if again := created(); !again.Equal(first) {
		t.Errorf("a restart changes %v to %v", first, again)
	}
	external.Wipe()
	eventually(t, "it is made anew", func() bool { return b.Prepare(t.Context()) == nil })
	if again := created(); !again.After(first) {
		t.Errorf("it was created at %v, the first at %v", again, first)
	}
}
