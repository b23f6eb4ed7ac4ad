package ingress

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// listener hands out connections within limits, so that callers who open many
// and say nothing can't keep out those who have something to say.
type listener struct {
	net.Listener
	known  []netip.Prefix // the lists of all sources
	limits *limits
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		admitted := &conn{Conn: c, peer: address(c.RemoteAddr()), limits: l.limits}
		admitted.stranger = !l.knows(admitted.peer)
		if l.limits.admit(admitted) {
			return admitted, nil
		}
		_ = c.Close()
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.limits.close()
	return l.Listener.Close()
}

// knows reports whether some source allows addr.
func (l *listener) knows(addr netip.Addr) bool { return contains(l.known, addr) }

func contains(allowed []netip.Prefix, addr netip.Addr) bool {
	for _, p := range allowed {
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
	peer     netip.Addr
	stranger bool // on no source's list
	limits   *limits

	// The rest belongs to limits and its mutex.
	place   *list.Element // nil when it doesn't count any more
	waiting bool          // no complete header has come since
	since   time.Time     // it was opened or last answered
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.limits.forget(c)
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

// limits counts connections. Among those of one kind, the list's order is that
// of their last change of state: what is at its front and waiting has waited
// longest.
type limits struct {
	max, maxStrangers int

	mu        sync.Mutex
	changed   sync.Cond // signalled when a connection went or waits
	closed    bool
	friends   list.List
	strangers list.List
}

func newLimits(most, mostStrangers int) *limits {
	l := &limits{max: most, maxStrangers: mostStrangers}
	l.changed.L = &l.mu
	return l
}

// grace is how long a friend's connection may stay for certain before its
// header is complete. Without it a flood from an allowed address would close
// each connection before its first byte is read.
const grace = 100 * time.Millisecond

// admit makes room for c and counts it, or reports that it must go. Room is
// made by closing the connection that has waited longest without a complete
// header, strangers first. A stranger never costs a friend its place; a friend
// is let in for certain, if need be when somebody's grace is over or a request
// is answered.
func (l *limits) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.since = time.Now()
	if c.stranger {
		if (l.strangers.Len() >= l.maxStrangers || l.full()) && !l.evict(&l.strangers, c.since) {
			return false
		}
		c.place = l.strangers.PushBack(c)
	} else {
		for l.full() && !l.closed && !l.evict(&l.strangers, time.Now()) && !l.evict(&l.friends, time.Now().Add(-grace)) {
			l.wait()
		}
		if l.closed {
			return false
		}
		c.place = l.friends.PushBack(c)
	}
	c.waiting = true
	return true
}

func (l *limits) full() bool { return l.friends.Len()+l.strangers.Len() >= l.max }

// evict closes the connection of kind that has waited longest, if one has
// waited since before.
func (l *limits) evict(kind *list.List, before time.Time) bool {
	c := longest(kind)
	if c == nil || c.since.After(before) {
		return false
	}
	kind.Remove(c.place)
	c.place = nil
	_ = c.Conn.Close()
	return true
}

// longest returns the connection that has waited longest, or nil if none
// waits.
func longest(kind *list.List) *conn {
	for e := kind.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); c.waiting {
			return c
		}
	}
	return nil
}

// wait returns when a connection changed, or a friend's grace is over.
func (l *limits) wait() {
	if c := longest(&l.friends); c != nil {
		over := time.AfterFunc(time.Until(c.since.Add(grace)), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.changed.Broadcast()
		})
		defer over.Stop()
	}
	l.changed.Wait()
}

// moved is the server's ConnState hook. With HTTP/1 net/http calls a
// connection active when it has read a complete header.
func (l *limits) moved(nc net.Conn, state http.ConnState) {
	c := unwrap(nc)
	if c == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place == nil {
		return
	}
	waiting := state == http.StateNew || state == http.StateIdle
	if waiting == c.waiting {
		return
	}
	c.waiting, c.since = waiting, time.Now()
	l.kind(c).MoveToBack(c.place)
	if waiting {
		l.changed.Signal()
	}
}

func (l *limits) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place != nil {
		l.kind(c).Remove(c.place)
		c.place = nil
		l.changed.Signal()
	}
}

func (l *limits) kind(c *conn) *list.List {
	if c.stranger {
		return &l.strangers
	}
	return &l.friends
}

func (l *limits) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Broadcast()
}

type peerKey struct{}

// withPeer is the server's ConnContext hook: a request finds the caller's
// address without reading it from a text again.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	own := unwrap(c)
	if own == nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, own.peer)
}

// peer returns the address at the other end of the connection. What headers
// say about it is anybody's word.
func peer(r *http.Request) netip.Addr {
	addr, _ := r.Context().Value(peerKey{}).(netip.Addr)
	return addr
}
