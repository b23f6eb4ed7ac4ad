package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// asPostern makes this test binary be postern: tests that kill it need a
// process of its own.
const asPostern = "TEST_AS_POSTERN"

func TestMain(m *testing.M) {
	bustest.RunNode()
	if os.Getenv(asPostern) != "" {
		if os.Getenv(asDoomed) != "" {
			doomed()
		}
		main()
	}
	os.Exit(m.Run())
}

const (
	patience = 30 * time.Second
	caller   = "127.0.0.7" // the only address that may push
)

// receiver is a postern in a process of its own.
type receiver struct {
	t    testing.TB
	dir  string
	file string

	cmd     *exec.Cmd
	stderr  *lines
	push    string // URL
	ops     string // URL
	broker  string // URL of the embedded NATS
	ended   chan error
	running bool
}

// newReceiver writes a configuration. More is YAML that is merged into it.
func newReceiver(t testing.TB, more string) *receiver {
	t.Helper()
	r := &receiver{t: t, dir: t.TempDir()}
	r.file = filepath.Join(r.dir, "postern.yaml")
	r.write("sns.pem", string(testSigner(t).Certificate()))
	r.write("postern.yaml", `
data_dir: data
ingress: {listen: "127.0.0.1:0"}
ops: {listen: "127.0.0.1:0"}
nats: {embedded: {listen: "127.0.0.1:0", max_store: 1GiB}}
journal: {max_bytes: 256MiB, reserve: 1MiB}
log: {format: json}
sources:
  corastone:
    platform: corastone
    push:
      allow: [`+caller+`]
      topics: ["`+corastonetest.Topic+`"]
      signature: pinned
      certificates: [sns.pem]
`)
	if more != "" {
		r.write("more.yaml", more)
	}
	t.Cleanup(func() { r.kill() })
	return r
}

func (r *receiver) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// command returns a postern with arguments and the configuration.
func (r *receiver) command(args ...string) *exec.Cmd {
	args = append(args, "-c", r.file)
	if _, err := os.Stat(filepath.Join(r.dir, "more.yaml")); err == nil {
		args = append(args, "-c", filepath.Join(r.dir, "more.yaml"))
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asPostern+"=1")
	return cmd
}

// start starts it and waits until it can accept.
func (r *receiver) start() {
	r.t.Helper()
	r.stderr = &lines{}
	r.cmd = r.command("serve")
	r.cmd.Stderr = r.stderr
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.running = true
	r.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(r.cmd, r.ended)
	r.push = "http://" + r.logged("ingress listens") + "/hooks/corastone"
	r.ops = "http://" + r.logged("ops listens")
}

// startBroker waits until the embedded NATS listens too.
func (r *receiver) startBroker() {
	r.t.Helper()
	r.start()
	r.broker = "nats://" + r.logged("nats listens")
}

// logged waits for a line of the log and returns its address.
func (r *receiver) logged(msg string) string {
	r.t.Helper()
	var line struct {
		Msg     string `json:"msg"`
		Address string `json:"address"`
	}
	eventually(r.t, "postern logs "+msg, func() bool {
		select {
		case err := <-r.ended:
			r.ended <- err
			r.t.Fatalf("postern ended: %v\n%s", err, r.stderr)
		default:
		}
		for l := range strings.Lines(r.stderr.String()) {
			if json.Unmarshal([]byte(l), &line) == nil && line.Msg == msg {
				return true
			}
		}
		return false
	})
	return line.Address
}

// kill ends it as kill -9 does.
func (r *receiver) kill() {
	if r.running {
		_ = r.cmd.Process.Kill()
		<-r.ended
		r.running = false
	}
}

// terminate ends it in order and returns its exit code.
func (r *receiver) terminate() int {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("postern did not end in time\n%s", r.stderr)
	}
	r.running = false
	return r.cmd.ProcessState.ExitCode()
}

// pusher returns a caller from an address.
func (r *receiver) pusher(from string) *corastonetest.Pusher {
	p := corastonetest.NewPusher(r.push, netip.MustParseAddr(from))
	p.Retries = 0
	r.t.Cleanup(p.Close)
	return p
}

// pushed pushes once from the allowed address and returns status and id.
func (r *receiver) pushed(p corastonetest.Push) (int, string) {
	r.t.Helper()
	a, err := r.pusher(caller).Push(r.t.Context(), p)
	if a.Status == 0 {
		r.t.Fatal("push:", err)
	}
	var body struct {
		ID string `json:"id"`
	}
	if a.Status == http.StatusOK {
		if err := json.Unmarshal(a.Body, &body); err != nil {
			r.t.Fatalf("the answer is no JSON: %s", a.Body)
		}
	}
	return a.Status, body.ID
}

// connect connects a stranger to the embedded NATS, or to another server.
func connect(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// subscribe returns a consumer of all events.
func subscribe(t testing.TB, js jetstream.JetStream) jetstream.Consumer {
	t.Helper()
	var c jetstream.Consumer
	eventually(t, "the stream is there", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var err error
		c, err = js.CreateConsumer(ctx, "POSTERN_EVENTS", jetstream.ConsumerConfig{
			AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Hour,
		})
		return err == nil
	})
	return c
}

// next returns the next message.
func next(t testing.TB, c jetstream.Consumer) jetstream.Msg {
	t.Helper()
	m, err := c.Next(jetstream.FetchMaxWait(patience))
	if err != nil {
		t.Fatal("no event came:", err)
	}
	return m
}

// metric returns the value of a line of /metrics, "" if there is none.
func (r *receiver) metric(name string) string {
	r.t.Helper()
	res, err := http.Get(r.ops + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		r.t.Fatal(err)
	}
	for l := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(l, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// relayed waits until so many deliveries had an outcome.
func (r *receiver) relayed(outcome string, n int) {
	r.t.Helper()
	name := fmt.Sprintf("postern_deliveries_relayed_total{outcome=%q,source=\"corastone\"}", outcome)
	eventually(r.t, fmt.Sprintf("%d deliveries are %s", n, outcome), func() bool { return r.metric(name) == fmt.Sprint(n) })
}

func testSigner(t testing.TB) *corastonetest.Signer {
	t.Helper()
	s, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signed signs an envelope.
func signed(t testing.TB, e corastonetest.Envelope) corastonetest.Push {
	t.Helper()
	e, err := testSigner(t).Sign(e)
	if err != nil {
		t.Fatal(err)
	}
	return e.Push()
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	eventuallyIn(t, patience, what, ok)
}

// eventuallyIn polls until ok, for so long.
func eventuallyIn(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(d)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("did not happen in time:", what)
		case <-tick.C:
		}
	}
}

// lines is what a process wrote. It is safe for concurrent use.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all of it.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// nodeOf returns a stand-in of the platform that makes up the ids of a seed.
func nodeOf(t testing.TB, seed uint64) *corastonetest.Node {
	t.Helper()
	return corastonetest.NewNode(testSigner(t), corastonetest.Topic, seed)
}
