package relay_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// found appends a fact that was polled.
func (w *world) found(channel schemas.Channel, source, view, payload string) {
	w.t.Helper()
	d := handlers.Delivery{
		Source: source, Platform: "test", Channel: channel, Role: "notification", View: view,
		Received: time.Now(), Payload: []byte(payload),
	}
	if _, err := w.journal.Append(w.t.Context(), d, fmt.Sprint(channel, view, payload), sha256.Sum256(d.Payload)); err != nil {
		w.t.Fatal(err)
	}
}

func TestWhatNoPushHadToldIsCounted(t *testing.T) {
	b := bustest.Server(t)
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	w.config = func(c *relay.Config) {
		c.Registerer = registry
		c.Pushes = func(source string) bool { return source == "feed" }
	}
	w.run(b)
	w.accept("m1", "process p1 success")
	w.acceptAs(handlers.Delivery{
		Payload: []byte("process p2 success"), Received: time.Date(2026, 3, 1, 10, 0, 30, 0, time.UTC),
	}, "m2")
	w.drain()
	w.found(schemas.ChannelPoll, "feed", "", "process p1 success orchestration=o1") // adds something to what was pushed
	w.found(schemas.ChannelPoll, "feed", "", "process p2 success")
	w.found(schemas.ChannelPoll, "feed", "", "process p3 success")
	w.found(schemas.ChannelBackfill, "feed", "", "process p4 success")
	w.found(schemas.ChannelPoll, "feed", "granted", "process p5 success")
	w.found(schemas.ChannelPoll, "feed", "granted", "process p2 success") // it was pushed, and is no grant
	w.found(schemas.ChannelPoll, "other", "", "process p6 success")       // it doesn't push
	w.drain()
	counted := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "postern_")
		if name != "poll_facts_total" && name != "reconcile_repaired_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			counted[name] = m.GetCounter().GetValue()
			name = strings.Fields(name)[0]
		}
	}
	want := map[string]float64{
		"poll_facts_total pushed feed": 2, "poll_facts_total missed feed": 2, "poll_facts_total granted feed": 1,
		"reconcile_repaired_total missed feed": 2, "reconcile_repaired_total granted feed": 1,
	}
	if diff := cmp.Diff(want, counted); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	got := w.relay.Completeness()["feed"]
	if got.Timed != 2 || got.Latest < time.Hour {
		t.Errorf("pushes took %+v", got)
	}
	got.Timed, got.Late, got.Latest = 0, 0, 0
	if diff := cmp.Diff(relay.Completeness{Pushed: 2, Missed: 2, Granted: 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
