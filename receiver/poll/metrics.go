package poll

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are those of pollers and of what they send. There is one for a
// process: make it with [NewMetrics]. It is safe for concurrent use.
type Metrics struct {
	runs        *prometheus.CounterVec
	lastSuccess *prometheus.GaugeVec
	interval    *prometheus.GaugeVec
	items       *prometheus.CounterVec
	paused      *prometheus.GaugeVec
	suspect     *prometheus.GaugeVec
	held        *prometheus.GaugeVec
	requests    *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	expiry      *expiry
	follow      *followMetrics
	compared    *compareMetrics
}

// NewMetrics registers them. reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	poller := []string{"source", "poller"}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, poller)
	}
	m := &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_poll_runs_total",
			Help: "Scans by how they ended.",
		}, append(poller[:2:2], "result")),
		lastSuccess: gauge("postern_poll_last_success_timestamp_seconds", "When the last scan ended that was complete; absent until one is."),
		interval:    gauge("postern_poll_interval_seconds", "How often a poller scans."),
		items: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_poll_items_total",
			Help: "What scans saw, and what of it was new, changed or absent, or a fact of its own.",
		}, append(poller[:2:2], "result")),
		paused:  gauge("postern_poll_paused", "1 while an operator has paused a poller."),
		suspect: gauge("postern_poll_suspect", "How many of a poller's lists shrank too much to be believed."),
		held:    gauge("postern_poll_lease_held", "1 while this receiver is the one that polls."),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_upstream_requests_total",
			Help: "Requests to platforms by what was answered: a status, timeout, error, or paused for those that were not sent.",
		}, []string{"source", "endpoint", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postern_upstream_request_duration_seconds",
			Help:    "Time from a request to the header of its answer.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},

			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"source", "endpoint"}),
		expiry: &expiry{
			desc: prometheus.NewDesc("postern_upstream_token_expiry_timestamp_seconds",
				"When the token ends that a platform gave; absent without one.", []string{"source"}, nil),
			of: map[string]func() time.Time{},
		},
	}
	m.follow, m.compared = newFollowMetrics(), newCompareMetrics()
	if reg != nil {
		reg.MustRegister(m.follow, m.compared.runs, m.compared.last)
		reg.MustRegister(m.runs, m.lastSuccess, m.interval, m.items, m.paused, m.suspect, m.held, m.requests, m.duration, m.expiry)
	}
	return m
}

// Results of scans.
const (
	resultSuccess  = "success"
	resultFailed   = "failed"   // the platform did not answer as it should
	resultAuth     = "auth"     // it refuses the login
	resultWaiting  = "waiting"  // the bus or the journal is not there
	resultCanceled = "canceled" // the receiver stops, or lost the lease
)

var (
	results = []string{resultSuccess, resultFailed, resultAuth, resultWaiting, resultCanceled}
	kinds   = []string{"seen", "changed", "absent", "told"}
)

// begin makes the counters of a poller that there are from its beginning.
func (m *Metrics) begin(source, poller string) {
	for _, r := range results {
		m.runs.WithLabelValues(source, poller, r)
	}
	for _, k := range kinds {
		m.items.WithLabelValues(source, poller, k)
	}
	for _, g := range []*prometheus.GaugeVec{m.paused, m.suspect, m.held} {
		g.WithLabelValues(source, poller).Set(0)
	}
}

// counted counts a scan.
func (m *Metrics) counted(source, poller, how string, r result) {
	m.runs.WithLabelValues(source, poller, how).Inc()
	for i, n := range []int{r.seen, r.changed, r.absent, r.told} {
		m.items.WithLabelValues(source, poller, kinds[i]).Add(float64(n))
	}
	if how == resultSuccess {
		m.lastSuccess.WithLabelValues(source, poller).Set(seconds(time.Now()))
	}
}

// forget takes a poller's metrics away.
func (m *Metrics) forget(source, poller string) {
	labels := prometheus.Labels{"source": source, "poller": poller}
	m.runs.DeletePartialMatch(labels)
	m.items.DeletePartialMatch(labels)
	for _, g := range []*prometheus.GaugeVec{m.lastSuccess, m.interval, m.paused, m.suspect, m.held} {
		g.Delete(labels)
	}
}

// forgetSource takes away what there is of a source that polls no more.
func (m *Metrics) forgetSource(source string) {
	labels := prometheus.Labels{"source": source}
	m.requests.DeletePartialMatch(labels)
	m.duration.DeletePartialMatch(labels)
	m.expiry.set(source, nil)
}

// asked counts a request.
func (m *Metrics) asked(source, endpoint, code string, took time.Duration) {
	m.requests.WithLabelValues(source, endpoint, code).Inc()
	m.duration.WithLabelValues(source, endpoint).Observe(took.Seconds())
}

// codeLabel is a status as a label: one that HTTP knows, or its class.
func codeLabel(status int) string {
	switch {
	case http.StatusText(status) != "":
		return strconv.Itoa(status)
	case status >= 100 && status < 600:
		return strconv.Itoa(status/100) + "xx"
	}
	return "other"
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// expiry tells when tokens end.
type expiry struct {
	desc *prometheus.Desc

	mu sync.Mutex
	of map[string]func() time.Time
}

func (e *expiry) set(source string, expires func() time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if expires == nil {
		delete(e.of, source)
	} else {
		e.of[source] = expires
	}
}

// Describe implements prometheus.Collector.
func (e *expiry) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }

// Collect implements prometheus.Collector.
func (e *expiry) Collect(ch chan<- prometheus.Metric) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for source, expires := range e.of {
		if at := expires(); !at.IsZero() {
			ch <- prometheus.MustNewConstMetric(e.desc, prometheus.GaugeValue, seconds(at), source)
		}
	}
}
