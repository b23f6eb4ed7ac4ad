package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/receiver/ops"
)

func TestStatusSaysWhatIsWrong(t *testing.T) {
	r := operated(t)
	node := nodeOf(t, 14)
	r.pushed(signed(t, node.Notification(investment("good"))))
	r.relayed("published", 1)
	js := connect(t, r.broker)
	if _, err := js.CreateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{Durable: "ledger"}); err != nil {
		t.Fatal(err)
	}
	got := r.as("", "status").want(t, "status of a sound receiver", exitOK)
	for _, part := range []string{"corastone", "s ago", "nothing waits", "connected", "POSTERN_EVENTS", "consumer ledger", "1 pending", "certificate", "nothing is wrong"} {
		if !strings.Contains(got.stdout, part) {
			t.Errorf("status lacks %q:\n%s", part, got.stdout)
		}
	}
	streams := r.as("", "streams", "status").want(t, "streams status", exitOK)
	for _, part := range []string{"POSTERN_QUARANTINE", "KV_postern_state", "refuses", "drops the oldest", "30d"} {
		if !strings.Contains(streams.stdout, part) {
			t.Errorf("streams status lacks %q:\n%s", part, streams.stdout)
		}
	}

	r.pushed(stale(t, node, "old"))
	r.relayed("quarantined", 1)
	got = r.as("", "status", "-o", "json").want(t, "status with quarantine", exitFailed)
	s := decoded[ops.Status](t, got.stdout)
	if len(s.Wrong) != 1 || !strings.Contains(s.Wrong[0], "1 record in quarantine: see `postern quarantine list`") {
		t.Errorf("wrong is %q", s.Wrong)
	}
	if diff := cmp.Diff([]ops.Count{{Source: "corastone", Reason: "stale", Count: 1}}, s.Quarantine); diff != "" {
		t.Errorf("quarantine (-want +got):\n%s", diff)
	}
	r.terminate()
	r.as("", "status").want(t, "status of none", exitUnavailable)
}
