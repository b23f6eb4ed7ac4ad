package bus_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// A failed write freezes a stream until the server is started again. That
// happens by itself, once the folder can be written; nothing that was
// acknowledged is lost, the port stays the same, and readers go on.
func TestFrozenServerIsRestarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.Embedded.Dir = dir
		cfg.Timeout = time.Second
		cfg.Log = nil
	})
	addr := b.Addr().String()
	publish(t, b, raw, events(raw, 1, 100)...)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 20)...)
	f := follow(t, b, raw, 0)
	reader := bustest.Connect(t, b, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	c, err := newJS(t, reader).OrderedConsumer(t.Context(), "POSTERN_EVENTS", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 100)
	consuming, err := c.Consume(func(m jetstream.Msg) { read <- m.Headers().Get(schemas.HeaderMsgID) })
	if err != nil {
		t.Fatal(err)
	}
	defer consuming.Stop()

	// The next file of messages can't be made, and neither can any other.
	block := filepath.Join(dir, "jetstream", "POSTERN", "streams", "POSTERN_RAW", "msgs", "2.blk")
	probe := filepath.Join(dir, ".probe")
	for _, path := range []string{block, probe} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	last := 100
	for last < 100_000 {
		msgs := events(raw, last+1, last+1)
		msgs[0].Body = make([]byte, 100_000)
		seqs, err := b.Publish(t.Context(), raw, msgs)
		last += len(seqs)
		if err != nil {
			if errors.Is(err, schemas.ErrUnpublishable) {
				t.Fatalf("a frozen stream: %v", err)
			}
			break
		}
	}
	eventually(t, "it says that it is not well", func() bool { return !serverOK(t, b) })
	eventually(t, "it says why it isn't restarted yet", func() bool {
		return strings.Contains(serverCheck(t, b).Detail, "can't be written")
	})
	epoch := b.Epoch()

	for _, path := range []string{block, probe} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it is well again", func() bool { return serverOK(t, b) && b.Epoch() > epoch })
	eventually(t, "it stores again", func() bool {
		seqs, err := b.Publish(t.Context(), raw, events(raw, last+1, last+50))
		return err == nil && len(seqs) == 50
	})
	got := stored(t, b, raw)
	if diff := cmp.Diff(ids(1, last+50), got); diff != "" {
		t.Errorf("after the restart:\n%s", diff)
	}
	eventually(t, "following goes on", func() bool { return f.reached(uint64(last + 50)) })
	if diff := cmp.Diff(headings(1, last+50), f.end(t)); diff != "" {
		t.Error(diff)
	}
	if b.Addr().String() != addr {
		t.Errorf("it listens at %v, at first at %s", b.Addr(), addr)
	}
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 21, 40)...)
	for _, want := range ids(1, 40) {
		select {
		case got := <-read:
			if got != want {
				t.Fatalf("the reader got %s, want %s", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the reader never got %s", want)
		}
	}
}

func TestCheckTellsWhatIsDegraded(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus(func(cfg *bus.Config) {
		cfg.MaxBytes = map[schemas.Stream]int64{schemas.StreamQuarantine: 20_000, schemas.StreamOps: 20_000}
	})
	bustest.Prepare(t, b)
	for _, c := range b.Check(t.Context()) {
		if !c.OK {
			t.Errorf("%s is not well: %s", c.Name, c.Detail)
		}
	}
	for i := range 17 {
		for _, s := range []schemas.Stream{schemas.StreamQuarantine, schemas.StreamOps} {
			m := event(s, fmt.Sprintf("e%d", i))
			m.Body = make([]byte, 850)
			publish(t, b, s, m)
		}
	}
	bad := map[string]string{}
	for _, c := range b.Check(t.Context()) {
		if !c.OK {
			bad[c.Name] = c.Detail
		}
	}
	// The other stream drops its oldest, which is nothing to worry about.
	if len(bad) != 1 || bad["nats stream POSTERN_QUARANTINE"] == "" {
		t.Errorf("not well are %v", bad)
	}
	external.Stop()
	eventually(t, "the lost connection is told", func() bool {
		checks := b.Check(t.Context())
		return checks[0].Name == "nats connection" && !checks[0].OK
	})
}
