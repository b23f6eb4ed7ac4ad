package ingress

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// recheck is how often handshakes look whether the files changed.
const recheck = 2 * time.Second

// Certificate is a listener's certificate and key. It follows its files: when
// their content changes, later handshakes show the new one, and connections
// stay. It is safe for concurrent use.
type Certificate struct {
	log     *slog.Logger
	recheck time.Duration

	current atomic.Pointer[tls.Certificate]

	mu                sync.Mutex // held by who looks at the files
	certFile, keyFile string
	checked           time.Time
	content           [sha256.Size]byte // of the files, whose certificate is current
	problem           string            // what was logged last
}

// LoadCertificate reads a PEM certificate, with its chain, and its key.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, recheck: recheck}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Config returns what a listener needs to show the certificate: TLS 1.2 or
// newer, HTTP/1.1 only.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.latest(), nil
		},
	}
}

// Replace makes c show what next shows, and follow next's files from now on.
func (c *Certificate) Replace(next *Certificate) {
	next.mu.Lock()
	certFile, keyFile, content, current := next.certFile, next.keyFile, next.content, next.current.Load()
	next.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certFile, c.keyFile, c.content, c.checked, c.problem = certFile, keyFile, content, time.Now(), ""
	c.current.Store(current)
}

// NotAfter returns when the certificate ends.
func (c *Certificate) NotAfter() time.Time { return c.latest().Leaf.NotAfter }

// latest returns the certificate, after a look at the files if the last one
// was a while ago. One caller looks; the others go on with what there is.
func (c *Certificate) latest() *tls.Certificate {
	if c.mu.TryLock() {
		defer c.mu.Unlock()
		if time.Since(c.checked) >= c.recheck {
			c.reload()
		}
	}
	return c.current.Load()
}

func (c *Certificate) reload() {
	err := c.load()
	if err == nil {
		c.problem = ""
		return
	}
	if problem := err.Error(); problem != c.problem {
		c.problem = problem
		c.log.Error("certificate not reloaded, the old one stays", "reason", problem)
	}
}

// load takes the files' certificate if their content is new. If the key
// doesn't fit yet it fails, and succeeds when the other file has come too.
func (c *Certificate) load() error {
	c.checked = time.Now()
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		return err
	}
	content := sha256.Sum256(slices.Concat(cert, []byte{0}, key))
	if content == c.content {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.content = content
	c.current.Store(&pair)
	return nil
}
