package journal

import "github.com/prometheus/client_golang/prometheus"

// collector reads the journal's figures when it is scraped.
type collector struct {
	j                            *Journal
	entries, bytes, oldest, free *prometheus.Desc
}

// Collector returns the metrics postern_journal_entries, postern_journal_bytes,
// postern_journal_oldest_timestamp_seconds and postern_store_free_bytes.
func (j *Journal) Collector() prometheus.Collector {
	return &collector{
		j:       j,
		entries: prometheus.NewDesc("postern_journal_entries", "Deliveries that were accepted and wait to be told.", nil, nil),
		bytes:   prometheus.NewDesc("postern_journal_bytes", "Their size on disk, sealed.", nil, nil),
		oldest:  prometheus.NewDesc("postern_journal_oldest_timestamp_seconds", "When the oldest of them arrived; 0 if there are none.", nil, nil),
		free:    prometheus.NewDesc("postern_store_free_bytes", "Free bytes of the disk that the journal is on.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.entries
	ch <- c.bytes
	ch <- c.oldest
	ch <- c.free
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	s := c.j.Stats()
	gauge(c.entries, float64(s.Entries))
	gauge(c.bytes, float64(s.Bytes))
	oldest := 0.0
	if !s.Oldest.IsZero() {
		oldest = float64(s.Oldest.UnixMilli()) / 1000
	}
	gauge(c.oldest, oldest)
	gauge(c.free, float64(c.j.disk.free.Load()))
}
