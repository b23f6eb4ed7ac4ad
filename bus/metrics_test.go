package bus_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// gather returns the metrics that are asked for, as name{labels} value.
func gather(t *testing.T, b *bus.Bus, names ...string) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(b.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			line := fmt.Sprintf("%s{%s} %v", f.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue())
			for _, name := range names {
				if strings.HasPrefix(line, name) {
					all = append(all, line)
				}
			}
		}
	}
	return all
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus(func(cfg *bus.Config) {
		cfg.MaxBytes = map[schemas.Stream]int64{schemas.StreamEvents: 123_456}
	})
	bustest.Prepare(t, b)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 5)...)
	for _, tail := range []string{"acme.stale", "other.stale", "acme.bad_json", "acme.unheard_of", "NOBODY.stale"} {
		publish(t, b, schemas.StreamQuarantine, on(schemas.StreamQuarantine, tail))
	}
	second := on(schemas.StreamQuarantine, "acme.stale")
	second.ID, second.Header = "second", nil
	publish(t, b, schemas.StreamQuarantine, second)
	js := newJS(t, bus.Conn(b))
	c, err := js.CreateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{Name: "passing"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"postern_consumer_pending{consumer=billing,stream=POSTERN_EVENTS} 4",
		"postern_nats_connected{} 1",
		"postern_quarantine_open{reason=bad_json,source=acme} 1",
		"postern_quarantine_open{reason=other,source=acme} 1",
		"postern_quarantine_open{reason=stale,source=acme} 2",
		"postern_quarantine_open{reason=stale,source=other} 2",
		"postern_stream_max_bytes{stream=POSTERN_EVENTS} 123456",
		"postern_stream_messages{stream=POSTERN_EVENTS} 5",
		"postern_stream_messages{stream=POSTERN_QUARANTINE} 6",
	}
	names := []string{
		"postern_consumer_pending", "postern_nats_connected", "postern_quarantine_open",
		"postern_stream_max_bytes{stream=POSTERN_EVENTS}", "postern_stream_messages{stream=POSTERN_EVENTS}", "postern_stream_messages{stream=POSTERN_QUARANTINE}",
	}
	if diff := cmp.Diff(want, gather(t, b, names...)); diff != "" {
		t.Error(diff)
	}
	if n := len(gather(t, b, "postern_stream_bytes")); n != 10 {
		t.Errorf("%d streams and buckets, want 10", n)
	}

	began := time.Now()
	oldest := strings.Fields(gather(t, b, "postern_quarantine_oldest_timestamp_seconds")[0])[1]
	if at, err := strconv.ParseFloat(oldest, 64); err != nil || began.Sub(time.UnixMilli(int64(at*1000))).Abs() > time.Minute {
		t.Errorf("the oldest in quarantine is of %s, %v", oldest, err)
	}

	// Without NATS a scrape is quick and has the figures of the last time.
	external.Stop()
	eventually(t, "the lost connection shows", func() bool {
		return gather(t, b, "postern_nats_connected")[0] == "postern_nats_connected{} 0"
	})
	began = time.Now()
	got := gather(t, b, names...)
	if time.Since(began) > 2*time.Second {
		t.Errorf("a scrape took %v", time.Since(began))
	}
	want[1] = "postern_nats_connected{} 0"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
