package ingress_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/receiver/ingress"
)

// selfSigned returns a certificate for 127.0.0.1 that ends when it says, and
// its key.
func selfSigned(t *testing.T, end time.Time) (cert, key []byte) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(end.Unix()),
		Subject:      pkix.Name{CommonName: "gate"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     end,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
}

// files writes a certificate and its key into a folder.
type files struct{ cert, key string }

func newFiles(t *testing.T) files {
	dir := t.TempDir()
	return files{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
}

func (f files) write(t *testing.T, cert, key []byte) {
	t.Helper()
	for path, data := range map[string][]byte{f.cert: cert, f.key: key} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// shown returns the serial number of the certificate that the gate shows.
func (g *gate) shown(t *testing.T, cfg *tls.Config) (*tls.ConnectionState, error) {
	t.Helper()
	cfg.InsecureSkipVerify = true
	c, err := (&tls.Dialer{NetDialer: dialer(friend), Config: cfg}).DialContext(t.Context(), "tcp", g.addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	state := c.(*tls.Conn).ConnectionState()
	return &state, nil
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	f := newFiles(t)
	cert1, key1 := selfSigned(t, now.Add(time.Hour))
	f.write(t, cert1, key1)
	logged := &logs{}
	cert, err := ingress.LoadCertificate(f.cert, f.key, slog.New(slog.NewTextHandler(logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	cert.Recheck(0)
	g := open(t, func(c *ingress.Config) { c.Certificate = cert })
	end := func() time.Time {
		state, err := g.shown(t, &tls.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].NotAfter
	}
	if got := end(); !got.Equal(now.Add(time.Hour)) {
		t.Fatalf("shows one that ends %v", got)
	}
	// What is half written changes nothing, and is told once.
	cert2, key2 := selfSigned(t, now.Add(2*time.Hour))
	f.write(t, cert2, key1)
	for range 3 {
		if got := end(); !got.Equal(now.Add(time.Hour)) {
			t.Fatalf("shows one that ends %v", got)
		}
	}
	if got := strings.Count(logged.String(), "not reloaded"); got != 1 {
		t.Errorf("told %d times: %s", got, logged)
	}
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	if got := end(); !got.Equal(now.Add(time.Hour)) {
		t.Fatalf("shows one that ends %v", got)
	}
	f.write(t, cert2, key2)
	if got := end(); !got.Equal(now.Add(2 * time.Hour)) {
		t.Errorf("shows one that ends %v", got)
	}
	v, ok := g.metric(t, "postern_certificate_expiry_timestamp_seconds", map[string]string{"source": "postern", "name": "ingress"})
	if !ok || v != float64(now.Add(2*time.Hour).Unix()) {
		t.Errorf("metric says %v, %v", v, ok)
	}
}

func TestFilesAreNotReadForEachHandshake(t *testing.T) {
	f := newFiles(t)
	now := time.Now().Truncate(time.Second)
	cert1, key1 := selfSigned(t, now.Add(time.Hour))
	cert2, key2 := selfSigned(t, now.Add(2*time.Hour))
	f.write(t, cert1, key1)
	cert, err := ingress.LoadCertificate(f.cert, f.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, cert2, key2)
	if got := cert.NotAfter(); !got.Equal(now.Add(time.Hour)) {
		t.Errorf("ends %v", got)
	}
}

func TestCertificateThatIsNoneIsRefused(t *testing.T) {
	f := newFiles(t)
	if _, err := ingress.LoadCertificate(f.cert, f.key, nil); err == nil {
		t.Error("missing files were accepted")
	}
	cert, _ := selfSigned(t, time.Now().Add(time.Hour))
	_, other := selfSigned(t, time.Now().Add(time.Hour))
	f.write(t, cert, other)
	_, err := ingress.LoadCertificate(f.cert, f.key, nil)
	if err == nil || !strings.Contains(err.Error(), f.key) {
		t.Errorf("a key of another certificate: %v", err)
	}
}

func TestTLSIs12OrNewerAndHTTP11Only(t *testing.T) {
	f := newFiles(t)
	certPEM, key := selfSigned(t, time.Now().Add(time.Hour))
	f.write(t, certPEM, key)
	cert, err := ingress.LoadCertificate(f.cert, f.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g := open(t, func(c *ingress.Config) { c.Certificate = cert })
	if _, err := g.shown(t, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	state, err := g.shown(t, &tls.Config{NextProtos: []string{"h2", "http/1.1"}})
	if err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("negotiated %v, %v", state, err)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	client := from(t, friend)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	resp, err := client.Post("https://"+g.addr+"/hooks/one", "text/plain; charset=UTF-8", strings.NewReader("ok a1")) //nolint:noctx // the client has a timeout
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("heard %d", resp.StatusCode)
	}
}

func TestHandshakesThatNeverEndMakeRoom(t *testing.T) {
	f := newFiles(t)
	certPEM, key := selfSigned(t, time.Now().Add(time.Hour))
	f.write(t, certPEM, key)
	cert, err := ingress.LoadCertificate(f.cert, f.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g := open(t, func(c *ingress.Config) { c.Certificate, c.MaxConnections = cert, 2 })
	var silent []net.Conn
	for range 2 {
		silent = append(silent, g.dial(t, friend))
	}
	if _, err := g.shown(t, &tls.Config{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the oldest is closed", func() bool { return gone(silent[0]) })
	// What breaks before a request came is logged once, not each time.
	_, _ = io.WriteString(silent[1], "POST / HTTP/1.1\r\n\r\n")
	for range 3 {
		c := g.dial(t, friend)
		_, _ = c.Write(bytes.Repeat([]byte{0x16}, 64))
		eventually(t, "closed", func() bool { return gone(c) })
	}
	eventually(t, "logged", func() bool { return strings.Contains(g.logs.String(), "tls_handshake") })
	if got := strings.Count(g.logs.String(), "tls_handshake"); got != 1 {
		t.Errorf("logged %d times", got)
	}
}

func TestReplacedCertificateIsShownAndFollowed(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	log := slog.New(slog.NewTextHandler(&logs{}, nil))
	load := func(hours int) (files, *ingress.Certificate) {
		f := newFiles(t)
		f.renew(t, now.Add(time.Duration(hours)*time.Hour))
		cert, err := ingress.LoadCertificate(f.cert, f.key, log)
		if err != nil {
			t.Fatal(err)
		}
		cert.Recheck(0)
		return f, cert
	}
	before, cert := load(1)
	after, next := load(2)
	cert.Replace(next)
	want := func(when string, hours int) {
		t.Helper()
		if got := cert.NotAfter(); !got.Equal(now.Add(time.Duration(hours) * time.Hour)) {
			t.Errorf("%s it shows one that ends %v", when, got)
		}
	}
	want("at once", 2)
	before.renew(t, now.Add(3*time.Hour))
	want("after a change of the old files", 2)
	after.renew(t, now.Add(4*time.Hour))
	want("after a change of the new files", 4)
}

// renew writes a new certificate that ends when it says, and its key.
func (f files) renew(t *testing.T, end time.Time) {
	t.Helper()
	cert, key := selfSigned(t, end)
	f.write(t, cert, key)
}
