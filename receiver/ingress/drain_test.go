package ingress_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/seed75441868/postern/receiver/ingress"
)

func TestDrainingIsToldBeforePushesAreRefused(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.DrainDelay = 300 * time.Millisecond })
	if h := g.do(t, friend, http.MethodGet, "/readyz", nil, nil); h.status != http.StatusOK || h.body != "" {
		t.Errorf("before: %d %s", h.status, h.body)
	}
	start := time.Now()
	g.Drain()
	g.Drain()
	wantError(t, g.do(t, friend, http.MethodGet, "/readyz", nil, nil), http.StatusServiceUnavailable, "unavailable")
	if h := g.push(t, friend, "/hooks/one", "ok a1"); h.status != http.StatusOK && time.Since(start) < 300*time.Millisecond {
		t.Errorf("a push before the delay was over heard %d", h.status)
	}
	eventually(t, "pushes are refused", func() bool {
		return g.push(t, friend, "/hooks/one", "ok a1").status == http.StatusServiceUnavailable
	})
	if time.Since(start) < 300*time.Millisecond {
		t.Error("refused before the delay was over")
	}
	h, closed := g.raw(t, friend, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nok a1")
	wantError(t, h, http.StatusServiceUnavailable, "unavailable")
	if !closed || h.header.Get("Retry-After") == "" {
		t.Errorf("closed %v, Retry-After %q", closed, h.header.Get("Retry-After"))
	}
	if h := g.do(t, friend, http.MethodGet, "/livez", nil, nil); h.status != http.StatusOK {
		t.Errorf("livez while draining: %d", h.status)
	}
	if g.count(t, "one", "unavailable") == 0 {
		t.Error("not counted")
	}
}

func TestShutdownWaitsForPushesInFlight(t *testing.T) {
	g := open(t, nil)
	g.journal.entered = make(chan struct{})
	g.journal.held = make(chan struct{})
	answer := make(chan heard, 1)
	go func() { answer <- g.push(t, friend, "/hooks/one", "ok a1") }()
	<-g.journal.entered
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(t.Context()) }()
	eventually(t, "the listener is closed", func() bool {
		c, err := dialer(friend).DialContext(t.Context(), "tcp", g.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v with a push in flight", err)
	default:
	}
	close(g.journal.held)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if h := <-answer; h.status != http.StatusOK {
		t.Errorf("the push in flight heard %d", h.status)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	g := open(t, nil)
	g.journal.entered = make(chan struct{})
	g.journal.held = make(chan struct{})
	c := g.dial(t, friend)
	_, _ = io.WriteString(c, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nok a1")
	<-g.journal.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("an answer came though nothing was kept")
	}
	close(g.journal.held)
	eventually(t, "the append ends", func() bool { return len(g.journal.kept()) == 1 })
}
