package ingress

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// outcome is how a push ended.
type outcome int

// The outcomes; none is for what was no delivery.
const (
	none outcome = iota
	accepted
	duplicate
	conflict
	rejectedAddress
	rejectedTopic
	rejectedSignature
	rejectedCertificate
	rejectedHeader
	unverifiable
	rejectedSize
	unavailable
	outcomes // how many there are
)

// String returns the outcome as a label.
func (o outcome) String() string {
	return [outcomes]string{
		"", "accepted", "duplicate", "conflict", "rejected_address",
		"rejected_topic", "rejected_signature", "rejected_certificate",
		"rejected_header", "unverifiable", "rejected_size", "unavailable",
	}[o]
}

// outcomeOf returns how the journal's answer is counted.
func outcomeOf(o journal.Outcome) outcome {
	switch o {
	case journal.Duplicate:
		return duplicate
	case journal.Conflict:
		return conflict
	default:
		return accepted
	}
}

// unknownSource labels callers that are on no source's list.
const unknownSource = "unknown"

type metrics struct {
	deliveries *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	received   *prometheus.GaugeVec
	skew       *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer, sources []handlers.Source, cert *Certificate) (*metrics, error) {
	m := &metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_deliveries_total",
			Help: "Pushes by how they ended.",
		}, []string{"source", "channel", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_accept_duration_seconds",
			Help:    "Time from a push's header to its 200.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"source"}),
		received: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_push_last_received_timestamp_seconds",
			Help: "When the last authentic push came; absent until one does.",
		}, []string{"source"}),
		skew: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_push_clock_skew_seconds",
			Help: "How much later than its own time the last new push came; negative if its time is ahead of ours.",
		}, []string{"source"}),
	}
	for _, c := range []prometheus.Collector{
		m.deliveries, m.duration, m.received, m.skew, newCertificates(sources, cert),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// strangers returns the counter of callers on no list.
func (m *metrics) strangers() prometheus.Counter {
	return m.deliveries.WithLabelValues(unknownSource, string(schemas.ChannelPush), rejectedAddress.String())
}

// sourceMetrics are a source's own, looked up once.
type sourceMetrics struct {
	outcomes [outcomes]prometheus.Counter
	duration prometheus.Observer
	// These are made with the first push: a 0 would mean 1970.
	received func() prometheus.Gauge
	skew     func() prometheus.Gauge
}

func (m *metrics) source(name string) *sourceMetrics {
	s := &sourceMetrics{
		duration: m.duration.WithLabelValues(name),
		received: sync.OnceValue(func() prometheus.Gauge { return m.received.WithLabelValues(name) }),
		skew:     sync.OnceValue(func() prometheus.Gauge { return m.skew.WithLabelValues(name) }),
	}
	for o := accepted; o < outcomes; o++ {
		s.outcomes[o] = m.deliveries.WithLabelValues(name, string(schemas.ChannelPush), o.String())
	}
	return s
}

// accepted counts a push that was answered with 200. A repeat says nothing
// about clocks: it is late by nature.
func (s *sourceMetrics) accepted(o journal.Outcome, start time.Time, a handlers.Authentic) {
	s.outcomes[outcomeOf(o)].Inc()
	s.duration.Observe(time.Since(start).Seconds())
	s.received().Set(seconds(start))
	if o == journal.Accepted && !a.Stale && !a.Sent.IsZero() {
		s.skew().Set(start.Sub(a.Sent).Seconds())
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// certificates tells when certificates end: those that verify pushes, and our
// own, which may be another one tomorrow.
type certificates struct {
	desc   *prometheus.Desc
	pushes map[[2]string]time.Time // by source and name
	own    *Certificate
}

func newCertificates(sources []handlers.Source, own *Certificate) *certificates {
	c := &certificates{
		desc: prometheus.NewDesc("postern_certificate_expiry_timestamp_seconds",
			"When a certificate ends.", []string{"source", "name"}, nil),
		pushes: map[[2]string]time.Time{},
		own:    own,
	}
	for _, src := range sources {
		if src.Push == nil {
			continue
		}
		for _, cert := range src.Push.Certificates {
			// Of several in one file the first to end is the one to know.
			key := [2]string{src.Name, cert.Name}
			if known, ok := c.pushes[key]; !ok || cert.NotAfter.Before(known) {
				c.pushes[key] = cert.NotAfter
			}
		}
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *certificates) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *certificates) Collect(ch chan<- prometheus.Metric) {
	for key, end := range c.pushes {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, seconds(end), key[0], key[1])
	}
	if c.own != nil {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue,
			seconds(c.own.NotAfter()), schemas.ReservedSource, "ingress")
	}
}
