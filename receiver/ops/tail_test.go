package ops_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
)

// feed is a bus that has some events and follows what the test sends.
type feed struct {
	had     []ops.TailEvent
	comes   chan ops.TailEvent
	fails   error
	queries chan ops.TailQuery
	ended   chan struct{}
}

func newFeed() *feed {
	return &feed{
		had: []ops.TailEvent{
			{Sequence: 7, Subject: "postern.events.one.process.queued.a", Event: jsontext.Value("{\n  \"id\": \"one:a\"\n}")},
			{Sequence: 8, Subject: "postern.events.one.process.failed.a", Event: jsontext.Value(`{"id":"one:b"}`)},
		},
		comes:   make(chan ops.TailEvent),
		queries: make(chan ops.TailQuery, 100),
		ended:   make(chan struct{}, 100),
	}
}

func (f *feed) tail(ctx context.Context, q ops.TailQuery, fn func(ops.TailEvent) error) error {
	defer func() { f.ended <- struct{}{} }()
	f.queries <- q
	if q.Last > 0 {
		for _, e := range f.had {
			if err := fn(e); err != nil {
				return fmt.Errorf("tail: %w", err)
			}
		}
	}
	if f.fails != nil {
		return f.fails
	}
	for q.Follow {
		select {
		case e := <-f.comes:
			if err := fn(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func tailing(t *testing.T, f *feed, before func(*ops.Server)) *panel {
	return openOn(t, "127.0.0.1:0", func(c *ops.Config) { c.Tail = f.tail }, before)
}

const lines = `{"sequence":7,"subject":"postern.events.one.process.queued.a","event":{"id":"one:a"}}
{"sequence":8,"subject":"postern.events.one.process.failed.a","event":{"id":"one:b"}}
`

func TestTailWritesALineForEachEvent(t *testing.T) {
	f := newFeed()
	p := tailing(t, f, nil)
	h := p.get(t, "/api/v1/tail?last=2&follow=false")
	if h.status != http.StatusOK || h.body != lines || h.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%d %v %s", h.status, h.header, h.body)
	}
	if h := p.get(t, "/api/v1/tail?last=2&count=1"); h.body != strings.SplitAfter(lines, "\n")[0] {
		t.Errorf("count=1: %s", h.body)
	}
	if h := p.get(t, "/api/v1/tail?follow=false"); h.status != http.StatusOK || h.body != "" {
		t.Errorf("nothing there: %d %s", h.status, h.body)
	}
}

// follow opens a stream and returns its lines.
func (p *panel) follow(t *testing.T, query string) (*bufio.Reader, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+"/api/v1/tail"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	return bufio.NewReader(resp.Body), cancel
}

func TestTailFlushesEachEventAndOutlivesTheTimeouts(t *testing.T) {
	f := newFeed()
	const short = 200 * time.Millisecond
	p := tailing(t, f, func(s *ops.Server) {
		s.HTTP().ReadTimeout, s.HTTP().WriteTimeout = short, short
		s.Patience(short)
	})
	start := time.Now()
	// The header comes though there is no event, and then each event at once.
	r, _ := p.follow(t, "")
	for i := range 3 {
		<-time.After(short) // the server's timeouts go by
		f.comes <- ops.TailEvent{Sequence: uint64(i), Event: jsontext.Value("{}")}
		line, err := r.ReadString('\n')
		if want := fmt.Sprintf("{\"sequence\":%d,\"subject\":\"\",\"event\":{}}\n", i); err != nil || line != want {
			t.Fatalf("after %v: %q, %v", time.Since(start), line, err)
		}
	}
	<-time.After(2 * short)
	go func() { _ = p.Shutdown(t.Context()) }()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("its end: %q, %v", rest, err)
	}
}

func TestReaderWhoDoesNotReadIsCutOff(t *testing.T) {
	f := newFeed()
	p := tailing(t, f, func(s *ops.Server) { s.Patience(100 * time.Millisecond) })
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /api/v1/tail HTTP/1.1\r\nHost: localhost\r\n\r\n")
	large := ops.TailEvent{Event: jsontext.Value(`"` + strings.Repeat("x", 1<<20) + `"`)}
	for {
		select {
		case f.comes <- large:
			continue
		case <-f.ended:
		case <-time.After(10 * time.Second):
			t.Error("it is still written to")
		}
		return
	}
}

func TestTailEndsWhenItsReaderLeaves(t *testing.T) {
	f := newFeed()
	p := tailing(t, f, nil)
	_, cancel := p.follow(t, "")
	cancel()
	select {
	case <-f.ended:
	case <-time.After(5 * time.Second):
		t.Fatal("still following")
	}
}

func TestShutdownEndsStreamsCleanly(t *testing.T) {
	f := newFeed()
	p := tailing(t, f, nil)
	r, _ := p.follow(t, "?last=2")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := p.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(r); err != nil || string(body) != lines {
		t.Errorf("%q, %v", body, err)
	}
}

func TestTailThatFailsIsAStatusOrABrokenConnection(t *testing.T) {
	f := newFeed()
	f.fails = errors.New("bus is away")
	p := tailing(t, f, nil)
	wantProblem(t, p.get(t, "/api/v1/tail"), http.StatusServiceUnavailable)
	r, _ := p.follow(t, "?last=2")
	if body, err := io.ReadAll(r); err == nil {
		t.Errorf("a part looks like the whole: %q", body)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	f := newFeed()
	p := tailing(t, f, nil)
	var leave context.CancelFunc
	for range 16 {
		_, leave = p.follow(t, "?last=2")
	}
	wantProblem(t, p.get(t, "/api/v1/tail"), http.StatusServiceUnavailable)
	if h := p.get(t, "/api/v1/version"); h.status != http.StatusOK {
		t.Errorf("other requests: %d", h.status)
	}
	leave()
	<-f.ended
	deadline := time.Now().Add(5 * time.Second)
	for p.get(t, "/api/v1/tail?follow=false").status != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("no place became free")
		}
	}
}

func TestTailQueries(t *testing.T) {
	f := newFeed()
	p := tailing(t, f, nil)
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for query, want := range map[string]ops.TailQuery{
		"":                           {},
		"source=one&type=process.*":  {Source: "one", Type: "process.*"},
		"key=a%2Fb&last=3":           {Key: "a/b", Last: 3},
		"since=2026-05-01T00:00:00Z": {Since: at},
	} {
		if h := p.get(t, "/api/v1/tail?follow=false&"+query); h.status != http.StatusOK {
			t.Errorf("%s: %d %s", query, h.status, h.body)
			continue
		}
		if diff := cmp.Diff(want, <-f.queries); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	p.get(t, "/api/v1/tail?follow=false&since=2d")
	if got := time.Since((<-f.queries).Since); got < 48*time.Hour || got > 48*time.Hour+time.Minute {
		t.Errorf("since=2d is %v ago", got)
	}
	for _, query := range []string{
		"source=A%20b", "type=%5B", "type=" + strings.Repeat("x", 101), "key=" + strings.Repeat("x", 201),
		"since=yesterday", "since=-1h", "last=-1", "last=x", "last=99999999", "count=1.5", "follow=maybe", "typ=x", "last=1&last=2",
	} {
		h := p.get(t, "/api/v1/tail?"+query)
		wantProblem(t, h, http.StatusBadRequest)
		if strings.Contains(h.body, "yesterday") {
			t.Errorf("%s is repeated in %s", query, h.body)
		}
	}
}
