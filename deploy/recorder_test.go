package deploy_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// recorder stands behind a proxy in a receiver's place and remembers what
// arrives, to the byte.
type recorder struct {
	address string // of its ingress
	ops     string // of its ops listener
	ready   atomic.Bool
	stop    func() // ends its ingress

	mu     sync.Mutex
	seen   []arrival
	answer http.HandlerFunc
}

// arrival is a request as it arrived.
type arrival struct {
	peer   netip.Addr // of the connection, or what the PROXY protocol says
	target string
	header http.Header
	body   []byte
}

// newRecorder returns a recorder that answers 200. With proxied it asks every
// connection for a PROXY header.
func newRecorder(t *testing.T, secrets string, proxied bool) *recorder {
	t.Helper()
	r := &recorder{answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }}
	r.ready.Store(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if proxied {
		l = proxyListener{l}
	}
	srv := &http.Server{Handler: r}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(l) }() // it only ends by Close
	r.stop = func() { srv.Close(); <-served }
	t.Cleanup(r.stop)
	r.address = l.Addr().String()

	ops := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch {
		case q.URL.Path != "/readyz":
			w.WriteHeader(http.StatusNotFound)
		case !r.ready.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	ops.TLS = serverTLS(t, filepath.Join(secrets, "ops.pem"), filepath.Join(secrets, "ops.key"))
	ops.StartTLS()
	t.Cleanup(ops.Close)
	r.ops = ops.Listener.Addr().String()
	return r
}

// ServeHTTP implements http.Handler.
func (r *recorder) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return
	}
	peer, _ := netip.ParseAddrPort(q.RemoteAddr)
	header := q.Header.Clone()
	header.Set("Host", q.Host)
	r.mu.Lock()
	r.seen = append(r.seen, arrival{peer.Addr(), q.RequestURI, header, body})
	answer := r.answer
	r.mu.Unlock()
	answer(w, q)
}

// answers makes it answer otherwise from now on.
func (r *recorder) answers(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

// arrived returns how many pushes arrived since take.
func (r *recorder) arrived() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// take returns what arrived since it was last asked.
func (r *recorder) take() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// proxyListener reads the PROXY protocol, version 2, written from its
// description so that the test doesn't share a slip with the receiver.
// https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
type proxyListener struct{ net.Listener }

type proxyConn struct {
	net.Conn
	r    *bufio.Reader
	peer net.Addr
}

func (c proxyConn) Read(p []byte) (int, error) { return c.r.Read(p) }
func (c proxyConn) RemoteAddr() net.Addr       { return c.peer }

func (l proxyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		r := bufio.NewReader(c)
		peer, err := readProxyHeader(r)
		if err != nil {
			c.Close()
			continue
		}
		return proxyConn{c, r, peer}, nil
	}
}

func readProxyHeader(r io.Reader) (net.Addr, error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if string(head[:12]) != "\r\n\r\n\x00\r\nQUIT\n" || head[12] != 0x21 || head[13] != 0x11 {
		return nil, errors.New("no PROXY header of version 2 for TCP over IPv4")
	}
	rest := make([]byte, binary.BigEndian.Uint16(head[14:]))
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, err
	}
	if len(rest) < 12 {
		return nil, errors.New("the PROXY header is too short")
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(
		netip.AddrFrom4([4]byte(rest[:4])), binary.BigEndian.Uint16(rest[8:]))), nil
}
