package relay

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/schemas"
)

type metrics struct {
	relayed       *prometheus.CounterVec
	publishedVec  *prometheus.CounterVec
	suppressed    *prometheus.CounterVec
	publishErrors *prometheus.CounterVec
	quarantined   *prometheus.CounterVec
	drift         *prometheus.CounterVec
	lag           *prometheus.HistogramVec
	gaps          *gaps
	rebuilt       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, sources []string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "postern", Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &metrics{
		relayed:       counter("deliveries_relayed_total", "Deliveries taken from the journal, by what became of them.", "source", "outcome"),
		publishedVec:  counter("events_published_total", "Events stored on the bus.", "source", "type", "stream"),
		suppressed:    counter("events_suppressed_total", "Events not published because they had been told, by what knew it.", "source", "net"),
		publishErrors: counter("relay_publish_errors_total", "Failed attempts to publish.", "stream", "reason"),
		quarantined:   counter("quarantined_total", "Deliveries put into quarantine.", "source", "reason"),
		drift:         counter("schema_drift_total", "Unknown fields and values, each counted once.", "source"),
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "postern", Name: "event_lag_seconds",
			Help:                            "Time from a delivery's arrival until its events are on the bus.",
			Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600, 3600},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"source", "channel"}),
	}
	m.rebuilt = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "postern", Name: "index_rebuilt_total",
		Help: "How often the index of what was told was damaged and made anew from the bus.",
	})
	reg.MustRegister(m.rebuilt)
	m.gaps = newGaps(reg)
	reg.MustRegister(m.lag)
	m.begin(sources)
	for _, stream := range []schemas.Stream{schemas.StreamRaw, schemas.StreamEvents, schemas.StreamRestricted, schemas.StreamOps, schemas.StreamQuarantine} {
		for _, reason := range []string{"unavailable", "unpublishable"} {
			m.publishErrors.WithLabelValues(string(stream), reason)
		}
	}
	for _, bucket := range []string{schemas.BucketState, schemas.BucketCursors} {
		m.publishErrors.WithLabelValues(bucket, "unavailable")
	}
	return m
}

// begin has the counters of sources begin at 0; those that count already go
// on.
func (m *metrics) begin(sources []string) {
	for _, source := range sources {
		for _, outcome := range []string{"published", "duplicate", "superseded", "quarantined", "parked"} {
			m.relayed.WithLabelValues(source, outcome)
		}
		for _, reason := range schemas.Reasons() {
			m.quarantined.WithLabelValues(source, string(reason))
		}
		m.suppressed.WithLabelValues(source, "index")
		m.drift.WithLabelValues(source)
		m.gaps.begin(source)
	}
}

// published counts a message that is on the bus.
func (m *metrics) published(source string, msg schemas.Message) {
	t := "other"
	if v := msg.Header["ce-type"]; len(v) > 0 {
		t = v[0]
	}
	m.publishedVec.WithLabelValues(source, t, string(msg.Stream)).Inc()
	if t == "postern."+schemas.PlatformSchemaDrift.Versioned() {
		m.drift.WithLabelValues(source).Inc()
	}
}

// done counts an item that is dealt with.
func (m *metrics) done(it *item, now time.Time) {
	source := it.record.Source
	outcome := "duplicate"
	if it.cursor { // no platform has delivered it
		return
	}
	switch {
	case it.superseded:
		outcome = "superseded"
	case it.parked:
		outcome = "parked"
	case it.reason != "":
		outcome = "quarantined"
		if it.keeps() { // it was there before
			break
		}
		m.quarantined.WithLabelValues(source, string(it.reason)).Inc()
	case it.published || it.suppressed == 0:
		outcome = "published"
		if it.release() != nil { // the time it lay in quarantine says nothing
			break
		}
		m.lag.WithLabelValues(source, string(it.record.Channel)).Observe(max(0, now.Sub(it.record.Received).Seconds()))
	}
	m.relayed.WithLabelValues(source, outcome).Inc()
	m.gaps.count(it)
	if it.suppressed > 0 {
		m.suppressed.WithLabelValues(source, "index").Add(float64(it.suppressed))
	}
}
