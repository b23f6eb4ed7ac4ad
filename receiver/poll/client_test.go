package poll_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
)

func client(t *testing.T, cfg poll.ClientConfig) *http.Client {
	cfg.Source, cfg.Version = "src", "1.2.3"
	c := poll.NewClient(cfg)
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func serve(t *testing.T, fn http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(fn)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, c *http.Client, at string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(handlers.WithEndpoint(t.Context(), "things"), http.MethodGet, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer secret")
	res, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func TestRequestsSayWhoWeAre(t *testing.T) {
	var connections sync.Map
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		connections.Store(r.RemoteAddr, true)
		_, _ = io.WriteString(w, r.Header.Get("User-Agent"))
	})
	c := client(t, poll.ClientConfig{})
	for range 3 {
		if got, err := get(t, c, s.URL); got != "postern/1.2.3" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	n := 0
	connections.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections for three requests", n)
	}
}

func TestNoRedirectToAnotherHostIsFollowed(t *testing.T) {
	var reached atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	here := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/secret-path", http.StatusFound)
	})
	_, err := get(t, client(t, poll.ClientConfig{}), here.URL)
	if !errors.Is(err, poll.ErrRedirect) || reached.Load() != 0 {
		t.Errorf("got %v, and the other was reached %d times", err, reached.Load())
	}
}

func TestThreeRedirectsOnTheSameHostAreFollowed(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/x"); ok {
			http.Redirect(w, r, "/"+rest, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	})
	c := client(t, poll.ClientConfig{})
	if got, err := get(t, c, s.URL+"/xxx"); got != "Bearer secret" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestEndlessRedirectsEnd(t *testing.T) {
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "/again", http.StatusFound)
	})
	if _, err := get(t, client(t, poll.ClientConfig{}), s.URL); !errors.Is(err, poll.ErrRedirect) || asked.Load() != 4 {
		t.Errorf("got %v after %d requests", err, asked.Load())
	}
}

func TestAnAnswerThatIsTooLargeIsAnError(t *testing.T) {
	const limit = 64 << 20
	read := func(size int64) (int64, error) {
		c := poll.NewClientOver(poll.ClientConfig{}, fake(func(*http.Request) (*http.Response, error) {
			body := io.NopCloser(io.LimitReader(zeros{}, size))
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body}, nil
		}))
		res, err := c.Get("https://platform.invalid/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return io.Copy(io.Discard, res.Body)
	}
	if n, err := read(limit); n != limit || err != nil {
		t.Errorf("got %d bytes, %v", n, err)
	}
	if n, err := read(limit + 1); n > limit || !errors.Is(err, poll.ErrTooLarge) {
		t.Errorf("got %d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestNothingGoesInTheClearToOthers(t *testing.T) {
	if _, err := get(t, client(t, poll.ClientConfig{}), "http://platform.invalid/"); !errors.Is(err, poll.ErrClear) {
		t.Errorf("got %v", err)
	}
	insecure := poll.NewClientOver(poll.ClientConfig{Insecure: true}, fake(func(*http.Request) (*http.Response, error) { return answer(200) }))
	if _, err := get(t, insecure, "http://platform.invalid/"); err != nil {
		t.Errorf("with insecure: %v", err)
	}
}

func TestOnlyTheConfiguredProxyIsUsed(t *testing.T) {
	var hosts []string
	proxy := serve(t, func(_ http.ResponseWriter, r *http.Request) { hosts = append(hosts, r.Host) })
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, client(t, poll.ClientConfig{Proxy: at, Insecure: true}), "http://platform.invalid/"); err != nil {
		t.Error(err)
	}
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("http_proxy", proxy.URL)
	direct := client(t, poll.ClientConfig{Insecure: true})
	direct.Timeout = 200 * time.Millisecond
	if _, err := get(t, direct, "http://192.0.2.1/"); err == nil { // an address of documentation (RFC 5737)
		t.Error("a host that doesn't exist answered")
	}
	if diff := cmp.Diff([]string{"platform.invalid"}, hosts); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func TestAPlatformShowsACertificateOfTheRoots(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if _, err := get(t, client(t, poll.ClientConfig{Roots: roots}), s.URL); err != nil {
		t.Error(err)
	}
	var unknown x509.UnknownAuthorityError
	if _, err := get(t, client(t, poll.ClientConfig{Roots: x509.NewCertPool()}), s.URL); !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
}

func TestErrorsOfSessionsHaveNoURL(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	session := handlers.NewSession(client(t, poll.ClientConfig{}), func(context.Context, handlers.Ask, handlers.Token) (handlers.Token, error) {
		return handlers.Token{Value: "t"}, nil
	})
	for _, at := range []string{s.URL + "/private?secret=1", "http://192.0.2.1/private?secret=1", "http://[/private?secret=1"} {
		_, err := session.Do(t.Context(), handlers.Call{Endpoint: "things", URL: at})
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "private") {
			t.Errorf("got %v", err)
		}
	}
}

// fake answers in memory.
type fake func(*http.Request) (*http.Response, error)

func (f fake) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(code int) (*http.Response, error) {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody}, nil
}

func TestAPlatformThatFailsIsLeftAloneForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, code := 0, 500
		c := poll.NewClientOver(poll.ClientConfig{Source: "src", Rate: 1000, Burst: 1000}, fake(func(*http.Request) (*http.Response, error) {
			asked++
			return answer(code)
		}))
		for range 50 {
			_, _ = get(t, c, "https://platform.invalid/")
		}
		if asked != 10 {
			t.Errorf("asked %d times", asked)
		}
		if _, err := get(t, c, "https://platform.invalid/"); !errors.Is(err, poll.ErrLeftAlone) {
			t.Errorf("got %v", err)
		}
		time.Sleep(31 * time.Second)
		code = 404
		for range 5 {
			if _, err := get(t, c, "https://platform.invalid/"); err != nil {
				t.Error(err)
			}
		}
		if asked != 15 {
			t.Errorf("asked %d times", asked)
		}
	})
}

func TestRequestsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := poll.NewClientOver(poll.ClientConfig{Source: "src"}, fake(func(*http.Request) (*http.Response, error) { return answer(200) }))
		began := time.Now()
		for range 50 {
			if _, err := get(t, c, "https://platform.invalid/"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began).Round(time.Second); took != 3*time.Second {
			t.Errorf("50 requests took %s", took)
		}
	})
}

func TestRequestsAreCountedByClosedSets(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := poll.NewMetrics(reg)
	codes := []int{200, 200, 404, 503, 299, 777, 0}
	c := poll.NewClientOver(poll.ClientConfig{Source: "src", Metrics: m}, fake(func(*http.Request) (*http.Response, error) {
		code := codes[0]
		codes = codes[1:]
		if code == 0 {
			return nil, context.DeadlineExceeded
		}
		return answer(code)
	}))
	for range len(codes) {
		_, _ = get(t, c, "https://platform.invalid/")
	}
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			text := f.GetName()
			for _, l := range metric.GetLabel() {
				text += " " + l.GetValue()
			}
			got[text] = metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"postern_upstream_requests_total 200 things src":       2,
		"postern_upstream_requests_total 404 things src":       1,
		"postern_upstream_requests_total 503 things src":       1,
		"postern_upstream_requests_total 2xx things src":       1,
		"postern_upstream_requests_total other things src":     1,
		"postern_upstream_requests_total timeout things src":   1,
		"postern_upstream_request_duration_seconds things src": 7,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
