package ingress_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
)

// issuer issues certificates.
type issuer struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue returns a certificate of a new key; without a parent it signs itself.
func issue(t *testing.T, parent *issuer, change func(*x509.Certificate)) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "relay"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	if parent == nil {
		parent = &issuer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Certificate, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{cert, key}
}

// authority makes a certificate that may issue others.
func authority(c *x509.Certificate) {
	c.Subject.CommonName, c.ExtKeyUsage = "authority", nil
	c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
}

// shows returns what a client shows: its certificate and those behind it.
func shows(leaf *issuer, chain ...*issuer) *tls.Config {
	pair := tls.Certificate{PrivateKey: leaf.key, Certificate: [][]byte{leaf.Raw}}
	for _, c := range chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// client returns one that calls from the friend's address over TLS and keeps
// its connections.
func client(t *testing.T, cfg *tls.Config) *http.Client {
	t.Helper()
	cfg.InsecureSkipVerify = true
	tr := &http.Transport{DialContext: dialer(friend).DialContext, TLSClientConfig: cfg}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// post pushes over TLS.
func (g *gate) post(t *testing.T, c *http.Client, source string) heard {
	t.Helper()
	resp, err := c.Post("https://"+g.addr+"/hooks/"+source, "text/plain", strings.NewReader("ok "+rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return heard{resp.StatusCode, resp.Header, string(text)}
}

// gateWithTLS has source one, which wants certificates of the issuers if there
// are any, and source three, which never does. Both let the friend push.
func gateWithTLS(t *testing.T, change func(*ingress.Config), issuers ...*issuer) *gate {
	t.Helper()
	f := newFiles(t)
	certPEM, keyPEM := selfSigned(t, time.Now().Add(time.Hour))
	f.write(t, certPEM, keyPEM)
	cert, err := ingress.LoadCertificate(f.cert, f.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return open(t, func(c *ingress.Config) {
		c.Certificate = cert
		c.Sources = clientSources(issuers...)
		if change != nil {
			change(c)
		}
	})
}

func clientSources(issuers ...*issuer) []handlers.Source {
	all := []handlers.Source{sources()[0], {Name: "three", Platform: "words", Push: &handlers.Push{
		Allow: []netip.Prefix{netip.MustParsePrefix(friend + "/32")}, Webhook: words{},
	}}}
	for _, i := range issuers {
		all[0].Push.ClientCAs = append(all[0].Push.ClientCAs, i.Certificate)
	}
	return all
}

func TestCallerMustShowACertificateWhereItsSourceWantsOne(t *testing.T) {
	root := issue(t, nil, authority)
	second := issue(t, nil, authority)
	stranger := issue(t, nil, authority)
	between := issue(t, root, authority)
	good := issue(t, root, nil)
	var heard refusedPushes
	g := gateWithTLS(t, func(c *ingress.Config) { c.Refused = heard.hear }, root, second)
	for name, c := range map[string]struct {
		cfg *tls.Config
		ok  bool
	}{
		"good":                  {shows(good), true},
		"of the second issuer":  {shows(issue(t, second, nil)), true},
		"with its chain":        {shows(issue(t, between, nil), between), true},
		"with all of its chain": {shows(issue(t, between, nil), between, root), true},
		"without its chain":     {shows(issue(t, between, nil)), false},
		"none":                  {&tls.Config{}, false},
		"of a stranger":         {shows(issue(t, stranger, nil)), false},
		"with a stranger's root": {
			shows(issue(t, stranger, nil), stranger), false,
		},
		"with our root behind":   {shows(issue(t, stranger, nil), stranger, root), false},
		"its own":                {shows(issue(t, nil, nil)), false},
		"its own of the name":    {shows(issue(t, nil, authority)), false},
		"of a leaf":              {shows(issue(t, good, nil), good), false},
		"past its date":          {shows(issue(t, root, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), false},
		"not yet good":           {shows(issue(t, root, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })), false},
		"of a server":            {shows(issue(t, root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), false},
		"TLS 1.2":                {&tls.Config{Certificates: shows(good).Certificates, MaxVersion: tls.VersionTLS12}, true},
		"TLS 1.2 and none":       {&tls.Config{MaxVersion: tls.VersionTLS12}, false},
		"TLS 1.2 and a stranger": {&tls.Config{Certificates: shows(issue(t, stranger, nil)).Certificates, MaxVersion: tls.VersionTLS12}, false},
	} {
		t.Run(name, func(t *testing.T) {
			caller := client(t, c.cfg)
			heard.take()
			for range 2 { // over one connection
				if h := g.post(t, caller, "three"); h.status != http.StatusOK {
					t.Errorf("three, which wants none, answers %d", h.status)
				}
				h := g.post(t, caller, "one")
				refusals := heard.take()
				if c.ok {
					if h.status != http.StatusOK || len(refusals) != 0 {
						t.Errorf("answered %d, %d refusals", h.status, len(refusals))
					}
					continue
				}
				wantError(t, h, http.StatusForbidden, "forbidden")
				if len(refusals) != 1 || refusals[0].Reason != handlers.ReasonCertificate || refusals[0].Body != nil {
					t.Errorf("told %+v", refusals)
				}
			}
		})
	}
	if got := g.count(t, "one", "rejected_certificate"); got == 0 {
		t.Error("not counted")
	}
}

// TestHandshakeProvesTheKey: a certificate is no secret.
func TestHandshakeProvesTheKey(t *testing.T) {
	root := issue(t, nil, authority)
	stolen := &issuer{issue(t, root, nil).Certificate, issue(t, root, nil).key}
	g := gateWithTLS(t, nil, root)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := shows(stolen)
		cfg.MaxVersion = version
		resp, err := client(t, cfg).Post("https://"+g.addr+"/hooks/one", "text/plain", strings.NewReader("ok 1"))
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("answered %d", resp.StatusCode)
		}
	}
}

// TestSourceThatWantsCertificatesLater: callers who were not asked when they
// connected are not refused for good, and are asked when they come again.
func TestSourceThatWantsCertificatesLater(t *testing.T) {
	root := issue(t, nil, authority)
	g := gateWithTLS(t, nil)
	for name, cache := range map[string]tls.ClientSessionCache{"": nil, "resuming": tls.NewLRUClientSessionCache(4)} {
		t.Run(name, func(t *testing.T) {
			if err := g.Update(clientSources()); err != nil {
				t.Fatal(err)
			}
			cfg := shows(issue(t, root, nil))
			cfg.ClientSessionCache = cache
			caller := client(t, cfg)
			if h := g.post(t, caller, "one"); h.status != http.StatusOK {
				t.Fatalf("answered %d", h.status)
			}
			if err := g.Update(clientSources(root)); err != nil {
				t.Fatal(err)
			}
			wantError(t, g.post(t, caller, "one"), http.StatusServiceUnavailable, "unavailable")
			if h := g.post(t, caller, "one"); h.status != http.StatusOK {
				t.Errorf("answered %d when it came again", h.status)
			}
			if err := g.Update(clientSources()); err != nil {
				t.Fatal(err)
			}
			if h := g.post(t, client(t, &tls.Config{}), "one"); h.status != http.StatusOK {
				t.Errorf("answered %d when none was wanted any more", h.status)
			}
		})
	}
}

// TestCertificatesNeedTLS: a source that wants what nobody can show does not
// open, nor does one that believes nobody.
func TestCertificatesNeedTLS(t *testing.T) {
	root := issue(t, nil, authority)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = ingress.New(l, ingress.Config{
		Sources: clientSources(root), Journal: &fakeJournal{}, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("New: %v", err)
	}
	if err := open(t, nil).Update(clientSources(root)); err == nil {
		t.Error("Update took it")
	}
	nobody := clientSources()
	nobody[0].Push.ClientCAs = []*x509.Certificate{}
	g := gateWithTLS(t, nil)
	if err := g.Update(nobody); err == nil {
		t.Error("Update took a source that believes nobody")
	}
	if h := g.post(t, client(t, &tls.Config{}), "one"); h.status != http.StatusOK {
		t.Errorf("what was refused changed something: %d", h.status)
	}
}
