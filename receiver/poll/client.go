package poll

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/seed75441868/postern/handlers"
)

// ClientConfig is what a client needs.
type ClientConfig struct {
	Source string
	// Proxy is where requests go instead of to the platform, nil: nowhere.
	// What environment variables say of proxies is ignored.
	Proxy *url.URL
	// Roots issue the certificates of platforms. Nil: the system's.
	Roots   *x509.CertPool
	Version string // of Postern, for the User-Agent
	// Insecure lets requests go in the clear to any host, and not only to this
	// machine.
	Insecure bool
	// Rate and Burst bound how many requests begin in a second. 0: 10 and 20.
	Rate  float64
	Burst int
	// Metrics may be nil: then nothing is counted.
	Metrics *Metrics
}

// What bounds a request.
const (
	dialTimeout   = 5 * time.Second
	tlsTimeout    = 5 * time.Second
	headerTimeout = 30 * time.Second
	wholeTimeout  = 2 * time.Minute
	maxBody       = 64 << 20
	maxRedirects  = 3

	defaultRate  = 10
	defaultBurst = 20

	// After so many failures in a row nothing is sent for a while, and then
	// one request to see how it goes.
	breakAfter = 10
	breakFor   = 30 * time.Second
)

// Errors of requests that were not sent, or whose answer is not taken.
const (
	ErrClear    = handlers.ClientError("requests in the clear go to this machine only; write https, or set insecure")
	ErrRedirect = handlers.ClientError("it redirects to another host or too often; that is not followed")
	ErrTooLarge = handlers.ClientError("the answer is larger than 64 MiB")
	// ErrLeftAlone says that the platform failed so often that nothing is sent
	// for a while.
	ErrLeftAlone = handlers.ClientError("it failed too often in a row and is left alone for half a minute")

	errCrowded = handlers.ClientError("too many requests at once")
)

// NewClient returns what a source reaches its platform by: bounded in time and
// size, paced, with our User-Agent, and without redirects to other hosts. Its
// errors, unwrapped of the [url.Error] that the library puts around them, hold
// no URL. It keeps connections open: CloseIdleConnections when it is replaced.
func NewClient(cfg ClientConfig) *http.Client {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots},
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    4,
		MaxResponseHeaderBytes: 256 << 10,
	}
	if cfg.Proxy != nil {
		transport.Proxy = http.ProxyURL(cfg.Proxy)
	}
	return newClient(cfg, transport)
}

func newClient(cfg ClientConfig, next http.RoundTripper) *http.Client {
	if cfg.Rate <= 0 {
		cfg.Rate = defaultRate
	}
	if cfg.Burst <= 0 {
		cfg.Burst = defaultBurst
	}
	return &http.Client{
		Timeout: wholeTimeout,
		Transport: &upstream{
			cfg:     cfg,
			next:    next,
			limiter: rate.NewLimiter(rate.Limit(cfg.Rate), cfg.Burst),
			breaker: gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
				Name:        cfg.Source,
				Timeout:     breakFor,
				ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakAfter },
				// Who gave up says nothing of the platform.
				IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
			}),
		},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			first := via[0].URL
			if next.URL.Scheme != first.Scheme || next.URL.Host != first.Host || len(via) > maxRedirects {
				return ErrRedirect
			}
			return nil
		},
	}
}

// upstream sends the requests of one source.
type upstream struct {
	cfg     ClientConfig
	next    http.RoundTripper
	limiter *rate.Limiter
	breaker *gobreaker.TwoStepCircuitBreaker[any]
}

// errServer stands for an answer that says that the platform has a problem.
var errServer = errors.New("the platform failed")

// RoundTrip implements http.RoundTripper.
func (u *upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	count := func(code string, took time.Duration) {
		if u.cfg.Metrics != nil {
			u.cfg.Metrics.asked(u.cfg.Source, handlers.Endpoint(ctx), code, took)
		}
	}
	closeBody := func() {
		if req.Body != nil {
			_ = req.Body.Close()
		}
	}
	if !u.mayGo(req.URL) {
		closeBody()
		return nil, ErrClear
	}
	if err := u.limiter.Wait(ctx); err != nil {
		closeBody()
		return nil, errors.Join(ctx.Err(), errCrowded)
	}
	done, err := u.breaker.Allow()
	if err != nil {
		closeBody()
		count("paused", 0)
		return nil, ErrLeftAlone
	}
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", "postern/"+u.cfg.Version)
	began := time.Now()
	res, err := u.next.RoundTrip(req)
	took := time.Since(began)
	switch {
	case err != nil:
		code := "error"
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
			code = "timeout"
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			err = fmt.Errorf("%w: %w", context.Canceled, err)
		}
		done(err)
		count(code, took)
		return nil, err
	case res.StatusCode >= 500:
		done(errServer)
	default:
		done(nil)
	}
	count(codeLabel(res.StatusCode), took)
	res.Body = &bounded{body: res.Body, left: maxBody}
	return res, nil
}

// CloseIdleConnections is what [http.Client] calls.
func (u *upstream) CloseIdleConnections() {
	if t, ok := u.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// mayGo reports whether a request may go to a URL: what is in the clear stays
// on this machine.
func (u *upstream) mayGo(at *url.URL) bool {
	if at.Scheme == "https" || u.cfg.Insecure {
		return true
	}
	host := at.Hostname()
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// bounded is a body that fails when it is too large: one that was cut short
// could be taken for a whole one.
type bounded struct {
	body io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, ErrTooLarge
	}
	// One byte more than may come shows whether there is more.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.body.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

func (b *bounded) Close() error { return b.body.Close() }
