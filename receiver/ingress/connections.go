package ingress

import (
	"bufio"
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// listener hands out connections within limits, so that callers who open many
// and say nothing can't keep out those who have something to say.
type listener struct {
	net.Listener
	callers callers
	roster  *atomic.Pointer[roster]
	limits  *limits
	// refused hears of connections that end before there is a request.
	refused func(remote netip.Addr, check string)
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		admitted := &conn{Conn: c, peer: address(c.RemoteAddr()), listener: l}
		if l.meet(admitted) && l.limits.admit(admitted) {
			return admitted, nil
		}
		_ = c.Close()
	}
}

// meet says what is known of a new connection, and reports whether it may
// speak at all.
func (l *listener) meet(c *conn) bool {
	switch l.callers.mode {
	case ProxyProtocol:
		if !l.callers.trusts(c.peer) {
			l.turnAway(c, "untrusted_proxy")
			return false
		}
		c.class = untold
		c.announced = &announcement{r: bufio.NewReaderSize(c.Conn, announcementBuffer)}
	case Forwarded:
		// Whose requests come over a proxy's connection shows in each of them.
		if c.class = l.class(c.peer); l.callers.trusts(c.peer) {
			c.class = friend
		}
	default:
		c.class = l.class(c.peer)
	}
	return true
}

// class returns what a connection of a caller counts as.
func (l *listener) class(caller netip.Addr) class {
	if l.roster.Load().knows(caller) {
		return friend
	}
	return stranger
}

// turnAway counts a connection that may not speak.
func (l *listener) turnAway(c *conn, check string) { l.refused(c.peer, check) }

// Close implements net.Listener.
func (l *listener) Close() error {
	l.limits.close()
	return l.Listener.Close()
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// address returns the caller's address, an IPv4 address as IPv4 even if the
// socket speaks IPv6. It is the zero Addr, which is on no list, if a is no
// address. One with a zone, which means something on this machine only, is on
// no list either: netip.Prefix contains none.
func address(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// conn is a connection that counts.
type conn struct {
	net.Conn
	listener *listener
	peer     netip.Addr // the other end of the socket

	// These belong to the goroutine that serves the connection.
	announced *announcement // not nil until all that came with it is read
	told      netip.Addr    // of whom the PROXY header speaks
	request   request       // the one that is being answered
	asked     bool          // for a TLS certificate

	// The rest belongs to limits and its mutex.
	class   class
	place   *list.Element // nil when it doesn't count any more
	waiting bool          // no complete header has come since
	since   time.Time     // it was opened, announced or last answered
}

// request is what is decided of a request before anything else: who makes it,
// and by which sources it is answered even if they are replaced meanwhile.
type request struct {
	caller netip.Addr
	roster *roster
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.limits.forget(c)
	return c.Conn.Close()
}

// CloseWrite lets net/http say goodbye before it closes, so that a caller who
// still sends reads the answer instead of a reset.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// unwrap returns our connection, below TLS or not.
func unwrap(c net.Conn) *conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn()
	}
	own, _ := c.(*conn)
	return own
}

type connKey struct{}

// withConn is the server's ConnContext hook: a request finds its connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	own := unwrap(c)
	if own == nil {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, own)
}

// connOf returns the connection of a request, nil if it is none of ours.
func connOf(r *http.Request) *conn {
	own, _ := r.Context().Value(connKey{}).(*conn)
	return own
}

// remote returns the address that a log names: the caller's, or whoever's it
// is at the other end of the socket if the caller's isn't known.
func remote(r *http.Request) string {
	own := connOf(r)
	switch {
	case own == nil:
		return ""
	case own.request.caller.IsValid():
		return own.request.caller.String()
	default:
		return own.peer.String()
	}
}
