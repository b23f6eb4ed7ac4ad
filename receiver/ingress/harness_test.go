package ingress_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/receiver/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The callers of these tests. Linux lets a client call from any address of
// 127.0.0.0/8.
const (
	friend   = "127.0.0.2" // on the list of source one
	neighbor = "127.0.0.3" // on the list of source two
	stranger = "127.0.0.9" // on no list
)

// fakeJournal remembers what it was given.
type fakeJournal struct {
	mu         sync.Mutex
	deliveries []handlers.Delivery
	known      map[string][32]byte
	failing    error
	entered    chan struct{} // if not nil, told of each Append
	held       chan struct{} // if not nil, Append waits for it or its context
}

func (j *fakeJournal) Append(ctx context.Context, d handlers.Delivery, transportID string, content [32]byte) (journal.Receipt, error) {
	if j.entered != nil {
		j.entered <- struct{}{}
	}
	if j.held != nil {
		select {
		case <-j.held:
		case <-ctx.Done():
			return journal.Receipt{}, ctx.Err()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failing != nil {
		return journal.Receipt{}, j.failing
	}
	id := sha256.Sum256([]byte(d.Source + transportID + string(content[:])))
	receipt := journal.Receipt{ID: hex.EncodeToString(id[:8]), Outcome: journal.Accepted}
	before, ok := j.known[d.Source+" "+transportID]
	switch {
	case ok && before == content:
		receipt.Outcome = journal.Duplicate
		return receipt, nil
	case ok:
		receipt.Outcome = journal.Conflict
	}
	if j.known == nil {
		j.known = map[string][32]byte{}
	}
	j.known[d.Source+" "+transportID] = content
	d.Payload = bytes.Clone(d.Payload)
	j.deliveries = append(j.deliveries, d)
	return receipt, nil
}

func (j *fakeJournal) Ready() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failing
}

func (j *fakeJournal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failing = err
}

func (j *fakeJournal) kept() []handlers.Delivery {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]handlers.Delivery(nil), j.deliveries...)
}

// sent is what the fake platform says it sent.
var sent = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// words is a webhook whose pushes say themselves what is to be thought of
// them: "ok <transport id> <rest>" is authentic.
type words struct{}

var errSecret = errors.New("the body says 4929-1234")

func (words) Authenticate(r handlers.Request) (handlers.Authentic, error) {
	word, rest, _ := strings.Cut(string(r.Body), " ")
	switch word {
	case "ok", "stale":
		id, _, _ := strings.Cut(rest, " ")
		return handlers.Authentic{
			Role:        "notification",
			TransportID: id,
			Content:     sha256.Sum256(r.Body),
			Sent:        sent,
			Stale:       word == "stale",
		}, nil
	case "uncheckable":
		return handlers.Authentic{}, &handlers.UncheckableError{Detail: "no certificate yet"}
	case "panic":
		panic("the body says 4929-1234")
	case "odd":
		return handlers.Authentic{}, errSecret
	default:
		return handlers.Authentic{}, &handlers.RefusedError{Reason: handlers.Reason(word), Detail: "not as it should be"}
	}
}

// gate is a running server.
type gate struct {
	*ingress.Server
	addr    string
	journal *fakeJournal
	metrics *prometheus.Registry
	logs    *logs
}

// sources are two that push, and one that only polls.
func sources() []handlers.Source {
	allow := func(addrs ...string) []netip.Prefix {
		var list []netip.Prefix
		for _, a := range addrs {
			list = append(list, netip.MustParsePrefix(a+"/32"))
		}
		return list
	}
	return []handlers.Source{
		{Name: "one", Platform: "words", Push: &handlers.Push{Allow: allow(friend), Webhook: words{}}},
		{Name: "two", Platform: "words", Push: &handlers.Push{Allow: allow(neighbor), Webhook: words{}}},
		{Name: "polled", Platform: "words"},
	}
}

// open starts a server; change may be nil.
func open(t *testing.T, change func(*ingress.Config)) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openOn(t, l, change)
}

func openOn(t *testing.T, l net.Listener, change func(*ingress.Config)) *gate {
	t.Helper()
	g := &gate{addr: l.Addr().String(), journal: &fakeJournal{}, metrics: prometheus.NewPedanticRegistry(), logs: &logs{}}
	cfg := ingress.Config{
		Sources:    sources(),
		Journal:    g.journal,
		Registerer: g.metrics,
		Log:        slog.New(slog.NewJSONHandler(g.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if g.Server, err = ingress.New(l, cfg); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = g.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return g
}

// from returns a client that calls from addr, one connection a request.
func from(t *testing.T, addr string) *http.Client {
	t.Helper()
	tr := &http.Transport{DialContext: dialer(addr).DialContext, DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{
		Transport:     tr,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func dialer(addr string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
}

// dial opens a bare connection from addr.
func (g *gate) dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := dialer(addr).DialContext(t.Context(), "tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// heard is an answer.
type heard struct {
	status int
	header http.Header
	body   string
}

// push posts body to path from addr. Any goroutine may call it.
func (g *gate) push(t *testing.T, addr, path, body string) heard {
	t.Helper()
	return g.do(t, addr, http.MethodPost, path, strings.NewReader(body), nil)
}

func (g *gate) do(t *testing.T, addr, method, path string, body io.Reader, header http.Header) heard {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.addr+path, body)
	if err != nil {
		t.Error(err)
		return heard{}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := from(t, addr).Do(req)
	if err != nil {
		t.Error(err)
		return heard{}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return heard{resp.StatusCode, resp.Header, string(text)}
}

// wantError fails unless h is the constant error of its status.
func wantError(t *testing.T, h heard, status int, code string) {
	t.Helper()
	if h.status != status {
		t.Errorf("status %d, want %d (body %s)", h.status, status, h.body)
	}
	var body struct {
		Error     string `json:"error"`
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(h.body), &body, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("body %q: %v", h.body, err)
	}
	if body.Error != code {
		t.Errorf("error %q, want %q", body.Error, code)
	}
	if body.RequestID == "" {
		t.Error("no request id")
	}
	if got := h.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
}

// count returns how many deliveries of a source had an outcome.
func (g *gate) count(t *testing.T, source, outcome string) float64 {
	t.Helper()
	v, _ := g.metric(t, "postern_deliveries_total", map[string]string{"source": source, "channel": "push", "outcome": outcome})
	return v
}

// metric returns a value, and whether there is one.
func (g *gate) metric(t *testing.T, name string, labels map[string]string) (float64, bool) {
	t.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if want, ok := labels[l.GetName()]; !ok || want != l.GetValue() {
					continue metrics
				}
			}
			switch {
			case m.GetCounter() != nil:
				return m.GetCounter().GetValue(), true
			case m.GetGauge() != nil:
				return m.GetGauge().GetValue(), true
			case m.GetHistogram() != nil:
				return float64(m.GetHistogram().GetSampleCount()), true
			}
		}
	}
	return 0, false
}

// logs collects log lines.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// eventually polls until ok, for at most 5 seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-tick.C
	}
}
