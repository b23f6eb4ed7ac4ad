package journal

import "github.com/prometheus/client_golang/prometheus"

// collector reads the journal's figures when it is scraped.
type collector struct {
	j *Journal

	entries, bytes, maxBytes, oldest, free, reserve *prometheus.Desc
}

// Collector returns the metrics postern_journal_entries, postern_journal_bytes,
// postern_journal_max_bytes, postern_journal_oldest_timestamp_seconds,
// postern_store_free_bytes and postern_store_reserve_bytes.
func (j *Journal) Collector() prometheus.Collector {
	return &collector{
		j:        j,
		entries:  prometheus.NewDesc("postern_journal_entries", "Deliveries that were accepted and wait to be told.", nil, nil),
		bytes:    prometheus.NewDesc("postern_journal_bytes", "Their size on disk, sealed.", nil, nil),
		maxBytes: prometheus.NewDesc("postern_journal_max_bytes", "Their size from which on pushes are refused.", nil, nil),
		oldest:   prometheus.NewDesc("postern_journal_oldest_timestamp_seconds", "When the oldest of them arrived; 0 if there are none.", nil, nil),
		free:     prometheus.NewDesc("postern_store_free_bytes", "Free bytes of the disk that the journal is on.", nil, nil),
		reserve:  prometheus.NewDesc("postern_store_reserve_bytes", "Free bytes of that disk below which pushes are refused.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.entries, c.bytes, c.maxBytes, c.oldest, c.free, c.reserve} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	s := c.j.Stats()
	gauge(c.entries, float64(s.Entries))
	gauge(c.bytes, float64(s.Bytes))
	gauge(c.maxBytes, float64(c.j.maxBytes))
	oldest := 0.0
	if !s.Oldest.IsZero() {
		oldest = float64(s.Oldest.UnixMilli()) / 1000
	}
	gauge(c.oldest, oldest)
	gauge(c.free, float64(c.j.disk.free.Load()))
	gauge(c.reserve, float64(c.j.disk.reserve))
}
