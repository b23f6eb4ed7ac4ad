package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log" //nolint:depguard // to have a test server be quiet
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

const snsHost = "sns.eu-central-1.amazonaws.com"

// world is what postern finds outside: a proxy, and behind it one server that
// is all hosts at once. Nothing leaves this machine.
type world struct {
	proxy, ca string // URL and PEM

	mu    sync.Mutex
	asked []string // what the proxy was asked to connect to
	serve http.Handler
	fault int // what the proxy answers instead
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	cert, pair := serverCertificate(t, names...)
	w := &world{ca: cert}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.handler().ServeHTTP(rw, r) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.tunnel(rw, r, server.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	w.proxy = proxy.URL
	return w
}

func (w *world) handler() http.Handler {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.serve
}

func (w *world) tunnel(rw http.ResponseWriter, r *http.Request, to string) {
	w.mu.Lock()
	w.asked = append(w.asked, r.Method+" "+r.Host)
	fault := w.fault
	w.mu.Unlock()
	if r.Method != http.MethodConnect || fault != 0 {
		rw.WriteHeader(max(fault, http.StatusBadRequest))
		return
	}
	there, err := net.Dial("tcp", to)
	if err != nil {
		rw.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = there.Close() }()
	here, sent, err := rw.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = here.Close() }()
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(there, sent)
		_ = there.Close()
	}()
	_, _ = io.Copy(here, there)
}

// connected returns what the proxy was asked for.
func (w *world) connected() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked)
}

func (w *world) fetch() handlers.Fetch {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(w.ca))
	return newFetch(Outbound{Proxy: w.proxy, roots: roots})
}

// serverCertificate returns a certificate for names, itself a root.
func serverCertificate(t *testing.T, names ...string) (string, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestOnlyPublicAddressesAreReached(t *testing.T) {
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "52.94.5.1": true, "99.83.128.1": true, "1.1.1.1": true, "172.15.255.255": true, "172.32.0.1": true,
		"100.63.255.255": true, "100.128.0.1": true, "192.167.1.1": true, "223.255.255.254": true,
		"2600:1f18::1": true, "2a05:d014::1": true, "2001:4860:4860::8888": true, "2001:200::1": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "10.255.255.255": false, "127.0.0.1": false, "127.8.8.8": false,
		"100.64.0.1": false, "100.127.255.255": false, // carrier-grade NAT
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"192.0.0.1": false, "192.0.2.1": false, "198.51.100.1": false, "203.0.113.1": false, "198.18.0.1": false, "198.19.255.255": false,
		"192.88.99.1": false, "224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::8.8.8.8": false, "::ffff:8.8.8.8": false, "::ffff:127.0.0.1": false, "::ffff:0:8.8.8.8": false,
		"64:ff9b::8.8.8.8": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false, // NAT64
		"2002:808:808::1": false, "2002:7f00:1::": false, // 6to4
		"2001::1": false, "2001:0:4136:e378:8000:63bf:3fff:fdd2": false, // Teredo
		"2001:20::1": false, "2001:db8::1": false, "3fff::1": false, "100::1": false, "5f00::1": false,
		"fc00::1": false, "fd12:3456::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
		"2600:1f18::1%eth0": false, "4000::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: public %v, want %v", addr, got, want)
		}
		err := onlyPublic("tcp", net.JoinHostPort(addr, "443"), nil)
		if (err == nil) != want {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if isPublic(netip.Addr{}) || onlyPublic("tcp", "localhost:443", nil) == nil || onlyPublic("tcp", "", nil) == nil {
		t.Error("what is no address is public")
	}
}

