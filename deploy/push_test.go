package deploy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// Callers of the tests. Only friend is on the receivers' allow-lists.
const (
	friend   = "127.0.0.7"
	stranger = "127.0.0.8"
)

// runMakeSecrets runs compose/make-secrets.sh in a folder of its own, twice, as
// operators will, and returns the folder of the secrets.
func runMakeSecrets() (string, error) {
	text, err := os.ReadFile("compose/make-secrets.sh")
	if err != nil {
		return "", err
	}
	script := filepath.Join(shared, "make-secrets.sh")
	if err := os.WriteFile(script, text, 0o700); err != nil {
		return "", err
	}
	dir := filepath.Join(shared, "secrets")
	var first []byte
	for range 2 {
		if out, err := exec.Command("/bin/sh", script, "postern.example.com").CombinedOutput(); err != nil {
			return "", fmt.Errorf("make-secrets.sh: %w\n%s", err, out)
		}
		key, err := os.ReadFile(filepath.Join(dir, "seal.key"))
		if err != nil {
			return "", err
		}
		if first != nil && !bytes.Equal(key, first) {
			return "", fmt.Errorf("make-secrets.sh made another seal key when it was run again")
		}
		first = key
	}
	return dir, nil
}

// secretsOf returns the folder of what make-secrets.sh made.
func secretsOf(t *testing.T) string {
	t.Helper()
	tool(t, "openssl", "openssl")
	return must(t, makeSecrets)
}

// insideCA returns the CA that make-secrets.sh made.
func insideCA(t *testing.T, secrets string) *x509.CertPool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(secrets, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		t.Fatal("ca.pem holds no certificate")
	}
	return pool
}

// caller pushes from an address of its own.
type caller struct{ client *http.Client }

func newCaller(t *testing.T, from string, roots *x509.CertPool) caller {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return caller{&http.Client{Transport: transport, Timeout: patience}}
}

// push posts a push and returns the answer with its body read.
func (c caller) push(t *testing.T, url string, p corastonetest.Push) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = p.Header.Clone()
	res, err := c.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, body, err
}

// want pushes and fails the test if the answer isn't status.
func (c caller) want(t *testing.T, status int, url string, p corastonetest.Push) {
	t.Helper()
	res, body, err := c.push(t, url, p)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Fatalf("a push was answered %s %s, want %d", res.Status, body, status)
	}
}

// get returns the body of what is at url.
func (c caller) get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", url, res.Status, err)
	}
	return string(body)
}

// newNode returns a stand-in of the platform.
func newNode(t *testing.T, seed uint64) *corastonetest.Node {
	t.Helper()
	signer, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return corastonetest.NewNode(signer, corastonetest.Topic, seed)
}

// signerCertificate returns what receivers pin.
func signerCertificate(t *testing.T) string {
	t.Helper()
	signer, err := corastonetest.Shared()
	if err != nil {
		t.Fatal(err)
	}
	return string(signer.Certificate())
}

// notify returns the push of a new fact.
func notify(t *testing.T, n *corastonetest.Node) corastonetest.Push {
	t.Helper()
	p, err := n.Notify(n.Process("createInvestment", "success", n.AssetID()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
