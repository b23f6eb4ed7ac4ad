package bus_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

func TestPrepareMakesStreamsAndBuckets(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.MaxBytes = map[schemas.Stream]int64{schemas.StreamOps: 5_000_000}
		cfg.Retention = map[schemas.Stream]time.Duration{schemas.StreamRaw: time.Hour, schemas.StreamOps: time.Minute}
		cfg.DedupeWindow = 5 * time.Minute
	})
	js := newJS(t, bus.Conn(b))
	type facts struct {
		Subject       string
		Age, Window   time.Duration
		Discard       jetstream.DiscardPolicy
		NoDelete      bool
		PerSubject    int64
		TTL           bool
		Direct, Batch bool
	}
	const day = 24 * time.Hour
	old, refuse := jetstream.DiscardOld, jetstream.DiscardNew
	want := map[string]facts{
		"POSTERN_EVENTS":     {"postern.events.>", 30 * day, 5 * time.Minute, refuse, true, -1, false, true, true},
		"POSTERN_RESTRICTED": {"postern.restricted.>", 30 * day, 5 * time.Minute, refuse, false, -1, false, true, true},
		"POSTERN_RAW":        {"postern.raw.>", time.Hour, 5 * time.Minute, old, false, -1, false, true, true},
		"POSTERN_QUARANTINE": {"postern.quarantine.>", 0, 5 * time.Minute, refuse, false, -1, false, true, true},
		"POSTERN_REJECTED":   {"postern.rejected.>", 7 * day, 5 * time.Minute, old, false, 100, false, true, true},
		"POSTERN_OPS":        {"postern.ops.>", time.Minute, time.Minute, old, false, -1, false, true, true},
		"POSTERN_REPLAY":     {"postern.replay.>", day, 5 * time.Minute, old, false, -1, false, true, true},
		"KV_postern_state":   {"$KV.postern_state.>", 0, 2 * time.Minute, refuse, true, 1, false, true, true},
		"KV_postern_cursors": {"$KV.postern_cursors.>", 0, 2 * time.Minute, refuse, true, 1, false, true, true},
		"KV_postern_leases":  {"$KV.postern_leases.>", 0, 2 * time.Minute, refuse, true, 1, true, true, true},
	}
	got := map[string]facts{}
	var sum int64
	list := js.ListStreams(t.Context())
	for s := range list.Info() {
		c := s.Config
		got[c.Name] = facts{
			strings.Join(c.Subjects, " "), c.MaxAge, c.Duplicates, c.Discard, c.DenyDelete, c.MaxMsgsPerSubject,
			c.AllowMsgTTL, c.AllowDirect, c.AllowAtomicPublish,
		}
		if c.MaxBytes <= 0 || c.Storage != jetstream.FileStorage || c.Compression != jetstream.NoCompression {
			t.Errorf("%s: %d bytes, %v, %v", c.Name, c.MaxBytes, c.Storage, c.Compression)
		}
		sum += c.MaxBytes
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if sum > 1<<30 {
		t.Errorf("together they may hold %d bytes, more than max_store", sum)
	}
	for _, bucket := range []string{schemas.BucketState, schemas.BucketCursors, schemas.BucketLeases} {
		kv, err := js.KeyValue(t.Context(), bucket)
		if err != nil {
			t.Fatalf("open %s: %v", bucket, err)
		}
		revision, err := kv.Create(t.Context(), "acme.list", []byte("1"))
		if err != nil {
			t.Fatalf("create in %s: %v", bucket, err)
		}
		if _, err := kv.Update(t.Context(), "acme.list", []byte("2"), revision); err != nil {
			t.Errorf("update in %s: %v", bucket, err)
		}
		if _, err := kv.Update(t.Context(), "acme.list", []byte("3"), revision); !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			t.Errorf("update in %s with an old revision: %v", bucket, err)
		}
	}
	leases, err := js.KeyValue(t.Context(), schemas.BucketLeases)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Create(t.Context(), "lease", []byte("mine"), jetstream.KeyTTL(time.Minute)); err != nil {
		t.Errorf("a lease: %v", err)
	}
}

