package main

import (
	"bytes"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// From its beginning to its end, a receiver behind a proxy believes that proxy
// and nobody else.
func TestBehindAProxyUntilTheEnd(t *testing.T) {
	r := newReceiver(t, `
ingress: {client_ip: forwarded, trusted_proxies: [127.0.0.1], drain_delay: 3s}
`)
	r.start()
	node := nodeOf(t, 40)
	// ask sends a request from 127.0.0.1.
	ask := func(method, url, forwardedFor string, p corastonetest.Push) int {
		req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(p.Body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = p.Header.Clone()
		if req.Header == nil {
			req.Header = http.Header{}
		}
		if forwardedFor != "" {
			req.Header.Set("X-Forwarded-For", forwardedFor)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	push := func(forwardedFor string) int {
		return ask(http.MethodPost, r.push, forwardedFor, signed(t, node.Notification(node.Process("createInvestment", "success", node.AssetID()))))
	}
	for forwardedFor, want := range map[string]int{
		caller: http.StatusOK, "192.0.2.1, " + caller: http.StatusOK,
		"": http.StatusForbidden, caller + ", 192.0.2.1": http.StatusForbidden, caller + ":443": http.StatusForbidden,
	} {
		if got := push(forwardedFor); got != want {
			t.Errorf("a push for %q is answered %d, want %d", forwardedFor, got, want)
		}
	}

	// Load balancers hear of the end before pushes do.
	ready := strings.Replace(r.push, "/hooks/corastone", "/readyz", 1)
	if got := ask(http.MethodGet, ready, caller, corastonetest.Push{}); got != http.StatusOK {
		t.Errorf("it is ready with %d", got)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says that it ends", func() bool {
		return ask(http.MethodGet, ready, caller, corastonetest.Push{}) == http.StatusServiceUnavailable
	})
	if got := push(caller); got != http.StatusOK {
		t.Errorf("a push before the delay is over is answered %d", got)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("it ended with %v\n%s", err, r.stderr)
	}
	r.running = false
}
