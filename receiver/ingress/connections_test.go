package ingress_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
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
			stop := make(chan struct{})
			pushed := make(chan error, 1)
			go func() { pushed <- pushUntil(g, from(t, neighbor), stop) }()
			for range 300 {
				g.half(t, addr)
			}
			close(stop)
			if err := <-pushed; err != nil {
				t.Error(err)
			}
			if len(g.journal.kept()) == 0 {
				t.Error("nothing was pushed meanwhile")
			}
		})
	}
}

// pushUntil pushes, each time over a new connection, and fails at the first
// answer that is not 200.
func pushUntil(g *gate, client *http.Client, stop <-chan struct{}) error {
	for i := 0; ; i++ {
		body := fmt.Sprintf("ok b%d", i)
		resp, err := client.Post("http://"+g.addr+"/hooks/two", "text/plain", strings.NewReader(body)) //nolint:noctx // the client has a timeout
		if err != nil {
			return fmt.Errorf("push %d: %w", i, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("push %d: status %d", i, resp.StatusCode)
		}
		select {
		case <-stop:
			return nil
		default:
		}
	}
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
	g.dial(t, friend) // waits at the gate
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(t.Context()) }()
	eventually(t, "draining", g.Draining)
	close(g.journal.held)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if h := <-first; h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
}
