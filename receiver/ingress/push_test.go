package ingress_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func TestAcceptedPushIsDeliveredToTheJournalWhole(t *testing.T) {
	g := open(t, nil)
	before := time.Now()
	h := g.push(t, friend, "/hooks/one", "ok a1 hello")
	if h.status != http.StatusOK || !strings.HasPrefix(h.body, `{"id":"`) {
		t.Fatalf("heard %d %s", h.status, h.body)
	}
	if got := h.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	want := []handlers.Delivery{{
		Source: "one", Platform: "words", Channel: schemas.ChannelPush, Role: "notification",
		Sent: sent, Payload: []byte("ok a1 hello"),
	}}
	kept := g.journal.kept()
	if diff := cmp.Diff(want, kept, cmpopts.IgnoreFields(handlers.Delivery{}, "Received")); diff != "" {
		t.Fatal(diff)
	}
	if at := kept[0].Received; at.Before(before) || time.Since(at) < 0 {
		t.Errorf("received at %v, pushed after %v", at, before)
	}
	if g.push(t, friend, "/hooks/one", "stale a2"); !g.journal.kept()[1].Stale {
		t.Error("the verdict on age was lost")
	}
}

func TestRepeatAndConflictAreAnswered200(t *testing.T) {
	g := open(t, nil)
	first := g.push(t, friend, "/hooks/one", "ok a1 hello")
	again := g.push(t, friend, "/hooks/one", "ok a1 hello")
	other := g.push(t, friend, "/hooks/one", "ok a1 other")
	if again.status != http.StatusOK || again.body != first.body {
		t.Errorf("a repeat heard %d %s, the first %s", again.status, again.body, first.body)
	}
	if other.status != http.StatusOK || other.body == first.body {
		t.Errorf("a conflict heard %d %s", other.status, other.body)
	}
	for outcome, want := range map[string]float64{"accepted": 1, "duplicate": 1, "conflict": 1} {
		if got := g.count(t, "one", outcome); got != want {
			t.Errorf("%s counted %v, want %v", outcome, got, want)
		}
	}
}

