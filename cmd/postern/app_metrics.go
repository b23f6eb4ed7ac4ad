package main

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// busMetrics are the metrics of a bus that may not be open yet. Until then they
// say that it is not connected, so that an alarm about it can go off.
type busMetrics struct {
	open atomic.Pointer[prometheus.Collector]
}

var notConnected = prometheus.MustNewConstMetric(
	prometheus.NewDesc("postern_nats_connected", "1 while there is a connection to NATS.", nil, nil), prometheus.GaugeValue, 0)

func (m *busMetrics) set(c prometheus.Collector) { m.open.Store(&c) }

// Describe describes nothing: which metrics there are is known when the bus is
// open.
func (m *busMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *busMetrics) Collect(ch chan<- prometheus.Metric) {
	if c := m.open.Load(); c != nil {
		(*c).Collect(ch)
		return
	}
	ch <- notConnected
}
