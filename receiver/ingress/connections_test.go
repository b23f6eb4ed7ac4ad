package ingress_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed75441868/postern/receiver/ingress"
)

// gone reports whether the server closed c.
func gone(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	var ne net.Error
	return err != nil && (!errors.As(err, &ne) || !ne.Timeout())
}

// half opens a connection that says a little and then nothing.
func (g *gate) half(t *testing.T, addr string) net.Conn {
	t.Helper()
	c := g.dial(t, addr)
	// The server may have closed it already.
	_, _ = io.WriteString(c, "POST /hooks/one HTTP/1.1\r\nHost:")
	return c
}

func TestSlowHeadersDoNotStarveGoodCallers(t *testing.T) {
	for _, addr := range []string{stranger, friend} {
		t.Run(addr, func(t *testing.T) {
			g := open(t, func(c *ingress.Config) { c.MaxConnections = 20 })
			const slow = 300
			for i := range slow {
				g.half(t, addr)
				if i%10 != 0 {
					continue
				}
				if h := g.push(t, friend, "/hooks/one", fmt.Sprintf("ok a%d", i)); h.status != http.StatusOK {
					t.Fatalf("after %d slow connections a push heard %d", i+1, h.status)
				}
			}
		})
	}
}

func TestFloodOfStrangersCostsNoFriendAPush(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxConnections = 20 })
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for range 300 {
			c, err := dialer(stranger).DialContext(t.Context(), "tcp", g.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, "POST /hooks/one HTTP/1.1\r\nHost:") // it may be closed already
		}
	}()
	for i := 0; ; i++ {
		if h := g.push(t, friend, "/hooks/one", fmt.Sprintf("ok a%d", i)); h.status != http.StatusOK {
			t.Errorf("push %d heard %d", i, h.status)
		}
		select {
		case <-flooded:
			return
		default:
		}
	}
}

func TestFriendHasTimeToSayWhatItWants(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxConnections = 1 })
	start := time.Now()
	young := g.half(t, friend)
	if h := g.push(t, friend, "/hooks/one", "ok a1"); h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
	if waited := time.Since(start); waited < 90*time.Millisecond {
		t.Errorf("a connection was closed %v after it was opened", waited)
	}
	eventually(t, "the young one is closed", func() bool { return gone(young) })
}

func TestWhoWaitedLongestGoesFirst(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxConnections = 3 })
	// The first connection is the oldest, but it has just been answered.
	answered := g.dial(t, friend)
	second := g.half(t, friend)
	third := g.half(t, friend)
	_, _ = io.WriteString(answered, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	if h, _ := hear(t, answered); h.status != http.StatusOK {
		t.Fatalf("heard %d", h.status)
	}
	if h := g.push(t, friend, "/hooks/one", "ok a1"); h.status != http.StatusOK {
		t.Fatalf("heard %d", h.status)
	}
	eventually(t, "the second is closed", func() bool { return gone(second) })
	if gone(third) || gone(answered) {
		t.Error("a younger one was closed as well")
	}
}

func TestPushInFlightIsNeverClosedForANewConnection(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxConnections = 1 })
	g.journal.entered = make(chan struct{}, 2)
	g.journal.held = make(chan struct{})
	first := make(chan heard, 1)
	go func() { first <- g.push(t, friend, "/hooks/one", "ok a1") }()
	<-g.journal.entered
	second := make(chan heard, 1)
	go func() { second <- g.push(t, friend, "/hooks/one", "ok a2") }()
	// Longer than anybody who says nothing may keep a place.
	select {
	case h := <-first:
		t.Errorf("the first heard %d though it was not kept yet", h.status)
	case <-time.After(300 * time.Millisecond):
	}
	close(g.journal.held)
	if h := <-first; h.status != http.StatusOK {
		t.Errorf("the first heard %d", h.status)
	}
	if h := <-second; h.status != http.StatusOK {
		t.Errorf("the second heard %d", h.status)
	}
}

