package ingress_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed75441868/postern/receiver/ingress"
)

// raw sends text over a connection of its own and returns the answer and
// whether the connection was closed after it.
func (g *gate) raw(t *testing.T, addr, text string) (resp heard, closed bool) {
	t.Helper()
	c := g.dial(t, addr)
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return hear(t, c)
}

func hear(t *testing.T, c io.Reader) (h heard, closed bool) {
	t.Helper()
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	h = heard{resp.StatusCode, resp.Header, string(body)}
	if !resp.Close {
		return h, false
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("more after Connection: close")
	}
	return h, true
}

// Amazon SNS takes each of these statuses as delivered, and a redirect as well.
var neverAnswered = map[int]bool{401: true, 408: true, 415: true, 417: true, 425: true, 429: true, 500: true}

func TestHTTP10IsRefusedSoThatItIsSentAgain(t *testing.T) {
	g := open(t, nil)
	h, closed := g.raw(t, friend, "POST /hooks/one HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\n\r\nok a1")
	wantError(t, h, http.StatusHTTPVersionNotSupported, "http_version_not_supported")
	if !closed {
		t.Error("connection stays")
	}
	if len(g.journal.kept()) > 0 {
		t.Error("kept")
	}
}

func TestHTTP2IsNotSpoken(t *testing.T) {
	g := open(t, nil)
	h, _ := g.raw(t, friend, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if h.status < 500 && h.status != http.StatusBadRequest {
		t.Errorf("heard %d", h.status)
	}
	h, _ = g.raw(t, friend, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: 5\r\n\r\nok a1")
	if h.status != http.StatusOK {
		t.Errorf("an offer of h2c heard %d", h.status)
	}
}

func TestConnectionEndsAfterAChunkedBody(t *testing.T) {
	g := open(t, nil)
	// Content-Length beside chunked is how requests are smuggled.
	h, closed := g.raw(t, friend, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok a1\r\n0\r\n\r\n")
	if h.status != http.StatusOK || !closed {
		t.Errorf("heard %d, closed %v", h.status, closed)
	}
	h, closed = g.raw(t, friend, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nok a2")
	if h.status != http.StatusOK || closed {
		t.Errorf("without: heard %d, closed %v", h.status, closed)
	}
}

func TestKeepAliveServesSeveralPushes(t *testing.T) {
	g := open(t, nil)
	c := g.dial(t, friend)
	for i := range 3 {
		_, _ = fmt.Fprintf(c, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nok a%d", i)
		if h, closed := hear(t, c); h.status != http.StatusOK || closed {
			t.Fatalf("push %d: heard %d, closed %v", i, h.status, closed)
		}
	}
	if got := len(g.journal.kept()); got != 3 {
		t.Errorf("kept %d", got)
	}
}

func TestStrangerIsAnsweredBeforeTheBody(t *testing.T) {
	g := open(t, nil)
	start := time.Now()
	h, closed := g.raw(t, stranger, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nok")
	wantError(t, h, http.StatusForbidden, "forbidden")
	if !closed {
		t.Error("connection stays")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the connection was kept for %v to wait for the body", took)
	}
	h, _ = g.raw(t, stranger, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	wantError(t, h, http.StatusForbidden, "forbidden")
}

func TestExpectContinueIsAnswered(t *testing.T) {
	g := open(t, nil)
	c := g.dial(t, friend)
	_, _ = io.WriteString(c, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	interim := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(c, interim); err != nil || !strings.HasPrefix(string(interim), "HTTP/1.1 100") {
		t.Fatalf("%q, %v", interim, err)
	}
	_, _ = io.WriteString(c, "ok a1")
	if h, _ := hear(t, c); h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
}

func TestOptionsStarIsNotAnsweredByNetHTTP(t *testing.T) {
	g := open(t, nil)
	h, _ := g.raw(t, stranger, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	wantError(t, h, http.StatusForbidden, "forbidden")
	h, _ = g.raw(t, friend, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
	wantError(t, h, http.StatusNotFound, "not_found")
}

func TestHeaderIsLimited(t *testing.T) {
	g := open(t, nil)
	h, _ := g.raw(t, friend, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("x", 32<<10)+"\r\n\r\n")
	if h.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("heard %d", h.status)
	}
}

func TestBodyCutShortIsUnverifiable(t *testing.T) {
	g := open(t, nil)
	h, _ := g.raw(t, friend, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok a1\r\nzz\r\n")
	wantError(t, h, http.StatusServiceUnavailable, "unavailable")
	if g.count(t, "one", "unverifiable") != 1 {
		t.Error("not counted")
	}
}

func TestIPv4CallerOnAnIPv6SocketIsMatchedAsIPv4(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "[::]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	g := openOn(t, l, nil)
	_, port, _ := net.SplitHostPort(g.addr)
	g.addr = "127.0.0.1:" + port
	if h := g.push(t, friend, "/hooks/one", "ok a1"); h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
	wantError(t, g.push(t, stranger, "/hooks/one", "ok a1"), http.StatusForbidden, "forbidden")
}

func TestNoRequestIsAnsweredInAWayThatSNSMisreads(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxBody = 64 })
	rapid.Check(t, func(rt *rapid.T) {
		method := rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "X"}).Draw(rt, "method")
		path := rapid.SampledFrom([]string{"/", "/hooks", "/hooks/", "/hooks/one", "/hooks/one/", "/hooks/one/x", "/hooks//one", "/hooks/one?x=1", "/./hooks/one", "/hooks/%6Fne", "/HOOKS/one", "/livez", "/livez/", "/readyz?verbose", "*", "x:1", "http://h/hooks/one"}).Draw(rt, "path")
		version := rapid.SampledFrom([]string{"1.1", "1.1", "1.1", "1.0"}).Draw(rt, "version")
		header := rapid.SampledFrom([]string{"", "Content-Encoding: br\r\n", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n", "Authorization: Basic eDp4\r\n", "Upgrade: websocket\r\nConnection: upgrade\r\n", "Range: bytes=0-1\r\n", "If-None-Match: *\r\n", "X-Http-Method-Override: GET\r\n"}).Draw(rt, "header")
		body := rapid.SampledFrom([]string{"", "ok a1", "signature", "uncheckable", "panic", strings.Repeat("x", 100)}).Draw(rt, "body")
		addr := rapid.SampledFrom([]string{friend, neighbor, stranger}).Draw(rt, "addr")

		c := g.dial(t, addr)
		defer func() { _ = c.Close() }()
		_, _ = fmt.Fprintf(c, "%s %s HTTP/%s\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", method, path, version, len(body), header, body)
		resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
		if err != nil {
			rt.Fatal(err)
		}
		_ = resp.Body.Close()
		status := resp.StatusCode
		switch {
		case status >= 300 && status < 400, neverAnswered[status]:
			rt.Errorf("status %d", status)
		case addr == stranger && status != http.StatusForbidden && status != http.StatusBadRequest:
			rt.Errorf("a stranger heard %d", status)
		case status/100 == 2 && (method != "POST" || body != "ok a1") && !strings.HasSuffix(strings.SplitN(path, "?", 2)[0], "z"):
			rt.Errorf("status %d for what nobody kept", status)
		}
	})
}
