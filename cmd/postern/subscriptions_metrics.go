package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	deadlineMetric = prometheus.NewDesc("postern_push_confirmation_deadline_timestamp_seconds",
		"When the first subscription lapses that waits to be confirmed, or lapsed; 0 if none waits.", []string{"source"}, nil)
	endedMetric = prometheus.NewDesc("postern_push_ended_timestamp_seconds",
		"When a subscription was ended that nobody has confirmed again; 0 if none was.", []string{"source"}, nil)
)

// Describe implements prometheus.Collector.
func (s *subscriptions) Describe(ch chan<- *prometheus.Desc) {
	s.outcomes.Describe(ch)
	ch <- deadlineMetric
	ch <- endedMetric
}

// Collect implements prometheus.Collector. Nothing is told of subscriptions
// while it is not known.
func (s *subscriptions) Collect(ch chan<- prometheus.Metric) {
	s.outcomes.Collect(ch)
	for _, src := range s.app.now.Load().Sources {
		if src.Opened.Push == nil {
			continue
		}
		waiting, ended, ready := s.of(src.Name)
		if !ready {
			continue
		}
		var deadline, end time.Time
		for _, w := range waiting {
			if deadline.IsZero() || w.deadline.Before(deadline) {
				deadline = w.deadline
			}
		}
		for _, e := range ended {
			if end.IsZero() || e.at.Before(end) {
				end = e.at
			}
		}
		ch <- prometheus.MustNewConstMetric(deadlineMetric, prometheus.GaugeValue, seconds(deadline), src.Name)
		ch <- prometheus.MustNewConstMetric(endedMetric, prometheus.GaugeValue, seconds(end), src.Name)
	}
}

// seconds returns t as metrics tell it, 0 if it is zero.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