func TestStrangersShareASmallPool(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxStrangers = 2 })
	quiet := g.half(t, friend)
	var conns []net.Conn
	for range 3 {
		conns = append(conns, g.half(t, stranger))
	}
	eventually(t, "the oldest stranger is closed", func() bool { return gone(conns[0]) })
	if gone(conns[1]) || gone(conns[2]) || gone(quiet) {
		t.Error("another one was closed")
	}
}

func TestFriendTakesTheStrangersPlace(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxConnections = 2 })
	older := g.half(t, friend)
	younger := g.half(t, stranger)
	if h := g.push(t, friend, "/hooks/one", "ok a1"); h.status != http.StatusOK {
		t.Fatalf("heard %d", h.status)
	}
	eventually(t, "the stranger is closed", func() bool { return gone(younger) })
	if gone(older) {
		t.Error("the friend was closed")
	}
}

func TestStrangersNeverCostAFriendItsPlace(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxConnections = 2 })
	friends := []net.Conn{g.half(t, friend), g.half(t, friend)}
	for _, c := range []net.Conn{g.half(t, stranger), g.half(t, stranger)} {
		eventually(t, "the stranger is closed", func() bool { return gone(c) })
	}
	for _, c := range friends {
		if gone(c) {
			t.Error("a friend was closed")
		}
	}
}

func TestServerWithEveryPlaceTakenShutsDown(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxConnections = 1 })
	g.journal.entered = make(chan struct{}, 1)
	g.journal.held = make(chan struct{})
	first := make(chan heard, 1)
	go func() { first <- g.push(t, friend, "/hooks/one", "ok a1") }()
	<-g.journal.entered
	waiting := g.dial(t, friend)
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(t.Context()) }()
	eventually(t, "who waits is sent away", func() bool { return gone(waiting) })
	close(g.journal.held)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if h := <-first; h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
}

// pipes is a listener whose callers come from where the test says.
type pipes struct {
	callers chan net.Conn
	once    sync.Once
}

type caller struct {
	net.Conn
	addr net.Addr
}

func (c caller) RemoteAddr() net.Addr { return c.addr }

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.callers
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.callers) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestAddressesThatLookAllowedAreNot(t *testing.T) {
	l := &pipes{callers: make(chan net.Conn)}
	openOn(t, l, func(c *ingress.Config) {
		for _, prefix := range []string{"203.0.113.0/24", "fe80::/10", "2001:db8::1/128"} {
			c.Sources[0].Push.Allow = append(c.Sources[0].Push.Allow, netip.MustParsePrefix(prefix))
		}
	})
	for addr, want := range map[string]int{
		"203.0.113.7":        http.StatusOK,
		"::ffff:203.0.113.7": http.StatusOK,
		"2001:db8::1":        http.StatusOK,
		"fe80::1":            http.StatusOK,
		"fe80::1%eth0":       http.StatusForbidden, // a zone means something on one machine only
		"203.0.114.7":        http.StatusForbidden,
		"::203.0.113.7":      http.StatusForbidden, // IPv4-compatible
		"64:ff9b::cb00:7107": http.StatusForbidden, // NAT64
		"2002:cb00:7107::1":  http.StatusForbidden, // 6to4
		"2001:db8::2":        http.StatusForbidden,
	} {
		ip, zone, _ := strings.Cut(addr, "%")
		ours, theirs := net.Pipe()
		l.callers <- caller{theirs, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1, Zone: zone}}
		go func() {
			// The gate may answer before all is written.
			_, _ = fmt.Fprintf(ours, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nok a1")
		}()
		if h, _ := hear(t, ours); h.status != want {
			t.Errorf("%s heard %d, want %d", addr, h.status, want)
		}
		_ = ours.Close()
	}
	// Where a caller comes from may also be unknown.
	ours, theirs := net.Pipe()
	l.callers <- theirs
	go func() { _, _ = io.WriteString(ours, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") }()
	if h, _ := hear(t, ours); h.status != http.StatusForbidden {
		t.Errorf("nobody heard %d", h.status)
	}
}