// The shares, in per cent of what is shared, as operators know them.
func TestStreamsShareTheStore(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	for s, percent := range map[schemas.Stream]float64{
		schemas.StreamEvents: 35, schemas.StreamRaw: 40, schemas.StreamQuarantine: 10,
		schemas.StreamRestricted: 5, schemas.StreamOps: 3, schemas.StreamReplay: 2, schemas.StreamRejected: 1,
	} {
		state, err := b.StreamState(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		got := float64(state.MaxBytes) / (1 << 30) * 100
		if got < percent*0.98 || got > percent*1.02 {
			t.Errorf("%s has %.2f %% of the store, want %v %%", s, got, percent)
		}
	}
}

func TestPrepareLeavesWhatIsThere(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	publish(t, b, raw, events(raw, 1, 3)...)
	before := inventory(t, newJS(t, bus.Conn(b)))
	other := external.Bus(func(cfg *bus.Config) {
		cfg.Retention = map[schemas.Stream]time.Duration{schemas.StreamEvents: time.Hour}
		cfg.DedupeWindow = time.Minute
	})
	bustest.Prepare(t, other)
	bustest.Prepare(t, other)
	if diff := cmp.Diff(before, inventory(t, newJS(t, bus.Conn(b)))); diff != "" {
		t.Errorf("something changed:\n%s", diff)
	}
	drift := other.Drift()
	if len(drift) != 8 || drift[0] != "POSTERN_EVENTS has max_age 720h0m0s instead of 1h0m0s" {
		t.Errorf("drift is %q", drift)
	}
	for _, c := range other.Check(t.Context()) {
		if c.Name == "nats streams as configured" && c.OK {
			t.Error("drift is nothing to worry about")
		}
	}
	if drift := b.Drift(); len(drift) != 0 {
		t.Errorf("drift without a difference: %q", drift)
	}
}

func TestPrepareWaitsForAnExternalServer(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	external.Stop()
	b := external.Bus(func(cfg *bus.Config) { cfg.Timeout = 50 * time.Millisecond })
	if err := b.Prepare(t.Context()); !errors.Is(err, bus.ErrDisconnected) {
		t.Errorf("without a server: %v", err)
	}
	if b.Epoch() != 0 {
		t.Errorf("epoch is %d before the first connection", b.Epoch())
	}
	external.Start()
	eventually(t, "prepare", func() bool { return b.Prepare(t.Context()) == nil })
	first := b.Epoch()
	if first == 0 {
		t.Error("epoch is 0 although there is a connection")
	}
	external.Stop()
	external.Start()
	eventually(t, "the epoch grows", func() bool { return b.Epoch() > first })
}

// files returns what a folder holds.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		all[path] = fmt.Sprintf("%d bytes %x", len(data), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// With another key the server can open none of its streams, and would delete
// them if they were created anew.
func TestWrongKeyDestroysNothing(t *testing.T) {
	t.Parallel()
	embedded := &bus.Embedded{Dir: t.TempDir(), StoreKey: "the right key"}
	cfg := bus.Config{Embedded: embedded, MaxStore: 1 << 30}
	b, err := bus.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Prepare(t, b)
	publish(t, b, raw, events(raw, 1, 200)...)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 3)...)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	before := files(t, embedded.Dir)

	embedded.StoreKey = "another key"
	b, err = bus.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Prepare(t.Context()); !errors.Is(err, bus.ErrUnrecovered) {
			t.Errorf("prepare with another key: %v", err)
		}
	}
	if seqs, err := b.Publish(t.Context(), raw, events(raw, 1, 1)); err == nil {
		t.Errorf("published with another key: %v", seqs)
	}
	eventually(t, "it says that it is not well", func() bool { return !serverOK(t, b) })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, files(t, embedded.Dir)); diff != "" {
		t.Errorf("another key changed what is on disk:\n%s", diff)
	}

	embedded.StoreKey = "the right key"
	b = bustest.Open(t, cfg)
	bustest.Prepare(t, b)
	got := stored(t, b, raw)
	if diff := cmp.Diff(ids(1, 200), got); diff != "" {
		t.Error(diff)
	}
	got = stored(t, b, schemas.StreamEvents)
	if diff := cmp.Diff(ids(1, 3), got); diff != "" {
		t.Error(diff)
	}
}

