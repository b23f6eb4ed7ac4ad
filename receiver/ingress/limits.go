package ingress

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"time"
)

// class is what is known of who is behind a connection.
type class int

const (
	stranger class = iota // on no source's list
	untold                // a proxy has yet to say who it is
	friend                // on a source's list, or a proxy that speaks for many
	classes               // how many there are
)

// limits counts connections. Among those of one class, the list's order is that
// of their last change of state: what is at its front and waiting has waited
// longest.
type limits struct {
	max, maxStrangers int

	mu      sync.Mutex
	changed sync.Cond // signalled when a connection went, waits or lost its class
	closed  bool
	count   int
	of      [classes]list.List
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
// header, strangers first, then those that may be friends. A stranger never
// costs a friend its place; who may be a friend is let in for certain, if need
// be when somebody's grace is over or a request is answered.
func (l *limits) admit(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.since = time.Now()
	if c.class == stranger {
		if !l.roomForStranger(c.since) {
			return false
		}
	} else {
		for l.full() && !l.closed && !l.evict(stranger, time.Now()) &&
			!l.evict(untold, time.Now().Add(-grace)) && !l.evict(friend, time.Now().Add(-grace)) {
			l.wait()
		}
		if l.closed {
			return false
		}
	}
	c.waiting = true
	l.count++
	c.place = l.of[c.class].PushBack(c)
	return true
}

func (l *limits) full() bool { return l.count >= l.max }

// roomForStranger reports whether a stranger may have a place, if need be that
// of another one.
func (l *limits) roomForStranger(now time.Time) bool {
	return l.of[stranger].Len() < l.maxStrangers && !l.full() || l.evict(stranger, now)
}

// told moves c, of which was not known whose it is, to its class. It reports
// whether c keeps a place.
func (l *limits) told(c *conn, to class) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place == nil {
		return false
	}
	l.remove(c)
	c.since = time.Now()
	if to == stranger && !l.roomForStranger(c.since) {
		return false
	}
	c.class = to
	l.count++
	c.place = l.of[to].PushBack(c)
	l.changed.Signal()
	return true
}

// evict closes the connection of a class that has waited longest, if one has
// waited since before.
func (l *limits) evict(of class, before time.Time) bool {
	c := l.longest(of)
	if c == nil || c.since.After(before) {
		return false
	}
	l.remove(c)
	_ = c.Conn.Close()
	return true
}

// remove takes the place of a connection that has one.
func (l *limits) remove(c *conn) {
	l.of[c.class].Remove(c.place)
	c.place = nil
	l.count--
	l.changed.Signal()
}

// longest returns the connection that has waited longest, or nil if none
// waits.
func (l *limits) longest(of class) *conn {
	for e := l.of[of].Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); c.waiting {
			return c
		}
	}
	return nil
}

// wait returns when a connection changed, or somebody's grace is over.
func (l *limits) wait() {
	for _, of := range []class{untold, friend} {
		if c := l.longest(of); c != nil {
			over := time.AfterFunc(time.Until(c.since.Add(grace)), func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.changed.Broadcast()
			})
			defer over.Stop()
		}
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
	l.of[c.class].MoveToBack(c.place)
	if waiting {
		l.changed.Signal()
	}
}

// forget gives the place of a connection free, if it has one.
func (l *limits) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.place != nil {
		l.remove(c)
	}
}

func (l *limits) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.changed.Broadcast()
}
