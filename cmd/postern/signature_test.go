package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// entryOf returns the push of an entry as a relay may send it.
func entryOf(e corastonetest.Entry, header ...string) corastonetest.Push {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	return corastonetest.Push{Header: h, Body: []byte(e.Entry())}
}

// TestRelayThatKnowsTheSecretIsBelieved: its entries need no envelope, and the
// secret may be replaced without a push being refused.
func TestRelayThatKnowsTheSecretIsBelieved(t *testing.T) {
	r := newReceiver(t, `
sources:
  corastone:
    push:
      signature: header
      certificates: []
      header: {name: X-Relay, secrets: [{file: old.secret}, {file: new.secret}]}
`)
	r.write("old.secret", "the-old-secret-of-the-relay\n")
	r.write("new.secret", "the-new-secret-of-the-relay\n")
	r.startBroker()
	events := subscribe(t, connect(t, r.broker))
	node := nodeOf(t, 21)

	for i, secret := range []string{"the-old-secret-of-the-relay", "the-new-secret-of-the-relay"} {
		process := node.Process("createInvestment", "success", node.AssetID())
		push := entryOf(process, "X-Relay", secret, "x-amz-sns-message-id", node.UUID())
		if i == 1 {
			push = node.Notification(process).Push() // not signed
			push.Header.Set("X-Relay", secret)
		}
		status, id := r.pushed(push)
		if status != http.StatusOK || id == "" {
			t.Fatalf("answered %d %q\n%s", status, id, r.stderr)
		}
		if _, again := r.pushed(push); again != id {
			t.Errorf("a repeat has the id %s, not %s", again, id)
		}
		if got := next(t, events).Headers().Get("ce-id"); got != "corastone:process:"+process.ProcessID+":success" {
			t.Errorf("became %s", got)
		}
	}
	for _, push := range []corastonetest.Push{
		entryOf(node.Job("a")),
		entryOf(node.Job("a"), "X-Relay", "the-other-secret-of-the-relay"),
		signed(t, node.Notification(node.Job("a"))), // a good signature is not what counts here
	} {
		if status, _ := r.pushed(push); status != http.StatusForbidden {
			t.Errorf("answered %d", status)
		}
	}
	const count = `postern_deliveries_total{channel="push",outcome="rejected_header",source="corastone"}`
	eventually(t, "refusals are counted", func() bool { return r.metric(count) == "3" })
	if strings.Contains(r.stderr.String(), "secret-of-the-relay") {
		t.Error("the log holds a secret")
	}
}

// TestOffNeedsInsecure: nobody switches the gate off by a slip, or without
// being told.
func TestOffNeedsInsecure(t *testing.T) {
	const off = "sources: {corastone: {push: {signature: off, certificates: []}}}\n"
	out, err := newReceiver(t, off).command("config", "check").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitConfig || !strings.Contains(string(out), "insecure: true") {
		t.Errorf("%v\n%s", err, out)
	}

	r := newReceiver(t, "insecure: true\n"+off)
	r.startBroker()
	events := subscribe(t, connect(t, r.broker))
	if !strings.Contains(r.stderr.String(), "push.signature is off") {
		t.Errorf("not told that it is off:\n%s", r.stderr)
	}
	node := nodeOf(t, 22)
	process := node.Process("createInvestment", "failed")
	if status, _ := r.pushed(entryOf(process)); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	if got := next(t, events).Headers().Get("ce-id"); got != "corastone:process:"+process.ProcessID+":failed" {
		t.Errorf("became %s", got)
	}
	if status, _ := r.pushed(node.Notification(node.Job("b")).Push()); status != http.StatusOK {
		t.Errorf("an envelope was answered %d", status)
	}
}

// TestCallersShowACertificate: with client_ca the secret alone does not do.
func TestCallersShowACertificate(t *testing.T) {
	const header = "push: {signature: header, certificates: [], client_ca: relay.pem, header: {name: X-Relay, secrets: [{file: a.secret}]}}"
	r := newReceiver(t, "sources: {corastone: {"+header+"}}\n")
	r.write("a.secret", "the-only-secret-of-the-relay\n")
	relay, pair := serverCertificate(t, "relay.example")
	r.write("relay.pem", relay)
	out, err := r.command("config", "check").Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitConfig || !strings.Contains(string(out), "push.client_ca needs ingress.tls") {
		t.Errorf("%v\n%s", err, out)
	}

	cert, key := certificate(t)
	r.write("gate.pem", cert)
	r.write("gate.key", key)
	r.write("more.yaml", "ingress: {tls: {cert: gate.pem, key: gate.key}}\nsources: {corastone: {"+header+"}}\n")
	r.start()
	at := strings.Replace(r.push, "http://", "https://", 1)
	for name, c := range map[string]struct {
		shown []tls.Certificate
		want  int
	}{"one": {[]tls.Certificate{pair}, http.StatusOK}, "none": {nil, http.StatusForbidden}} {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(caller)}}
		transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: c.shown}}
		p := entryOf(corastonetest.Job{"id": "a"}, "X-Relay", "the-only-secret-of-the-relay")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, bytes.NewReader(p.Body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = p.Header
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		transport.CloseIdleConnections()
		if res.StatusCode != c.want {
			t.Errorf("%s: answered %d, want %d\n%s", name, res.StatusCode, c.want, r.stderr)
		}
	}
}
