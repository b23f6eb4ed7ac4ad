package ingress

import (
	"iter"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	rejectedPath // of no source
	outcomes     // how many there are
)

// String returns the outcome as a label.
func (o outcome) String() string {
	return [outcomes]string{
		"", "accepted", "duplicate", "conflict", "rejected_address",
		"rejected_topic", "rejected_signature", "rejected_certificate",
		"rejected_header", "unverifiable", "rejected_size", "unavailable",
		"rejected_path",
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

// UnknownSource labels callers that are on no source's list, and those that
// are on one and push to a path or source that isn't there. No source may have
// this name.
const UnknownSource = "unknown"

type metrics struct {
	deliveries   *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	received     *prometheus.GaugeVec
	skew         *prometheus.GaugeVec
	certificates *certificates

	unknown [outcomes]prometheus.Counter // some
}

func newMetrics(now *atomic.Pointer[roster], own *Certificate) *metrics {
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
		certificates: &certificates{
			desc: prometheus.NewDesc("postern_certificate_expiry_timestamp_seconds",
				"When a certificate ends.", []string{"source", "name"}, nil),
			now: now,
			own: own,
		},
	}
	for _, o := range []outcome{rejectedAddress, rejectedPath} {
		m.unknown[o] = m.deliveries.WithLabelValues(UnknownSource, string(schemas.ChannelPush), o.String())
	}
	return m
}

func (m *metrics) register(reg prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{m.deliveries, m.duration, m.received, m.skew, m.certificates} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// sourceMetrics are a source's own, looked up once.
type sourceMetrics struct {
	outcomes [outcomes]prometheus.Counter // but for rejectedPath
	duration prometheus.Observer

	// A gauge is made with its first value: a 0 would mean 1970.
	mu             sync.Mutex
	gone           bool // and makes none any more
	received, skew func(seconds float64)
}

func (m *metrics) source(name string) *sourceMetrics {
	s := &sourceMetrics{
		duration: m.duration.WithLabelValues(name),
		received: func(s float64) { m.received.WithLabelValues(name).Set(s) },
		skew:     func(s float64) { m.skew.WithLabelValues(name).Set(s) },
	}
	for o := accepted; o <= unavailable; o++ {
		s.outcomes[o] = m.deliveries.WithLabelValues(name, string(schemas.ChannelPush), o.String())
	}
	return s
}

// forget takes a source's metrics away, for good: a push that is still in
// flight doesn't bring them back.
func (m *metrics) forget(name string, s *sourceMetrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	labels := prometheus.Labels{"source": name}
	m.deliveries.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.received.DeletePartialMatch(labels)
	m.skew.DeletePartialMatch(labels)
}

// accepted counts a push that was answered with 200. A repeat says nothing
// about clocks: it is late by nature.
func (s *sourceMetrics) accepted(o journal.Outcome, start time.Time, a handlers.Authentic) {
	s.outcomes[outcomeOf(o)].Inc()
	s.duration.Observe(time.Since(start).Seconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return
	}
	s.received(seconds(start))
	if o == journal.Accepted && !a.Stale && !a.Sent.IsZero() {
		s.skew(start.Sub(a.Sent).Seconds())
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// certificates tells when certificates end: those that verify pushes now, and
// our own, which may be another one tomorrow.
type certificates struct {
	desc *prometheus.Desc
	now  *atomic.Pointer[roster]
	own  *Certificate
}

// Describe implements prometheus.Collector.
func (c *certificates) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *certificates) Collect(ch chan<- prometheus.Metric) {
	for name, src := range c.now.Load().sources {
		// Of several in one file the first to end is the one to know.
		ends := map[string]time.Time{}
		for _, cert := range src.Push.Certificates {
			if known, ok := ends[cert.Name]; !ok || cert.NotAfter.Before(known) {
				ends[cert.Name] = cert.NotAfter
			}
		}
		label := labels(maps.Keys(ends))
		for file, end := range ends {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, seconds(end), name, label[file])
		}
	}
	if c.own != nil {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue,
			seconds(c.own.NotAfter()), schemas.ReservedSource, "ingress")
	}
}

// labels returns what files are called by: their names without the folders
// that they are in, as long as that is clear.
func labels(files iter.Seq[string]) map[string]string {
	of, count := map[string]string{}, map[string]int{}
	for file := range files {
		of[file] = filepath.Base(file)
		count[of[file]]++
	}
	for file, label := range of {
		if count[label] > 1 {
			of[file] = file
		}
	}
	return of
}
