package poll

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/schemas"
)

// place is where a message is on the bus.
type place struct {
	stream schemas.Stream
	seq    uint64
}

// waiting are the follow-ups of a source that this receiver was given and has
// not answered. It is safe for concurrent use.
type waiting struct {
	mu  sync.Mutex
	all map[place]pendingAnswer
}

type pendingAnswer struct {
	since time.Time
	// until is when it should have come again: if it hasn't, another receiver
	// has it. Zero while it is worked at.
	until time.Time
}

func newWaiting() *waiting { return &waiting{all: map[place]pendingAnswer{}} }

// begin notes that one is worked at, and reports false if it is already.
func (w *waiting) begin(p place, since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.all[p]; ok && old.until.IsZero() {
		return false
	}
	w.all[p] = pendingAnswer{since: since}
	return true
}

func (w *waiting) end(p place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, p)
}

func (w *waiting) putOff(p place, until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[p] = pendingAnswer{w.all[p].since, until}
}

// count returns how many wait, and since when the first of them does.
func (w *waiting) count(now time.Time) (n int, oldest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, a := range w.all {
		if !a.until.IsZero() && now.After(a.until) {
			delete(w.all, p)
			continue
		}
		n++
		if oldest.IsZero() || a.since.Before(oldest) {
			oldest = a.since
		}
	}
	return n, oldest
}

const resultGivenUp = "given_up" // it is in quarantine

// followMetrics are those of follow-ups.
type followMetrics struct {
	runs            *prometheus.CounterVec
	pending, oldest *prometheus.Desc

	mu sync.Mutex
	of map[string]*waiting // by source
}

func newFollowMetrics() *followMetrics {
	source := []string{"source"}
	return &followMetrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_follow_ups_total",
			Help: "Times that a platform was asked what an event means, by how that ended.",
		}, []string{"source", "result"}),
		pending: prometheus.NewDesc("postern_follow_up_pending",
			"Events whose meaning this receiver waits for.", source, nil),
		oldest: prometheus.NewDesc("postern_follow_up_oldest_timestamp_seconds",
			"Since when the meaning of the oldest of them is waited for; absent without one.", source, nil),
		of: map[string]*waiting{},
	}
}

func (m *followMetrics) begin(source string, w *waiting) {
	for _, r := range append([]string{resultGivenUp}, results...) {
		m.runs.WithLabelValues(source, r)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of[source] = w
}

func (m *followMetrics) forget(source string) {
	m.runs.DeletePartialMatch(prometheus.Labels{"source": source})
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, source)
}

func (m *followMetrics) counted(source, how string) { m.runs.WithLabelValues(source, how).Inc() }

// Describe implements prometheus.Collector.
func (m *followMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.runs.Describe(ch)
	ch <- m.pending
	ch <- m.oldest
}

// Collect implements prometheus.Collector.
func (m *followMetrics) Collect(ch chan<- prometheus.Metric) {
	m.runs.Collect(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	for source, w := range m.of {
		n, oldest := w.count(time.Now())
		ch <- prometheus.MustNewConstMetric(m.pending, prometheus.GaugeValue, float64(n), source)
		if n > 0 {
			ch <- prometheus.MustNewConstMetric(m.oldest, prometheus.GaugeValue, seconds(oldest), source)
		}
	}
}