// TestNobodyAtHomeIsFetchedFrom: the address counts, whatever the name was.
func TestNobodyAtHomeIsFetchedFrom(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	fetch := newFetch(Outbound{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"} {
		_, err := fetch(t.Context(), "https://"+host+":"+port+"/SimpleNotificationService-0.pem")
		if !errors.Is(err, errNotPublic) || errors.Is(err, handlers.ErrNotThere) {
			t.Errorf("%s: %v", host, err)
		}
	}
	_ = l.Close()
	if c := <-accepted; c != nil {
		t.Error("somebody at home was dialed")
	}
}

func TestNoProxyIsUsedThatIsNotConfigured(t *testing.T) {
	if newTransport(Outbound{}).Proxy != nil {
		t.Error("the environment may choose a proxy")
	}
}

func TestFetchTakesOnlyWhatIsThere(t *testing.T) {
	w := newWorld(t, snsHost)
	const path = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	answer := func(code int, body string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", "https://elsewhere.example/")
			rw.WriteHeader(code)
			_, _ = io.WriteString(rw, body)
		}
	}
	for name, c := range map[string]struct {
		serve    http.Handler
		body     string
		notThere bool
		want     string // in the error
	}{
		"there":          {answer(200, "PEM"), "PEM", false, ""},
		"as large as ok": {answer(200, strings.Repeat("x", 64<<10)), strings.Repeat("x", 64<<10), false, ""},
		"too large":      {answer(200, strings.Repeat("x", 64<<10+1)), "", false, "65536"},
		"endless": {http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := rw.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}), "", false, "65536"},
		"moved":           {answer(301, "PEM"), "", false, "301"},
		"found":           {answer(302, "PEM"), "", false, "302"},
		"see other":       {answer(307, "PEM"), "", false, "307"},
		"no content":      {answer(204, ""), "", false, "204"},
		"in part":         {answer(206, "PEM"), "", false, "206"},
		"bad":             {answer(400, "PEM"), "", true, "400"},
		"forbidden":       {answer(403, "PEM"), "", true, "403"},
		"not there":       {answer(404, "PEM"), "", true, "404"},
		"gone":            {answer(410, "PEM"), "", true, "410"},
		"request timeout": {answer(408, ""), "", false, "408"},
		"too early":       {answer(425, ""), "", false, "425"},
		"too many":        {answer(429, ""), "", false, "429"},
		"failing":         {answer(500, "PEM"), "", false, "500"},
		"unavailable":     {answer(503, "PEM"), "", false, "503"},
		"hangs up": {http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		}), "", false, "ended the exchange"},
		"breaks off": {http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(rw, "PEM")
		}), "", false, "ended the exchange"},
	} {
		t.Run(name, func(t *testing.T) {
			w.mu.Lock()
			w.serve, w.asked = c.serve, nil
			w.mu.Unlock()
			body, err := w.fetch()(t.Context(), "https://"+snsHost+path)
			if string(body) != c.body || (err == nil) != (c.want == "") || errors.Is(err, handlers.ErrNotThere) != c.notThere {
				t.Fatalf("%d bytes, %v", len(body), err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "0123456789abcdef")) {
				t.Errorf("error %q", err)
			}
			if got := w.connected(); !slices.Equal(got, []string{"CONNECT " + snsHost + ":443"}) {
				t.Errorf("asked for %q", got)
			}
		})
	}
}

