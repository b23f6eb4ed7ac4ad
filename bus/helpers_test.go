package bus_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/schemas"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		publishUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

// event returns a plausible message for a stream.
func event(stream schemas.Stream, id string) schemas.Message {
	return schemas.Message{
		Stream:  stream,
		Subject: stream.Prefix() + ".acme.process.succeeded." + id,
		ID:      id,
		Header:  map[string][]string{schemas.HeaderMsgID: {id}, schemas.HeaderFacets: {"status=" + id}},
		Body:    []byte(`{"id":"` + id + `"}`),
	}
}

// events returns the messages e<from> to e<to>.
func events(stream schemas.Stream, from, to int) []schemas.Message {
	var msgs []schemas.Message
	for _, id := range ids(from, to) {
		msgs = append(msgs, event(stream, id))
	}
	return msgs
}

func ids(from, to int) []string {
	var all []string
	for i := from; i <= to; i++ {
		all = append(all, fmt.Sprintf("e%d", i))
	}
	return all
}

func publish(t testing.TB, b *bus.Bus, stream schemas.Stream, msgs ...schemas.Message) []uint64 {
	t.Helper()
	seqs, err := b.Publish(t.Context(), stream, msgs)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	if len(seqs) != len(msgs) {
		t.Fatalf("publish returned %d sequences for %d messages", len(seqs), len(msgs))
	}
	return seqs
}

// stored returns the ids of what a stream holds.
func stored(t testing.TB, b *bus.Bus, stream schemas.Stream) []string {
	t.Helper()
	var all []string
	err := b.Tail(t.Context(), bus.TailOptions{Stream: stream}, func(m bus.TailMessage) error {
		all = append(all, m.Header[schemas.HeaderMsgID][0])
		return nil
	})
	if err != nil {
		t.Fatalf("tail: %v", err)
	}
	return all
}

func newJS(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// eventually polls until ok, and fails after a while.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// proxy stands between a bus and its server.
type proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	// What both sides say passes through these, if they are set. Its length must
	// stay.
	toServer, toClient func([]byte) []byte

	mu    sync.Mutex
	mute  bool // let nothing of what the server says through
	conns []net.Conn
}

func newProxy(t *testing.T, url string, change ...func(*proxy)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: strings.TrimPrefix(url, "nats://")}
	for _, f := range change {
		f(p)
	}
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", p.target)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			p.wg.Go(func() { io.Copy(changed{server, p.toServer}, client); server.Close() })
			p.wg.Go(func() { io.Copy(muted{changed{client, p.toClient}, p}, server); client.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) setMute(mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = mute
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// changed writes what change makes of what comes at once. What is searched for
// must not be cut: it comes first, or in few bytes.
type changed struct {
	net.Conn
	change func([]byte) []byte
}

func (c changed) Write(b []byte) (int, error) {
	if c.change != nil {
		b = c.change(b)
	}
	return c.Conn.Write(b)
}

type muted struct {
	net.Conn
	p *proxy
}

func (m muted) Write(b []byte) (int, error) {
	m.p.mu.Lock()
	mute := m.p.mute
	m.p.mu.Unlock()
	if mute {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

var errEnough = errors.New("enough")

// readAll reads the first n events with an ordered consumer.
func readAll(t testing.TB, js jetstream.JetStream, n int) {
	t.Helper()
	c, err := js.OrderedConsumer(t.Context(), "POSTERN_EVENTS", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := c.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer messages.Stop()
	for i := range n {
		if _, err := messages.Next(); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}
