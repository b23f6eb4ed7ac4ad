package ops_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed75441868/postern/receiver/ops"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// panel is a running server.
type panel struct {
	*ops.Server
	base   string
	client *http.Client
	logs   *logs
	health *health
}

// health is how the parts of a receiver are, as a test sets it.
type health struct {
	mu              sync.Mutex
	ready, degraded []ops.Check
	asked           int // how often the degraded ones were asked
}

func (h *health) set(ready, degraded error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ready = []ops.Check{{Name: "journal", Err: ready}, {Name: "shutdown"}}
	h.degraded = []ops.Check{{Name: "nats", Err: degraded}}
}

func (h *health) readyNow(context.Context) []ops.Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready
}

func (h *health) degradedNow(context.Context) []ops.Check {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return h.degraded
}

func open(t *testing.T, change func(*ops.Config)) *panel {
	t.Helper()
	return openOn(t, "127.0.0.1:0", change, nil)
}

func openOn(t *testing.T, addr string, change func(*ops.Config), before func(*ops.Server)) *panel {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	p := &panel{logs: &logs{}, health: &health{}}
	p.health.set(nil, nil)
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "postern_up", Help: "One."}, func() float64 { return 1 }))
	cfg := ops.Config{
		LocalToken: "local-token",
		Ready:      p.health.readyNow,
		Degraded:   p.health.degradedNow,
		Gatherer:   registry,
		Registerer: registry,
		Schemas: fstest.MapFS{
			"process.succeeded.v1.json": {Data: []byte(`{"title":"process.succeeded"}`)},
			"process.failed.v1.json":    {Data: []byte(`{"title":"process.failed"}`)},
			"notes.txt":                 {Data: []byte("not a schema")},
			"deeper/hidden.v1.json":     {Data: []byte("{}")},
		},
		Tail:    func(context.Context, ops.TailQuery, func(ops.TailEvent) error) error { return nil },
		Version: ops.Version{Version: "v1.2.3", Revision: "abc", Go: "go1.26"},
		Log:     slog.New(slog.NewJSONHandler(p.logs, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	if p.Server, err = ops.New(l, cfg); err != nil {
		t.Fatal(err)
	}
	if before != nil {
		before(p.Server)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	p.client = &http.Client{Transport: tr, Timeout: 20 * time.Second}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p.base = "http://127.0.0.1:" + port
	if cfg.TLS != nil {
		p.base = "https://127.0.0.1:" + port
	}
	served := make(chan error, 1)
	go func() { served <- p.Serve() }()
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return p
}

// heard is an answer.
type heard struct {
	status int
	header http.Header
	body   string
}

func (p *panel) get(t *testing.T, path string) heard {
	t.Helper()
	return p.do(t, http.MethodGet, path, nil)
}

// do asks; change may alter the request.
func (p *panel) do(t *testing.T, method, path string, change func(*http.Request)) heard {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return heard{resp.StatusCode, resp.Header, string(body)}
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// wantProblem fails unless h is an RFC 9457 problem of that status.
func wantProblem(t *testing.T, h heard, status int) {
	t.Helper()
	var body struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal([]byte(h.body), &body, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatalf("status %d, body %q: %v", h.status, h.body, err)
	}
	if h.status != status || body.Status != status || body.Type != "about:blank" || body.Title != http.StatusText(status) {
		t.Errorf("status %d, want %d: %s", h.status, status, h.body)
	}
	if got := h.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
}

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

// someTLS returns a configuration with a throwaway certificate.
func someTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestReadyzAsksOnlyWhatDecides(t *testing.T) {
	p := open(t, nil)
	p.health.set(nil, errors.New("no servers\navailable"))
	if h := p.get(t, "/readyz"); h.status != http.StatusOK || h.body != "ok\n" {
		t.Errorf("with a frozen bus: %d %q", h.status, h.body)
	}
	if p.health.asked != 0 {
		t.Error("the bus was asked though it doesn't decide")
	}
	want := "[+]journal ok\n[+]shutdown ok\n[-]nats degraded: no servers available\nreadyz: ok\n"
	if h := p.get(t, "/readyz?verbose"); h.status != http.StatusOK || h.body != want {
		t.Errorf("verbose: %d %q", h.status, h.body)
	}
	p.health.set(errors.New("disk low"), nil)
	if h := p.get(t, "/readyz"); h.status != http.StatusServiceUnavailable || h.body != "not ready\n" {
		t.Errorf("with a full disk: %d %q", h.status, h.body)
	}
	want = "[-]journal failed: disk low\n[+]shutdown ok\n[+]nats ok\nreadyz: not ready\n"
	if h := p.get(t, "/readyz?verbose"); h.status != http.StatusServiceUnavailable || h.body != want {
		t.Errorf("verbose: %d %q", h.status, h.body)
	}
	if h := p.get(t, "/livez"); h.status != http.StatusOK {
		t.Errorf("livez: %d", h.status)
	}
}

// broken is a collector that fails.
type broken struct{ desc *prometheus.Desc }

func (b broken) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc }
func (b broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(b.desc, errors.New("no"))
}

func TestMetricsSpeakOpenMetricsAndSurviveABrokenCollector(t *testing.T) {
	p := open(t, func(c *ops.Config) {
		c.Registerer.MustRegister(broken{prometheus.NewDesc("postern_broken", "x", nil, nil)})
	})
	h := p.do(t, http.MethodGet, "/metrics", func(r *http.Request) {
		r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	})
	if h.status != http.StatusOK || !strings.Contains(h.body, "postern_up 1") || !strings.HasSuffix(h.body, "# EOF\n") {
		t.Errorf("%d %s", h.status, h.body)
	}
	if !strings.Contains(p.logs.String(), "metrics are incomplete") {
		t.Error("nobody was told that metrics are missing")
	}
}

func TestSchemasAreListedAndServed(t *testing.T) {
	p := open(t, nil)
	want := `[{"type":"process.failed.v1","url":"/schemas/process.failed.v1.json"},` +
		`{"type":"process.succeeded.v1","url":"/schemas/process.succeeded.v1.json"}]` + "\n"
	for _, path := range []string{"/schemas", "/schemas/"} {
		if h := p.get(t, path); h.status != http.StatusOK || h.body != want {
			t.Errorf("%s: %d %s", path, h.status, h.body)
		}
	}
	h := p.get(t, "/schemas/process.succeeded.v1.json")
	if h.status != http.StatusOK || h.body != `{"title":"process.succeeded"}` || h.header.Get("Content-Type") != "application/schema+json" {
		t.Errorf("%d %s %v", h.status, h.body, h.header)
	}
	for _, path := range []string{
		"/schemas/nothing.v1.json", "/schemas/notes.txt", "/schemas/deeper/hidden.v1.json",
		"/schemas/deeper%2fhidden.v1.json", "/schemas/../ops.go", "/schemas/process.failed.v1.json/", "/other", "/api/v1/other",
	} {
		wantProblem(t, p.get(t, path), http.StatusNotFound)
	}
}

func TestVersionIsTold(t *testing.T) {
	p := open(t, nil)
	if h := p.get(t, "/api/v1/version"); h.body != `{"version":"v1.2.3","revision":"abc","go":"go1.26"}`+"\n" {
		t.Errorf("%d %s", h.status, h.body)
	}
	wantProblem(t, p.do(t, http.MethodPost, "/api/v1/version", nil), http.StatusMethodNotAllowed)
}

func TestPanicIsA500WithoutItsText(t *testing.T) {
	p := open(t, func(c *ops.Config) {
		c.Tail = func(context.Context, ops.TailQuery, func(ops.TailEvent) error) error { panic("secret-4929") }
	})
	h := p.get(t, "/api/v1/tail")
	wantProblem(t, h, http.StatusInternalServerError)
	if text := h.body + p.logs.String(); strings.Contains(text, "4929") || !strings.Contains(text, "ops_test.go") && !strings.Contains(text, "TestPanic") {
		t.Error(text)
	}
}
