package handlers_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// Whatever a request failed with, an operator reads what is so and what to do,
// and nothing of an URL.
func TestWhatAProbeFoundSaysWhatToDo(t *testing.T) {
	at := func(code int, err error) error {
		return fmt.Errorf("scan: %w", &handlers.UpstreamError{Endpoint: "list", Code: code, Err: err})
	}
	for name, c := range map[string]struct {
		err        error
		text, todo string
	}{
		"refused":      {&handlers.AuthError{Endpoint: "token", Code: 401, Until: time.Now()}, "token: the login is refused with 401", "check"},
		"no name":      {at(0, &net.DNSError{Err: "no such host", Name: "hidden.example", IsNotFound: true}), "list: its host has no address", "correct the URL"},
		"no DNS":       {at(0, &net.DNSError{Err: "refused", Name: "hidden.example"}), "can't be looked up", "DNS server"},
		"untrusted":    {at(0, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "not one that this machine trusts", "outbound.ca_file"},
		"nobody":       {at(0, &net.OpError{Op: "dial", Err: errors.New("connection refused")}), "nobody is reached", "firewall"},
		"silence":      {at(0, context.DeadlineExceeded), "nobody answers in time", "outbound.proxy"},
		"a page":       {at(200, handlers.ErrNotJSON), "no JSON", "does not seem to be it"},
		"not for us":   {at(403, nil), "answered 403", "let this account read it"},
		"too often":    {at(429, nil), "answered 429", "poll.interval"},
		"broken":       {at(502, nil), "answered 502", "the platform has a problem"},
		"anything":     {at(418, nil), "answered 418", "documentation"},
		"another kind": {errors.New("odd"), "odd", "URL"},
	} {
		t.Run(name, func(t *testing.T) {
			f := handlers.FoundError("api", c.err)
			if f.Setting != "api" || f.Grade != handlers.FoundFail || !strings.Contains(f.Text, c.text) || !strings.Contains(f.Todo, c.todo) {
				t.Errorf("found %+v", f)
			}
			if strings.Contains(f.Text+f.Todo, "hidden") {
				t.Errorf("it tells the host: %+v", f)
			}
		})
	}
}
