package bus_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	users := []bus.User{{Name: "ann", Password: "p", Allow: bus.AllowEvents}}
	certificate := selfSigned(t)
	embedded := func(change func(*bus.Embedded)) bus.Config {
		e := bus.Embedded{Dir: t.TempDir(), StoreKey: "key", Listen: "127.0.0.1:0", Users: users}
		change(&e)
		return bus.Config{Embedded: &e}
	}
	external := func(e bus.External) bus.Config { return bus.Config{External: &e} }
	for name, cfg := range map[string]bus.Config{
		"nothing":                 {},
		"both":                    {Embedded: &bus.Embedded{Dir: t.TempDir(), StoreKey: "key"}, External: &bus.External{URL: "nats://127.0.0.1"}},
		"no folder":               embedded(func(e *bus.Embedded) { e.Dir = "" }),
		"no key":                  embedded(func(e *bus.Embedded) { e.StoreKey = "" }),
		"a folder that can't be":  embedded(func(e *bus.Embedded) { e.Dir = "/dev/null/nats" }),
		"no port":                 embedded(func(e *bus.Embedded) { e.Listen = "127.0.0.1" }),
		"a port that can't be":    embedded(func(e *bus.Embedded) { e.Listen = "127.0.0.1:70000" }),
		"a port that is taken":    embedded(func(e *bus.Embedded) { e.Listen = taken.Addr().String() }),
		"everywhere without TLS":  embedded(func(e *bus.Embedded) { e.Listen = "0.0.0.0:0" }),
		"all hosts without TLS":   embedded(func(e *bus.Embedded) { e.Listen = ":0" }),
		"everywhere without user": embedded(func(e *bus.Embedded) { e.Listen, e.TLS, e.Users = "[::]:0", certificate, nil }),
		"a name's host":           embedded(func(e *bus.Embedded) { e.Listen = "localhost.example.com:0" }),
		"no name":                 embedded(func(e *bus.Embedded) { e.Users = []bus.User{{Password: "p", Allow: bus.AllowAll}} }),
		"no password":             embedded(func(e *bus.Embedded) { e.Users = []bus.User{{Name: "ann", Allow: bus.AllowAll}} }),
		"too long a password":     embedded(func(e *bus.Embedded) { e.Users[0].Password = strings.Repeat("p", 73) }),
		"allowed nothing":         embedded(func(e *bus.Embedded) { e.Users = []bus.User{{Name: "ann", Password: "p"}} }),
		"two of one name":         embedded(func(e *bus.Embedded) { e.Users = []bus.User{users[0], users[0]} }),
		"no URL":                  external(bus.External{}),
		"a bad nkey":              external(bus.External{URL: "nats://127.0.0.1", NKeySeed: []byte("SUX")}),
		"two ways to log in":      external(bus.External{URL: "nats://127.0.0.1", User: "u", CredentialsFile: "f"}),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := bus.Open(cfg)
			if err == nil {
				b.Close()
				t.Fatal("opened")
			}
			if strings.Contains(err.Error(), "SUX") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func selfSigned(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bus"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, MinVersion: tls.VersionTLS12,
	}
}

