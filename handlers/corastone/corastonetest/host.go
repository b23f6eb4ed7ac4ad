package corastonetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/seed75441868/postern/handlers"
)

// CertificateHost is a stand-in of the hosts of all regions where SNS keeps
// the certificates that it signs with, and confirms subscriptions. Its zero
// value holds no certificate and confirms whatever it is asked to. It is safe
// for concurrent use.
type CertificateHost struct {
	mu    sync.Mutex
	files map[string][]byte // by URL
	asked []string
	fault int

	lapsed    []string // tokens
	confirmed []Confirmation
}

// CertificateURL returns where SNS of a region keeps a certificate. Each has a
// URL of its own.
func CertificateURL(region string, certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return "https://" + host(region) + "/SimpleNotificationService-" + hex.EncodeToString(sum[:16]) + ".pem"
}

// host returns the name of a region's SNS.
func host(region string) string {
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	return "sns." + region + "." + domain
}

// Certify has a issue s a certificate and puts it where SNS would. It returns
// a signer whose envelopes say so.
func (h *CertificateHost) Certify(a *Authority, s *Signer, l Leaf) (*Signer, error) {
	if l.Region == "" {
		l.Region = strings.Split(Topic, ":")[3]
	}
	certificate, err := a.Issue(s, l)
	if err != nil {
		return nil, err
	}
	at := CertificateURL(l.Region, certificate)
	h.Put(at, certificate)
	return s.At(at), nil
}

// Put puts something at a URL.
func (h *CertificateHost) Put(at string, content []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.files == nil {
		h.files = map[string][]byte{}
	}
	h.files[at] = content
}

// Fail answers everything with a status from now on; 0 ends that.
func (h *CertificateHost) Fail(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = status
}

// Asked returns the URLs that were asked for, in order.
func (h *CertificateHost) Asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

func (h *CertificateHost) answer(at string) (status int, content []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, at)
	content, ok := h.files[at]
	u, err := url.Parse(at)
	switch {
	case h.fault != 0:
		return h.fault, nil
	case err == nil && u.Query().Get("Action") == "ConfirmSubscription":
		return h.confirm(u)
	case !ok:
		return http.StatusNotFound, nil
	}
	return http.StatusOK, content
}

// ServeHTTP serves what is at the URL that host, path and query make.
func (h *CertificateHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := url.URL{Scheme: "https", Host: r.Host, Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	status, content := h.answer(at.String())
	w.WriteHeader(status)
	_, _ = w.Write(content)
}

// Fetch is a [handlers.Fetch] that needs no network.
func (h *CertificateHost) Fetch(_ context.Context, at string) ([]byte, error) {
	status, content := h.answer(at)
	switch {
	case status == http.StatusOK:
		return content, nil
	case status >= 400 && status < 500:
		return nil, fmt.Errorf("%w: the host answered %d", handlers.ErrNotThere, status)
	default:
		return nil, fmt.Errorf("the host answered %d", status)
	}
}
