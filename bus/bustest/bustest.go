// Package bustest runs real NATS servers for tests.
package bustest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/schemas"
)

// maxStore is small, so that tests don't reserve what they don't need.
const maxStore = 1 << 30

// Server returns a bus with an embedded server in a folder of its own, with an
// encrypted store, at a free port of the loopback address. Streams and buckets
// exist. It ends with the test. Each of change may change the configuration.
func Server(t testing.TB, change ...func(*bus.Config)) *bus.Bus {
	t.Helper()
	cfg := bus.Config{
		Embedded: &bus.Embedded{Dir: t.TempDir(), StoreKey: rand.Text(), Listen: "127.0.0.1:0"},
		MaxStore: maxStore,
		Log:      Log(t),
	}
	b := Open(t, cfg, change...)
	Prepare(t, b)
	return b
}

// Open opens a bus and closes it when the test ends.
func Open(t testing.TB, cfg bus.Config, change ...func(*bus.Config)) *bus.Bus {
	t.Helper()
	for _, f := range change {
		f(&cfg)
	}
	b, err := bus.Open(cfg)
	if err != nil {
		t.Fatalf("open the bus: %v", err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	return b
}

// Prepare makes the streams and buckets.
func Prepare(t testing.TB, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := b.Prepare(ctx); err != nil {
		t.Fatalf("prepare the bus: %v", err)
	}
}

// Connect connects somebody else to a bus of [Server], the guest unless options
// say who. The connection ends with the test.
func Connect(t testing.TB, b *bus.Bus, options ...nats.Option) *nats.Conn {
	t.Helper()
	quiet := nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})
	nc, err := nats.Connect("nats://"+b.Addr().String(), append([]nats.Option{quiet}, options...)...)
	if err != nil {
		t.Fatalf("connect to the bus: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// External is a server that isn't the bus's own. It can be stopped and started
// again at the same port, with the same store.
type External struct {
	t       testing.TB
	dir     string
	port    int
	current *server.Server
	saved   string // folder
}

// NewExternal starts an external server, which ends with the test.
func NewExternal(t testing.TB) *External {
	t.Helper()
	e := &External{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	e.Start()
	t.Cleanup(e.Stop)
	return e
}

// URL returns where it is, whether it runs or not.
func (e *External) URL() string {
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(e.port))
}

// Config returns the configuration of a bus that uses it.
func (e *External) Config() bus.Config {
	return bus.Config{External: &bus.External{URL: e.URL()}, MaxStore: maxStore, Log: Log(e.t)}
}

// Bus returns a bus that uses it, without streams and buckets as yet. It may be
// called while the server is stopped. The bus ends with the test.
func (e *External) Bus(change ...func(*bus.Config)) *bus.Bus {
	e.t.Helper()
	return Open(e.t, e.Config(), change...)
}

// Start starts it. It does nothing when it runs.
func (e *External) Start() {
	e.t.Helper()
	if e.current != nil {
		return
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "external",
		Host:       "127.0.0.1",
		Port:       e.port,
		NoSigs:     true,
		NoLog:      true,
		MaxPayload: 8 << 20,
		JetStream:  true,
		StoreDir:   e.dir,
		SyncAlways: true,

		JetStreamMaxStore:      2 * maxStore,
		JetStreamMaxMemory:     64 << 20,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		e.t.Fatalf("external NATS: %v", err)
	}
	s.Start()
	if !s.ReadyForConnections(10*time.Second) || !s.JetStreamEnabled() {
		e.t.Fatal("external NATS is not ready")
	}
	addr, ok := s.Addr().(*net.TCPAddr)
	if !ok {
		e.t.Fatal("external NATS has no address")
	}
	e.port, e.current = addr.Port, s
}

// Stop stops it. What is in its store stays. It does nothing when it is stopped.
func (e *External) Stop() {
	if e.current == nil {
		return
	}
	e.current.Shutdown()
	e.current.WaitForShutdown()
	e.current = nil
}

// Save keeps a copy of what is in its store. Stop it before.
func (e *External) Save() {
	e.t.Helper()
	e.saved = filepath.Join(e.t.TempDir(), "saved")
	if err := os.CopyFS(e.saved, os.DirFS(e.dir)); err != nil {
		e.t.Fatal(err)
	}
}

// Restore stops it, puts back what was saved, and starts it again: a broker
// that lost the end of what it had acknowledged.
func (e *External) Restore() {
	e.t.Helper()
	e.Stop()
	e.dir = e.saved
	e.Start()
}

// RestoreOnly is Restore for one stream: a broker that lost the end of that
// one. There must be a Save, once.
func (e *External) RestoreOnly(stream schemas.Stream) {
	e.t.Helper()
	e.Stop()
	at := filepath.Join("jetstream", "$G", "streams", string(stream))
	if err := os.RemoveAll(filepath.Join(e.dir, at)); err != nil {
		e.t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(e.dir, at), os.DirFS(filepath.Join(e.saved, at))); err != nil {
		e.t.Fatal(err)
	}
	e.Start()
}

// Wipe stops it, takes all that is in its store away, and starts it again: a
// broker that lost what it had acknowledged.
func (e *External) Wipe() {
	e.t.Helper()
	e.Stop()
	e.dir = e.t.TempDir()
	e.Start()
}

// Log returns a logger that writes what is worth a warning to the test's log.
func Log(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