// Off the loopback address there is no guest, and nothing goes unencrypted.
func TestOffLoopbackOnlyUsersOverTLS(t *testing.T) {
	t.Parallel()
	secure := selfSigned(t)
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.Embedded.Listen = "0.0.0.0:0"
		cfg.Embedded.TLS = secure
		cfg.Embedded.Users = []bus.User{{Name: "ann", Password: "password of ann", Allow: bus.AllowEvents}}
	})
	publish(t, b, schemas.StreamEvents, event(schemas.StreamEvents, "e1"))
	_, port, err := net.SplitHostPort(b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	url := "127.0.0.1:" + port
	overTLS := nats.Secure(&tls.Config{RootCAs: secure.RootCAs, MinVersion: tls.VersionTLS12})
	for name, options := range map[string][]nats.Option{
		"guest":                {overTLS},
		"wrong password":       {overTLS, nats.UserInfo("ann", "password of bob")},
		"no password":          {overTLS, nats.UserInfo("ann", "")},
		"our own user":         {overTLS, nats.UserInfo("postern", "")},
		"user who isn't known": {overTLS, nats.UserInfo("guest", "")},
	} {
		if nc, err := nats.Connect(url, options...); err == nil {
			nc.Close()
			t.Errorf("%s got in", name)
		}
	}
	if conn, err := net.Dial("tcp", url); err == nil {
		conn.Write([]byte("CONNECT {\"user\":\"ann\",\"pass\":\"password of ann\",\"verbose\":true}\r\nPING\r\n"))
		conn.SetReadDeadline(time.Now().Add(time.Second))
		var said bytes.Buffer
		said.ReadFrom(conn)
		if strings.Contains(said.String(), "PONG") {
			t.Error("got in without TLS")
		}
		conn.Close()
	}
	nc, err := nats.Connect(url, overTLS, nats.UserInfo("ann", "password of ann"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c, err := newJS(t, nc).OrderedConsumer(t.Context(), "POSTERN_EVENTS", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(jetstream.FetchMaxWait(2 * time.Second)); err != nil {
		t.Error(err)
	}
}

func TestUnknownNamesAreNotTakenForTheGuest(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	for _, password := range []string{"", "postern"} {
		if nc, err := nats.Connect(b.Addr().String(), nats.UserInfo("postern", password)); err == nil {
			nc.Close()
			t.Errorf("got in as somebody unknown with the password %q", password)
		}
	}
}

func TestNobodyListensUnlessAsked(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) { cfg.Embedded.Listen = "" })
	if addr := b.Addr(); addr != nil {
		t.Errorf("listens at %v", addr)
	}
	publish(t, b, raw, event(raw, "e1"))
}

func TestClosedBusSaysSo(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, raw, event(raw, "e1"))
	for range 2 {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Publish(t.Context(), raw, events(raw, 2, 2)); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish: %v", err)
	}
	if err := b.Prepare(t.Context()); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("prepare: %v", err)
	}
	if err := b.Tail(t.Context(), bus.TailOptions{Follow: true}, nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("tail: %v", err)
	}
}

func TestCloseWithoutServer(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	external.Stop()
	done := make(chan error, 1)
	go func() { done <- b.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("close hangs")
	}
}

// What is stored survives a restart of everything, under the same key.
func TestStoreIsOpenedAgain(t *testing.T) {
	t.Parallel()
	cfg := bus.Config{Embedded: &bus.Embedded{Dir: t.TempDir(), StoreKey: "key"}, MaxStore: 1 << 30}
	for i := range 3 {
		b, err := bus.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		bustest.Prepare(t, b)
		if drift := b.Drift(); len(drift) != 0 {
			t.Errorf("drift: %v", drift)
		}
		publish(t, b, raw, events(raw, 1, 20*(i+1))...) // the first ones are found again
		if got := stored(t, b, raw); len(got) != 20*(i+1) {
			t.Errorf("%d messages are stored, want %d", len(got), 20*(i+1))
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// recorder keeps what is logged.
type recorder struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.Write(p)
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lines.String()
}

// Clients choose subjects and names: those don't get into the log unless
// somebody debugs.
func TestClientsDoNotWriteOurLog(t *testing.T) {
	t.Parallel()
	var log recorder
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	})
	refused := make(chan error, 10)
	nc := bustest.Connect(t, b, nats.Name("canary-name"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	for _, subject := range []string{"canary.subject", "postern.raw.canary", "$JS.API.STREAM.DELETE.canary"} {
		if err := nc.Publish(subject, []byte("canary payload")); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := <-refused; !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v", subject, err)
		}
	}
	for _, api := range []string{"STREAM.INFO.POSTERN_EVENTS", "STREAM.MSG.GET.POSTERN_EVENTS", "CONSUMER.CREATE.POSTERN_EVENTS.canary", "CONSUMER.INFO.POSTERN_EVENTS.canary"} {
		for _, payload := range []string{`{"canary":1}`, `canary`, `{"seq":"canary"}`} {
			if _, err := nc.Request("$JS.API."+api, []byte(payload), 3*time.Second); err != nil {
				t.Errorf("%s: %v", api, err)
			}
		}
	}
	if nc, err := nats.Connect(b.Addr().String(), nats.UserInfo("canary-user", "canary-password")); err == nil {
		nc.Close()
		t.Error("got in")
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("the log has:\n%s", log.String())
	}
}