func TestFetchSaysWhyNobodyAnswers(t *testing.T) {
	const url = "https://" + snsHost + "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nobody listens there any more
	for name, c := range map[string]struct {
		fetch func(*testing.T) (handlers.Fetch, context.Context)
		want  string
	}{
		"proxy refuses": {func(t *testing.T) (handlers.Fetch, context.Context) {
			w := newWorld(t, snsHost)
			w.fault = http.StatusForbidden
			return w.fetch(), t.Context()
		}, "proxy refused"},
		"nobody listens": {func(t *testing.T) (handlers.Fetch, context.Context) {
			return newFetch(Outbound{Proxy: "http://" + l.Addr().String()}), t.Context()
		}, "connection refused"},
		"another name": {func(t *testing.T) (handlers.Fetch, context.Context) {
			w := newWorld(t, "other.example")
			w.serve = ok
			return w.fetch(), t.Context()
		}, "not trusted"},
		"not trusted": {func(t *testing.T) (handlers.Fetch, context.Context) {
			w := newWorld(t, snsHost)
			w.serve = ok
			return newFetch(Outbound{Proxy: w.proxy, roots: x509.NewCertPool()}), t.Context()
		}, "not trusted"},
		"slow": {func(t *testing.T) (handlers.Fetch, context.Context) {
			w := newWorld(t, snsHost)
			w.serve = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(rw, "P")
				_ = http.NewResponseController(rw).Flush()
				<-r.Context().Done()
				panic(http.ErrAbortHandler) // so that what was sent is never a whole answer
			})
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			t.Cleanup(cancel)
			return w.fetch(), ctx
		}, "in time"},
	} {
		t.Run(name, func(t *testing.T) {
			fetch, ctx := c.fetch(t)
			body, err := fetch(ctx, url)
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, handlers.ErrNotThere) {
				t.Errorf("%q, %v", body, err)
			}
			if err != nil && strings.Contains(err.Error(), "0123456789abcdef") {
				t.Errorf("error holds the URL: %v", err)
			}
		})
	}
}

// TestCertificateIsFetchedOnTheWholeRoad: a receiver that verifies with the
// certificate that SNS names, with all of the way out configured.
func TestCertificateIsFetchedOnTheWholeRoad(t *testing.T) {
	authority, err := corastonetest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	host := &corastonetest.CertificateHost{}
	signer, err := host.Certify(authority, testSigner(t), corastonetest.Leaf{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, snsHost)
	w.serve = host
	r := newReceiver(t, `
outbound: {proxy: "`+w.proxy+`", ca_file: out.pem}
sources:
  corastone:
    push: {signature: required, regions: [eu-central-1], ca_bundle: amazon.pem, certificates: []}
`)
	r.write("out.pem", w.ca)
	r.write("amazon.pem", string(authority.Intermediate())+string(authority.Root()))
	r.start()

	node := corastonetest.NewNode(signer, corastonetest.Topic, 77)
	for range 3 {
		p, err := node.Notify(node.Process("createInvestment", "success", node.AssetID()))
		if err != nil {
			t.Fatal(err)
		}
		if status, id := r.pushed(p); status != http.StatusOK || id == "" {
			t.Fatalf("answered %d %q\n%s", status, id, r.stderr)
		}
	}
	if got := w.connected(); !slices.Equal(got, []string{"CONNECT " + snsHost + ":443"}) {
		t.Errorf("asked for %q", got)
	}
	for name, c := range map[string]struct {
		change func(*corastonetest.Envelope)
		fault  int
		want   int
	}{
		"forged":         {func(e *corastonetest.Envelope) { e.Message += " " }, 0, http.StatusForbidden},
		"from elsewhere": {func(e *corastonetest.Envelope) { e.SigningCertURL = "https://sns.s3-us-west-2.amazonaws.com/x.pem" }, 0, http.StatusForbidden},
		"not there":      {func(e *corastonetest.Envelope) { e.SigningCertURL = corastonetest.CertificateURL("eu-central-1", nil) }, 0, http.StatusForbidden},
		"blank":          {func(e *corastonetest.Envelope) { e.SigningCertURL = "" }, 0, http.StatusServiceUnavailable},
		"host failing": {func(e *corastonetest.Envelope) {
			e.SigningCertURL = corastonetest.CertificateURL("eu-central-1", []byte("x"))
		}, 503, http.StatusServiceUnavailable},
	} {
		host.Fail(c.fault)
		e, err := signer.Sign(node.Notification(node.Process("createInvestment", "success", node.AssetID())))
		if err != nil {
			t.Fatal(err)
		}
		c.change(&e)
		if status, _ := r.pushed(e.Push()); status != c.want {
			t.Errorf("%s: answered %d, want %d", name, status, c.want)
		}
	}
	for _, asked := range w.connected() {
		if asked != "CONNECT "+snsHost+":443" {
			t.Errorf("asked for %q", asked)
		}
	}
}
