package relay_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// world is a receiver without its ingress: a journal on disk and a relay.
type world struct {
	t       testing.TB
	dir     string
	keys    *journal.Keyring
	journal *journal.Journal
	config  func(*relay.Config)

	relay *relay.Relay
	stop  func()
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), stop: func() {}, config: func(*relay.Config) {}}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	keys, err := journal.OpenKeyring(journal.KeyConfig{DataDir: w.dir, Log: bustest.Log(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys = keys
	w.journal, err = journal.Open(journal.Config{
		Dir: w.dir + "/journal", MaxBytes: 1 << 30, Keys: keys, Log: bustest.Log(w.t),
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	w.t.Helper()
	w.stop()
	w.stop = func() {}
	if err := w.journal.Close(); err != nil {
		w.t.Error("close the journal:", err)
	}
}

// crash ends the receiver as kill -9 would: it goes on with a copy of its files
// as they are at this moment, whatever an orderly end would still write.
func (w *world) crash() {
	w.t.Helper()
	w.stop()
	dir := filepath.Join(w.t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
		w.t.Fatal(err)
	}
	w.close()
	w.dir = dir
	w.open()
}

// run starts a relay to b.
func (w *world) run(b relay.Bus) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cfg := relay.Config{
		Journal:    w.journal,
		Keys:       w.keys,
		Bus:        b,
		Normalize:  map[string]func(handlers.Delivery) (handlers.Output, error){"test": normalize},
		Registerer: prometheus.NewRegistry(),
		Log:        bustest.Log(w.t),
	}
	w.config(&cfg)
	w.relay = relay.New(cfg)
	ended := make(chan error, 1)
	go func() { ended <- w.relay.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error("the relay ended with:", err)
		}
	})
}

// accept appends a push to the journal.
func (w *world) accept(transportID, payload string) journal.Receipt {
	w.t.Helper()
	return w.acceptAs(handlers.Delivery{Payload: []byte(payload)}, transportID)
}

func (w *world) acceptAs(d handlers.Delivery, transportID string) journal.Receipt {
	w.t.Helper()
	d.Source, d.Platform, d.Channel, d.Role = "feed", "test", schemas.ChannelPush, "notification"
	if d.Received.IsZero() {
		d.Received = time.Now()
	}
	r, err := w.journal.Append(w.t.Context(), d, transportID, sha256.Sum256(d.Payload))
	if err != nil {
		w.t.Fatal("append:", err)
	}
	return r
}

// drain waits until everything is told.
func (w *world) drain() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := w.relay.Drain(ctx); err != nil {
		w.t.Fatal("not everything was told in time:", err)
	}
}

// ids returns the ids of all messages of a stream, in order.
func ids(t testing.TB, b *bus.Bus, stream schemas.Stream) []string {
	t.Helper()
	list := []string{}
	for _, m := range messages(t, b, stream) {
		list = append(list, m.Header[schemas.HeaderMsgID][0])
	}
	return list
}

func messages(t testing.TB, b *bus.Bus, stream schemas.Stream) []bus.TailMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var list []bus.TailMessage
	err := b.Tail(ctx, bus.TailOptions{Stream: stream}, func(m bus.TailMessage) error {
		list = append(list, m)
		return nil
	})
	if err != nil {
		t.Fatalf("read %s: %v", stream, err)
	}
	return list
}

// subjects returns the subjects of all messages of a stream, in order.
func subjects(t testing.TB, b *bus.Bus, stream schemas.Stream) []string {
	t.Helper()
	list := []string{}
	for _, m := range messages(t, b, stream) {
		list = append(list, m.Subject)
	}
	return list
}

// forgotten returns once the server no longer knows the ids of what was
// published before: from then on only the index keeps facts from being told
// twice.
func forgotten(t testing.TB, b *bus.Bus) {
	t.Helper()
	probe := schemas.Message{
		Stream: schemas.StreamOps, Subject: "postern.ops.postern.probe", ID: "probe",
		Header: map[string][]string{schemas.HeaderMsgID: {"probe"}},
	}
	var first uint64
	eventually(t, "the server forgets ids", func() bool {
		seqs, err := b.Publish(t.Context(), schemas.StreamOps, []schemas.Message{probe})
		if err != nil || len(seqs) != 1 {
			return false
		}
		if first == 0 {
			first = seqs[0]
		}
		return seqs[0] != first
	})
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("did not happen in time:", what)
		case <-tick.C:
		}
	}
}

// shortMemory has the server forget ids quickly.
func shortMemory(c *bus.Config) { c.DedupeWindow = 100 * time.Millisecond }

// normalize is the translation of a platform whose language is made for these
// tests: each line is a fact.
//
//	process <id> <status> [name=value …]
//	drift <path>
//	invalid | unusable | panic | large <bytes> | restricted <id>
func normalize(d handlers.Delivery) (handlers.Output, error) {
	var out handlers.Output
	for line := range strings.Lines(string(d.Payload)) {
		words := strings.Fields(line)
		switch words[0] {
		case "process":
			out.Events = append(out.Events, process(d, words[1], words[2], words[3:]))
		case "restricted":
			e := process(d, words[1], "success", nil)
			e.Restricted = &schemas.Restricted{Native: []byte(`{"said":"so"}`)}
			out.Events = append(out.Events, e)
		case "drift":
			out.Drift = append(out.Drift, schemas.Drift{Platform: "test", Path: words[1]})
		case "invalid":
			out.Events = append(out.Events, process(d, "", "success", nil))
		case "large":
			var n int
			if _, err := fmt.Sscan(words[1], &n); err != nil {
				return out, err
			}
			e := process(d, "large", "success", nil)
			p := e.Data.(schemas.Process)
			p.Affects["assetIds"] = []string{strings.Repeat("x", n)}
			out.Events = append(out.Events, e)
		case "unusable":
			return out, &handlers.UnusableError{Reason: schemas.ReasonUnknownKind, Detail: "no such kind"}
		case "panic":
			panic("as the payload says")
		default:
			return out, errors.New("unknown word")
		}
	}
	return out, nil
}

func process(d handlers.Delivery, id, status string, more []string) schemas.Event {
	p := schemas.Process{
		Platform: "test", ProcessID: id, NativeStatus: status, Method: "createInvestment",
		Ledger:  &schemas.Ledger{Channel: "chan1", TransactionID: "tx-" + id},
		Affects: map[string][]string{},
	}
	for _, word := range more {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "tx":
			p.Ledger.TransactionID = value
		case "orchestration":
			p.OrchestrationID = &value
		default:
			p.Affects[name] = strings.Split(value, ",")
		}
	}
	return schemas.Event{
		ID: "feed:process:" + id + ":" + status, Source: "feed", Type: schemas.ProcessSucceeded, Key: id,
		Time: "2026-03-01T10:00:00Z", Recorded: d.Received, DeliveryID: d.ID, Channel: d.Channel, Data: p,
	}
}