// Each row of the contract's table, over a real socket.
func TestEveryRowOfTheStatusTable(t *testing.T) {
	const limit = 64
	long := "ok a1 " + strings.Repeat("x", limit)
	gzipped := http.Header{"Content-Encoding": {"gzip"}}
	chunked := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }
	rows := []struct {
		name    string
		failing error
		from    string
		method  string
		path    string
		body    io.Reader
		header  http.Header

		status  int
		code    string
		source  string // counted
		outcome string
	}{
		{name: "stranger", from: stranger, path: "/hooks/one", body: strings.NewReader("ok a1"), status: 403, code: "forbidden", source: "unknown", outcome: "rejected_address"},
		{name: "stranger, unknown source", from: stranger, path: "/hooks/none", status: 403, code: "forbidden", source: "unknown", outcome: "rejected_address"},
		{name: "stranger, other path", from: stranger, path: "/", status: 403, code: "forbidden", source: "unknown", outcome: "rejected_address"},
		{name: "stranger, other method", from: stranger, method: "OPTIONS", path: "/hooks/one", status: 403, code: "forbidden", source: "unknown", outcome: "rejected_address"},
		{name: "stranger asks livez", from: stranger, method: "GET", path: "/livez", status: 403, code: "forbidden", source: "unknown", outcome: "rejected_address"},
		{name: "stranger asks readyz", from: stranger, method: "GET", path: "/readyz", status: 403, code: "forbidden", source: "unknown", outcome: "rejected_address"},
		{name: "caller of another source", from: neighbor, path: "/hooks/one", body: strings.NewReader("ok a1"), status: 403, code: "forbidden", source: "one", outcome: "rejected_address"},
		{name: "unknown source", from: friend, path: "/hooks/none", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "unknown source, other method", from: friend, method: "GET", path: "/hooks/none", status: 404, code: "not_found"},
		{name: "source that only polls", from: friend, path: "/hooks/polled", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "no source", from: friend, path: "/hooks/", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "trailing slash", from: friend, path: "/hooks/one/", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "double slash", from: friend, path: "//hooks/one", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "dots", from: friend, path: "/hooks/two/../one", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "escaped", from: friend, path: "/hooks/%6fne", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "other case", from: friend, path: "/hooks/ONE", status: 404, code: "not_found", source: "unknown", outcome: "rejected_path"},
		{name: "root", from: friend, method: "GET", path: "/", status: 404, code: "not_found"},
		{name: "metrics", from: friend, method: "GET", path: "/metrics", status: 404, code: "not_found"},
		{name: "GET", from: friend, method: "GET", path: "/hooks/one", status: 405, code: "method_not_allowed"},
		{name: "PUT", from: friend, method: "PUT", path: "/hooks/one", status: 405, code: "method_not_allowed"},
		{name: "OPTIONS", from: friend, method: "OPTIONS", path: "/hooks/one", status: 405, code: "method_not_allowed"},
		{name: "unheard-of method", from: friend, method: "BREW", path: "/hooks/one", status: 405, code: "method_not_allowed"},
		{name: "post livez", from: friend, path: "/livez", status: 405, code: "method_not_allowed"},
		{name: "options readyz", from: friend, method: "OPTIONS", path: "/readyz", status: 405, code: "method_not_allowed"},
		{name: "too large", from: friend, path: "/hooks/one", body: strings.NewReader(long), status: 413, code: "too_large", source: "one", outcome: "rejected_size"},
		{name: "too large, chunked", from: friend, path: "/hooks/one", body: chunked(long), status: 413, code: "too_large", source: "one", outcome: "rejected_size"},
		{name: "too large and compressed", from: friend, path: "/hooks/one", body: strings.NewReader(long), header: gzipped, status: 413, code: "too_large", source: "one", outcome: "rejected_size"},
		{name: "compressed", from: friend, path: "/hooks/one", body: strings.NewReader("ok a1"), header: gzipped, status: 503, code: "unavailable", source: "one", outcome: "unverifiable"},
		{name: "wrong topic", from: friend, path: "/hooks/one", body: strings.NewReader("topic"), status: 403, code: "forbidden", source: "one", outcome: "rejected_topic"},
		{name: "wrong signature", from: friend, path: "/hooks/one", body: strings.NewReader("signature"), status: 403, code: "forbidden", source: "one", outcome: "rejected_signature"},
		{name: "wrong certificate", from: friend, path: "/hooks/one", body: strings.NewReader("certificate"), status: 403, code: "forbidden", source: "one", outcome: "rejected_certificate"},
		{name: "wrong header", from: friend, path: "/hooks/one", body: strings.NewReader("header"), status: 403, code: "forbidden", source: "one", outcome: "rejected_header"},
		{name: "uncheckable", from: friend, path: "/hooks/one", body: strings.NewReader("uncheckable"), status: 503, code: "unavailable", source: "one", outcome: "unverifiable"},
		{name: "webhook fails otherwise", from: friend, path: "/hooks/one", body: strings.NewReader("odd"), status: 503, code: "unavailable", source: "one", outcome: "unavailable"},
		{name: "webhook panics", from: friend, path: "/hooks/one", body: strings.NewReader("panic"), status: 503, code: "unavailable", source: "one", outcome: "unavailable"},
		{name: "journal full", failing: fmt.Errorf("now: %w", journal.ErrFull), from: friend, path: "/hooks/one", body: strings.NewReader("ok a1"), status: 503, code: "unavailable", source: "one", outcome: "unavailable"},
		{name: "disk low", failing: journal.ErrDiskLow, from: friend, path: "/hooks/one", body: strings.NewReader("ok a1"), status: 503, code: "unavailable", source: "one", outcome: "unavailable"},
		{name: "journal fails otherwise", failing: errors.New("no such file"), from: friend, path: "/hooks/one", body: strings.NewReader("ok a1"), status: 503, code: "unavailable", source: "one", outcome: "unavailable"},
		{name: "not ready", failing: journal.ErrFull, from: friend, method: "GET", path: "/readyz", status: 503, code: "unavailable"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			g := open(t, func(c *ingress.Config) { c.MaxBody = limit })
			g.journal.fail(row.failing)
			if row.method == "" {
				row.method = http.MethodPost
			}
			h := g.do(t, row.from, row.method, row.path, row.body, row.header)
			wantError(t, h, row.status, row.code)
			if kept := g.journal.kept(); len(kept) > 0 {
				t.Errorf("refused, but kept: %v", kept)
			}
			if row.source != "" && g.count(t, row.source, row.outcome) != 1 {
				t.Errorf("not counted as %s of %s", row.outcome, row.source)
			}
			want := 1.0
			if row.source == "" {
				want = 0 // it was no delivery
			}
			if got := g.total(t); got != want {
				t.Errorf("counted %v times, want %v", got, want)
			}
			if got := h.header.Get("Retry-After") != ""; got != (row.status == 503) {
				t.Errorf("Retry-After: %v with status %d", got, h.status)
			}
			if got := h.header.Get("Allow") != ""; got != (row.status == 405) {
				t.Errorf("Allow: %v with status %d", got, h.status)
			}
			for _, secret := range []string{"4929-1234", "x-x"} {
				if strings.Contains(g.logs.String()+h.body, secret) {
					t.Errorf("payload in log or answer: %s %s", g.logs, h.body)
				}
			}
		})
	}
}

