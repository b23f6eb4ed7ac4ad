package bus_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// reopen opens a bus with what another one left, and returns what it logs.
func reopen(t *testing.T, cfg bus.Config) (*bus.Bus, *recorder) {
	t.Helper()
	var log recorder
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	b := bustest.Open(t, cfg)
	bustest.Prepare(t, b)
	return b, &log
}

// What operators are told to do when a stream is full: a larger store has room
// again, and keeps what there was.
func TestLargerStoreCuresAFullStream(t *testing.T) {
	t.Parallel()
	cfg := bus.Config{Embedded: &bus.Embedded{Dir: t.TempDir(), StoreKey: "key"}, MaxStore: 1 << 30}
	b, _ := reopen(t, cfg)
	var full error
	n := 0
	next := func() []schemas.Message {
		msgs := events(schemas.StreamRestricted, n+1, n+1)
		msgs[0].Body = make([]byte, 7<<20)
		return msgs
	}
	for full == nil && n < 100 {
		if _, full = b.Publish(t.Context(), schemas.StreamRestricted, next()); full == nil {
			n++
		}
	}
	if full == nil || n == 0 {
		t.Fatalf("%d messages, and it is not full", n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.MaxStore = 2 << 30
	b, log := reopen(t, cfg)
	publish(t, b, schemas.StreamRestricted, next()...)
	if diff := cmp.Diff(ids(1, n+1), stored(t, b, schemas.StreamRestricted)); diff != "" {
		t.Error(diff)
	}
	if drift := b.Drift(); len(drift) != 0 {
		t.Errorf("drift: %q", drift)
	}
	if n := strings.Count(log.String(), "a stream's limits follow the configuration"); n == 0 {
		t.Error("nothing is said of it")
	}
	js := newJS(t, bus.Conn(b))
	var sum int64
	list := js.ListStreams(t.Context())
	for s := range list.Info() {
		sum += s.Config.MaxBytes
		if !s.Config.AllowAtomicPublish || !s.Config.AllowDirect {
			t.Errorf("%s lost something: %+v", s.Config.Name, s.Config)
		}
	}
	if err := list.Err(); err != nil || sum < 19<<26 || sum > 2<<30 {
		t.Errorf("together they may hold %d bytes of 2 GiB, %v", sum, err)
	}
}

func TestLimitsFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	cfg := bus.Config{Embedded: &bus.Embedded{Dir: t.TempDir(), StoreKey: "key"}, MaxStore: 1 << 30}
	b, _ := reopen(t, cfg)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 20)...)
	before, err := b.StreamState(t.Context(), schemas.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	// One that an operator changed by hand, in a way that isn't ours to undo.
	js := newJS(t, bus.Conn(b))
	s, err := js.Stream(t.Context(), "POSTERN_OPS")
	if err != nil {
		t.Fatal(err)
	}
	config := s.CachedInfo().Config
	config.MaxMsgs = 500_000
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	cfg.Retention = map[schemas.Stream]time.Duration{schemas.StreamEvents: 10 * day, schemas.StreamRaw: 200 * day, schemas.StreamReplay: time.Minute}
	cfg.DedupeWindow = 20 * time.Minute
	cfg.MaxBytes = map[schemas.Stream]int64{schemas.StreamQuarantine: 1 << 20} // less
	b, log := reopen(t, cfg)
	js = newJS(t, bus.Conn(b))
	type limits struct{ Age, Window time.Duration }
	for stream, want := range map[schemas.Stream]limits{
		schemas.StreamEvents:     {10 * day, 20 * time.Minute},
		schemas.StreamRaw:        {200 * day, 20 * time.Minute},
		schemas.StreamReplay:     {time.Minute, time.Minute},
		schemas.StreamQuarantine: {0, 20 * time.Minute},
	} {
		s, err := js.Stream(t.Context(), string(stream))
		if err != nil {
			t.Fatal(err)
		}
		config := s.CachedInfo().Config
		if got := (limits{config.MaxAge, config.Duplicates}); got != want {
			t.Errorf("%s has %v, want %v", stream, got, want)
		}
	}
	drift := b.Drift()
	if len(drift) != 2 || !strings.HasPrefix(drift[0], "POSTERN_QUARANTINE has max_bytes ") || !strings.HasPrefix(drift[1], "POSTERN_OPS has max_msgs 500000 ") {
		t.Errorf("drift is %q", drift)
	}
	after, err := b.StreamState(t.Context(), schemas.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the events changed:\n%s", diff)
	}
	seen := log.String()
	bustest.Prepare(t, b)
	if log.String() != seen {
		t.Errorf("again, with nothing to do: %s", strings.TrimPrefix(log.String(), seen))
	}
}

// A stream that can't grow because others have taken the room is no reason to
// stop.
func TestLimitsThatCannotFollowAreDrift(t *testing.T) {
	t.Parallel()
	cfg := bus.Config{Embedded: &bus.Embedded{Dir: t.TempDir(), StoreKey: "key"}, MaxStore: 1 << 30}
	b, _ := reopen(t, cfg)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.MaxBytes = map[schemas.Stream]int64{schemas.StreamOps: 1 << 30}
	cfg.Retention = map[schemas.Stream]time.Duration{schemas.StreamOps: time.Hour}
	b, log := reopen(t, cfg)
	if drift := b.Drift(); len(drift) != 1 || !strings.HasPrefix(drift[0], "POSTERN_OPS has max_bytes ") {
		t.Errorf("drift is %q", drift)
	}
	if !strings.Contains(log.String(), "can't follow") {
		t.Error("nothing is said of it")
	}
	publish(t, b, schemas.StreamOps, event(schemas.StreamOps, "e1"))
	s, err := newJS(t, bus.Conn(b)).Stream(t.Context(), "POSTERN_OPS")
	if err != nil {
		t.Fatal(err)
	}
	if age := s.CachedInfo().Config.MaxAge; age != time.Hour {
		t.Errorf("its age didn't follow either: %v", age)
	}
}
