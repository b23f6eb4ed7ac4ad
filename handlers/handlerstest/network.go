package handlerstest

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// Serve serves h on a network of its own, within the process, and returns who
// reaches it under any name, by https too, and waits 20 s for an answer. It
// works in a bubble of [testing/synctest], where waiting costs nothing, and ends
// with the test.
func Serve(t testing.TB, h http.Handler) *http.Client {
	t.Helper()
	n := &network{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Hour}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(n)
	}()
	transport := &http.Transport{DialContext: n.dial, DialTLSContext: n.dial} // nobody listens in here
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	})
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// network is a net.Listener whose connections are pipes.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	close(n.closed)
	return nil
}

func (*network) Addr() net.Addr { return &net.IPAddr{} }

func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case n.conns <- there:
		return here, nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