func serverCheck(t *testing.T, b *bus.Bus) bus.Check {
	t.Helper()
	for _, c := range b.Check(t.Context()) {
		if c.Name == "nats server" {
			return c
		}
	}
	t.Fatal("there is no line about the server")
	return bus.Check{}
}

func serverOK(t *testing.T, b *bus.Bus) bool {
	t.Helper()
	return serverCheck(t, b).OK
}

// One stream that can't be opened keeps all others from being created, too:
// somebody has to look first.
func TestLostStreamStopsPrepare(t *testing.T) {
	t.Parallel()
	embedded := &bus.Embedded{Dir: t.TempDir(), StoreKey: "key"}
	cfg := bus.Config{Embedded: embedded, MaxStore: 1 << 30}
	b, err := bus.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Prepare(t, b)
	publish(t, b, raw, events(raw, 1, 20)...)
	js := newJS(t, bus.Conn(b))
	if err := js.DeleteStream(t.Context(), "POSTERN_OPS"); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	meta := filepath.Join(embedded.Dir, "jetstream", "POSTERN", "streams", "POSTERN_RAW", "meta.inf")
	if err := os.Rename(meta, meta+".away"); err != nil {
		t.Fatal(err)
	}
	b, err = bus.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Prepare(t.Context())
	if !errors.Is(err, bus.ErrUnrecovered) || !strings.Contains(err.Error(), "POSTERN_RAW") {
		t.Errorf("prepare: %v", err)
	}
	if _, err := newJS(t, bus.Conn(b)).Stream(t.Context(), "POSTERN_OPS"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("another stream was created: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(meta+".away", meta); err != nil {
		t.Fatal(err)
	}
	b = bustest.Open(t, cfg)
	bustest.Prepare(t, b)
	got := stored(t, b, raw)
	if diff := cmp.Diff(ids(1, 20), got); diff != "" {
		t.Error(diff)
	}
}

// What a creation that was cut short left behind is no reason to stop, and does
// no harm later.
func TestHalfMadeStreamIsMade(t *testing.T) {
	t.Parallel()
	for name, left := range map[string][]string{
		"folders":                 nil,
		"key":                     {"meta.key"},
		"description without sum": {"meta.key", "meta.inf"},
		"empty files":             {"meta.key", "meta.inf", "empty msgs/1.blk"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			embedded := &bus.Embedded{Dir: t.TempDir(), StoreKey: "key"}
			cfg := bus.Config{Embedded: embedded, MaxStore: 1 << 30}
			streams := filepath.Join(embedded.Dir, "jetstream", "POSTERN", "streams")
			b, err := bus.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			bustest.Prepare(t, b)
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			// Keep of one stream what its creation writes first.
			dir := filepath.Join(streams, "POSTERN_RAW")
			if err := os.Rename(dir, dir+".made"); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "msgs"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, file := range left {
				var data []byte
				file, empty := strings.CutPrefix(file, "empty ")
				if !empty {
					if data, err = os.ReadFile(filepath.Join(dir+".made", file)); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.RemoveAll(dir + ".made"); err != nil {
				t.Fatal(err)
			}
			for i := range 2 { // also when it is opened again
				b, err := bus.Open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				bustest.Prepare(t, b)
				publish(t, b, raw, events(raw, 20*i+1, 20*i+20)...)
				got := stored(t, b, raw)
				if diff := cmp.Diff(ids(1, 20*i+20), got); diff != "" {
					t.Error(diff)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