// total returns how many deliveries were counted.
func (g *gate) total(t *testing.T) float64 {
	t.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() == "postern_deliveries_total" {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestAllRefusalsSoundTheSame(t *testing.T) {
	g := open(t, nil)
	text := func(addr, body string) string {
		h := g.push(t, addr, "/hooks/one", body)
		before, _, _ := strings.Cut(h.body, `,"request_id"`)
		return fmt.Sprint(h.status, before, len(h.body), h.header["Content-Type"])
	}
	want := text(stranger, "ok a1")
	for _, body := range []string{"topic", "signature", "certificate", "header"} {
		if got := text(friend, body); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
	if got := text(neighbor, "ok a1"); got != want {
		t.Errorf("another source's caller: %s, want %s", got, want)
	}
}

func TestBodyOfExactlyTheLimitPasses(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxBody = 16 })
	body := "ok a1 0123456789"
	if h := g.push(t, friend, "/hooks/one", body); h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
	if h := g.push(t, friend, "/hooks/one", body+"x"); h.status != http.StatusRequestEntityTooLarge {
		t.Errorf("one more byte heard %d", h.status)
	}
}

func TestIdentityIsNoCompression(t *testing.T) {
	g := open(t, nil)
	h := g.do(t, friend, http.MethodPost, "/hooks/one", strings.NewReader("ok a1"), http.Header{"Content-Encoding": {"identity"}})
	if h.status != http.StatusOK {
		t.Errorf("heard %d %s", h.status, h.body)
	}
}

func TestForwardedHeadersMoveNobody(t *testing.T) {
	g := open(t, nil)
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "True-Client-Ip"} {
		for _, addr := range []string{stranger, neighbor} {
			value := friend
			if name == "Forwarded" {
				value = "for=" + friend
			}
			h := g.do(t, addr, http.MethodPost, "/hooks/one", strings.NewReader("ok a1"), http.Header{name: {value}})
			wantError(t, h, http.StatusForbidden, "forbidden")
		}
	}
}

func TestInFlightLimitCountsVerifiedWorkOnly(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.MaxInFlight = 2 })
	g.journal.entered = make(chan struct{})
	g.journal.held = make(chan struct{})

	// Two pushes fill the journal; forgeries and slow bodies wait beside them.
	slow := g.dial(t, friend)
	_, _ = io.WriteString(slow, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nok")
	answers := make(chan heard, 2)
	for i := range 2 {
		go func() { answers <- g.push(t, friend, "/hooks/one", fmt.Sprintf("ok a%d", i)) }()
		<-g.journal.entered
	}
	if h := g.push(t, friend, "/hooks/one", "signature"); h.status != http.StatusForbidden {
		t.Errorf("a forgery heard %d", h.status)
	}
	start := time.Now()
	h := g.push(t, friend, "/hooks/one", "ok a3")
	wantError(t, h, http.StatusServiceUnavailable, "unavailable")
	if waited := time.Since(start); waited < 50*time.Millisecond || waited > 2*time.Second {
		t.Errorf("was sent away after %v", waited)
	}
	close(g.journal.held)
	for range 2 {
		if h := <-answers; h.status != http.StatusOK {
			t.Errorf("a push in flight heard %d", h.status)
		}
	}
	go func() {
		for range g.journal.entered {
		}
	}()
	defer close(g.journal.entered)
	if h := g.push(t, friend, "/hooks/one", "ok a3"); h.status != http.StatusOK {
		t.Errorf("after the others were done it heard %d", h.status)
	}
}

func TestPushOfASenderWhoHungUpIsKept(t *testing.T) {
	g := open(t, nil)
	g.journal.entered = make(chan struct{})
	g.journal.held = make(chan struct{})
	c := g.dial(t, friend)
	_, _ = io.WriteString(c, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nok a1")
	<-g.journal.entered
	_ = c.Close()
	// net/http notices and cancels the request's context; give it the chance.
	select {
	case <-time.After(50 * time.Millisecond):
	case <-t.Context().Done():
	}
	close(g.journal.held)
	eventually(t, "kept", func() bool { return len(g.journal.kept()) == 1 })
}
