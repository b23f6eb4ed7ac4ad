package main

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
	"syscall"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// How a certificate is fetched: whoever may push can make us do it.
const (
	fetchTimeout = 3 * time.Second
	maxFetched   = 64 << 10
)

var (
	errNotPublic = errors.New("its address is not a public one")
	errProxy     = errors.New("the proxy refused to connect")
)

// systemRoots returns the roots that this machine trusts; none if it has none.
func systemRoots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return x509.NewCertPool()
	}
	return pool
}

// outboundRoots are those of the system and of the file that ca_file names.
func (l *loading) outboundRoots(file Path, path string) *x509.CertPool {
	pool := systemRoots()
	if file == "" {
		return pool
	}
	data, err := l.read(string(file), maxOtherFile)
	if err != nil {
		l.missing(path, string(file), err)
		return pool
	}
	if !pool.AppendCertsFromPEM(data) {
		l.faultAt(path, "names %s, which holds no certificate in PEM", file)
	}
	return pool
}

// newFetch returns how sources fetch certificates: without redirects and
// without the proxies that environment variables name, from public addresses
// only, unless a proxy that is configured looks after that. Each fetch has a
// connection of its own, so that there is nothing to close.
func newFetch(o Outbound) handlers.Fetch {
	client := &http.Client{
		Transport:     newTransport(o),
		Timeout:       fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, at string) ([]byte, error) { return fetch(ctx, client, at) }
}

func newTransport(o Outbound) *http.Transport {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: fetchTimeout, Control: onlyPublic}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.roots},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
	}
	if proxy, err := url.Parse(o.Proxy); err == nil && o.Proxy != "" {
		transport.Proxy = http.ProxyURL(proxy)
		transport.DialContext = (&net.Dialer{Timeout: fetchTimeout}).DialContext // nobody but the proxy is dialed
		transport.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("%w: it answered %d", errProxy, res.StatusCode)
			}
			return nil
		}
	}
	return transport
}

func fetch(ctx context.Context, client *http.Client, at string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, errors.New("it has no URL")
	}
	req.Header.Set("User-Agent", "postern")
	res, err := client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer res.Body.Close()
	switch code := res.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests,
		code < 400, code >= 500:
		return nil, fmt.Errorf("its host answered %d", code)
	default:
		return nil, fmt.Errorf("%w: its host answered %d", handlers.ErrNotThere, code)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxFetched+1))
	if err != nil {
		return nil, withoutURL(err)
	}
	if len(body) > maxFetched {
		return nil, fmt.Errorf("it has more than %d bytes", maxFetched)
	}
	return body, nil
}

// withoutURL says why a request failed, in words that hold nothing of its URL,
// nor of what was answered.
func withoutURL(err error) error {
	var (
		timeout     net.Error
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		system      syscall.Errno
	)
	switch {
	case errors.Is(err, errNotPublic):
		return errNotPublic
	case errors.Is(err, errProxy):
		return errProxy
	case errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("its host did not answer in time")
	case errors.As(err, &dns):
		return errors.New("the name of its host, or of the proxy, can't be resolved")
	case errors.As(err, &certificate):
		return errors.New("its host, or the proxy, shows a TLS certificate that is not trusted; outbound.ca_file may lack a root")
	case errors.As(err, &system):
		return fmt.Errorf("its host, or the proxy, can't be reached: %w", system)
	default:
		return errors.New("its host, or the proxy, ended the exchange")
	}
}

// onlyPublic is a [net.Dialer]'s Control. It sees the address that is dialed,
// whatever the name resolved to and when.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(to.Addr()) {
		return errNotPublic
	}
	return nil
}

// notPublic are the networks that are not somebody's on the internet, or lead
// to others: IANA's special-purpose registries (RFC 6890), without those of
// IPv6 that lie outside of 2000::/3 anyway.
var notPublic = prefixesOf(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23",     // protocols: Teredo, ORCHID, benchmarks
	"2001:db8::/32", // examples
	"2002::/16",     // 6to4
	"2620:4f:8000::/48",
	"3fff::/20", // examples
)

var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixesOf(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// isPublic reports whether addr is somebody's on the internet. An IPv4 address
// in the clothes of an IPv6 one (mapped, NAT64) never is, nor one with a zone.
func isPublic(addr netip.Addr) bool {
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(addr) {
			return false
		}
	}
	return addr.IsValid()
}
