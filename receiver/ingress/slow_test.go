package ingress_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ingress"
)

// long reports whether tests may take long, as they may in CI.
func long() bool { return os.Getenv("LONG_TESTS") != "" }

const (
	pace        = 2 * time.Millisecond // between good pushes: 500 a second
	slowPace    = 500 * time.Microsecond
	siegeBodies = 64  // each source takes each once
	atOnce      = 200 // good pushes; the server takes 256
)

// siege is a server with slow connections, to which good callers push.
type siege struct {
	addr   string
	bodies [][]byte
	next   int // of the pushes that are possible
	slow   []net.Conn
}

// besiege starts a server that takes at most so many connections.
func besiege(tb testing.TB, maxConnections int) *siege {
	tb.Helper()
	signer, err := corastonetest.Shared()
	if err != nil {
		tb.Fatal(err)
	}
	return &siege{
		addr:   oursToBench(tb, signer, func(c *ingress.Config) { c.MaxConnections = maxConnections }),
		bodies: signedBodies(tb, signer, siegeBodies),
	}
}

// open opens n slow connections, 2,000 a second: of strangers and of friends,
// that say nothing or the beginning of a header, and a few that began a body.
// Unless it is stopped before.
func (s *siege) open(tb testing.TB, n int, stop <-chan struct{}) {
	tb.Helper()
	const header = "POST /hooks/s0 HTTP/1.1\r\nHost: x\r\n"
	tick := time.NewTicker(slowPace)
	defer tick.Stop()
	for i := range n {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		from, text := friend, header[:i%len(header)]
		switch {
		case i%2 == 0:
			from = stranger
		case i%25 == 1 && long(): // they have 10 s
			text = header + "Content-Length: 2000\r\n\r\n{"
		}
		c, err := dialer(from).DialContext(tb.Context(), "tcp", s.addr)
		if err != nil {
			tb.Error(err)
			return
		}
		tb.Cleanup(func() { _ = c.Close() })
		_, _ = io.WriteString(c, text) // it may be closed already
		s.slow = append(s.slow, c)
	}
}

// push pushes n times, each time over a new connection and another push than
// before, and returns how long that took from the first packet to the answer.
func (s *siege) push(tb testing.TB, n int) []time.Duration {
	tb.Helper()
	first := s.next
	s.next += n
	took := make([]time.Duration, n)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var pushes sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range n {
		<-tick.C
		places <- struct{}{}
		pushes.Go(func() {
			defer func() { <-places }()
			start := time.Now()
			if err := s.pushOne(first + i); err != nil {
				tb.Errorf("push %d: %v", i, err)
			}
			took[i] = time.Since(start)
		})
	}
	pushes.Wait()
	slices.Sort(took)
	return took
}

func (s *siege) pushOne(i int) error {
	c, err := dialer(friend).Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	body := s.bodies[i%siegeBodies]
	var request bytes.Buffer
	fmt.Fprintf(&request, "POST /hooks/s%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", i/siegeBodies, len(body), body)
	return exchange(c, bufio.NewReader(c), request.Bytes())
}

// ended waits until the server has closed all slow connections.
func (s *siege) ended(tb testing.TB) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	open := 0
	for _, c := range s.slow {
		_ = c.SetReadDeadline(deadline)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open > 0 {
		tb.Errorf("%d of %d slow connections are still open", open, len(s.slow))
	}
}

// Slow connections, more than there are places, cost no good caller its
// answer, and are closed.
func TestSlowConnectionsCostNobodyAPush(t *testing.T) {
	t.Parallel()
	slow, places, pushes := 500, 200, 500
	if long() {
		slow, places, pushes = 5000, ingress.DefaultMaxConnections, 5000
	}
	s := besiege(t, places)
	before := s.push(t, pushes/5)
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		s.open(t, slow, nil)
	}()
	beside := s.push(t, pushes)
	<-opened
	p99 := func(took []time.Duration) time.Duration { return took[len(took)*99/100] }
	t.Logf("p99 %v without slow connections, %v beside %d of them, at most %v", p99(before), p99(beside), len(s.slow), beside[len(beside)-1])
	s.ended(t)
}

// BenchmarkBesideSlowConnections pushes 500 times a second, first alone and
// then while slow connections are opened until there are 5,000: more than there
// are places.
func BenchmarkBesideSlowConnections(b *testing.B) {
	s := besiege(b, ingress.DefaultMaxConnections)
	alone := s.push(b, 1000)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.open(b, 5000, stop)
	}()
	b.ResetTimer()
	took := s.push(b, b.N)
	b.StopTimer()
	close(stop)
	<-stopped
	b.ReportMetric(float64(alone[len(alone)*99/100].Microseconds())/1000, "alone-p99-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(float64(len(s.slow)), "slow")
}
