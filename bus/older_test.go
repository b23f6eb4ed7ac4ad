package bus_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// saysVersion has the server say that it is another version.
func saysVersion(t *testing.T, version string) func([]byte) []byte {
	t.Helper()
	real := `"version":"` + server.VERSION + `"`
	fake := `"version":"` + version + `"`
	// What JSON ignores keeps the length.
	fake += strings.Repeat(" ", max(0, len(real)-len(fake)))
	if len(fake) != len(real) {
		t.Fatalf("%s is longer than %s", version, server.VERSION)
	}
	return func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(real), []byte(fake)) }
}

func TestPrepareRefusesAServerThatIsTooOld(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"2.9.25": "too old",
		"2.11.9": "too old",
		"1.4.1":  "too old",
		"2.12.0": "should be newer",
		"2.15.0": "should be newer",
		"2.15.1": "",
		"2.16.0": "",
		"3.0.0":  "",
		"dev":    "",
	} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			external := bustest.NewExternal(t)
			says := saysVersion(t, version)
			p := newProxy(t, external.URL(), func(p *proxy) { p.toClient = says })
			var log recorder
			b := external.Bus(func(cfg *bus.Config) { cfg.External.URL, cfg.Log = p.url(), slog.New(slog.NewTextHandler(&log, nil)) })
			err := b.Prepare(t.Context())
			if want == "too old" {
				if err == nil || !strings.Contains(err.Error(), "2.15.1") || !strings.Contains(err.Error(), version) {
					t.Errorf("got %v", err)
				}
				if _, err := newJS(t, bus.Conn(b)).Stream(t.Context(), string(raw)); !errors.Is(err, jetstream.ErrStreamNotFound) {
					t.Errorf("a stream was created: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			bustest.Prepare(t, b)
			warnings := 0
			if want != "" {
				warnings = 1
			}
			if n := strings.Count(log.String(), "should be newer"); n != warnings {
				t.Errorf("%d warnings, want %d", n, warnings)
			}
		})
	}
}

// A server that doesn't know batches takes each message of one for itself, and
// acknowledges the last one. What is returned may only be what is stored.
func TestPublishDoesNotBelieveAnAnswerThatKnowsNoBatch(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	p := newProxy(t, external.URL(), func(p *proxy) {
		p.toServer = func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte("Nats-Batch-"), []byte("None-Batch-"))
		}
	})
	b := external.Bus(func(cfg *bus.Config) { cfg.External.URL = p.url() })
	bustest.Prepare(t, b)
	s := newJS(t, bus.Conn(b))
	stream, err := s.Stream(t.Context(), string(raw))
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.MaxMsgSize = 1000
	if _, err := s.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	msgs := events(raw, 1, 40)
	msgs[20].Body = make([]byte, 2000) // refused, amid those that are taken
	seqs, err := b.Publish(t.Context(), raw, msgs)
	if !errors.Is(err, schemas.ErrUnpublishable) || len(seqs) != 20 {
		t.Errorf("got %d sequences and %v, want 20 and that the next can't be stored", len(seqs), err)
	}
}

func TestPublishBatchesOnlyWhereTheStreamSaysSo(t *testing.T) {
	t.Parallel()
	for _, atomic := range []bool{false, true} {
		external := bustest.NewExternal(t)
		nc, err := nats.Connect(external.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		if _, err := newJS(t, nc).CreateStream(t.Context(), jetstream.StreamConfig{
			Name: string(raw), Subjects: []string{"postern.raw.>"}, AllowAtomicPublish: atomic, AllowDirect: true,
		}); err != nil {
			t.Fatal(err)
		}
		sub, err := nc.SubscribeSync("postern.raw.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		b := external.Bus()
		eventually(t, "connect", func() bool { return b.Epoch() > 0 })
		publish(t, b, raw, events(raw, 1, 40)...)
		if diff := cmp.Diff(ids(1, 40), stored(t, b, raw)); diff != "" {
			t.Error(diff)
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
