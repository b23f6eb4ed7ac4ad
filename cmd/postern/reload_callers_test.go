package main

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ops"
)

// Behind a proxy other addresses call. If the allow-list changed before
// client_ip does, nobody could push until the restart.
func TestWhoACallerIsAndWhoMayCallChangeTogether(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	before := readFile(t, h.file)
	forwarded := strings.Replace(before, `listen: "127.0.0.1:0"}`, `listen: "127.0.0.1:0", client_ip: forwarded, trusted_proxies: [`+caller+`]}`, 1)
	both := strings.Replace(forwarded, "allow: ["+caller+"]", "allow: [203.0.113.10]", 1)
	refused := func(config, with string) {
		t.Helper()
		h.write("postern.yaml", config)
		_, err := h.app.reloader.reload(t.Context(), "a test")
		var bad *ops.ReloadError
		if !errors.As(err, &bad) || len(bad.Problems) != 1 {
			t.Fatalf("reloaded: %v", err)
		}
		if p := bad.Problems[0]; p.Line == 0 || !strings.Contains(p.Message, "ingress.client_ip needs a restart, and "+with+" changes with it") {
			t.Errorf("the problem is %+v", p)
		}
		if got := h.metric("postern_config_last_reload_successful"); got != "0" {
			t.Errorf("successful is %q", got)
		}
	}

	refused(both, "sources.corastone.push.allow")
	if status := h.push1(caller, "one"); status != http.StatusOK {
		t.Errorf("who was allowed is answered %d", status)
	}

	// One of them alone waits, or is applied.
	h.write("postern.yaml", forwarded)
	if diff := cmp.Diff([]string{"ingress.client_ip", "ingress.trusted_proxies"}, h.reloaded().Restart); diff != "" {
		t.Errorf("waits (-want +got):\n%s", diff)
	}
	refused(both, "sources.corastone.push.allow") // still
	second := "  second: {platform: corastone, push: {allow: [127.0.0.9], topics: [\"" + corastonetest.Topic + "\"], signature: pinned, certificates: [sns.pem]}}\n"
	refused(forwarded+second, "sources.second.push.allow")
	h.write("postern.yaml", strings.Replace(before, "allow: ["+caller+"]", "allow: [127.0.0.9]", 1))
	want := ops.Reloaded{Applied: []ops.Change{{Setting: "sources.corastone", How: "changed"}}}
	if diff := cmp.Diff(want, h.reloaded()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if status := h.push1(caller, "two"); status != http.StatusForbidden {
		t.Errorf("who is not allowed any more is answered %d", status)
	}
}

func TestCountersOfASourceThatComesBeginAtZero(t *testing.T) {
	h := house(t, newReceiver(t, "")).run()
	<-h.app.opened
	counters := []string{
		`postern_deliveries_relayed_total{outcome="published",source="second"}`,
		`postern_quarantined_total{reason="stale",source="second"}`,
		`postern_schema_drift_total{source="second"}`,
		`postern_rejected_dropped_total{source="second"}`,
		`postern_deliveries_total{channel="push",outcome="accepted",source="second"}`,
	}
	for _, name := range counters {
		if got := h.metric(name); got != "" {
			t.Errorf("%s is %q before it comes", name, got)
		}
	}
	h.write("postern.yaml", readFile(t, h.file)+"  second: {platform: corastone, push: {allow: [127.0.0.9], topics: [\""+corastonetest.Topic+"\"], signature: pinned, certificates: [sns.pem]}}\n")
	h.reloaded()
	for _, name := range counters {
		eventually(t, name+" is 0", func() bool { return h.metric(name) == "0" }) // the relay may come later
	}
}
