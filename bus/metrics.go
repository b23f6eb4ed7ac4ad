package bus

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/schemas"
)

// A scrape gets figures that are at most that old, and waits at most that long
// for newer ones.
const (
	gaugesAge     = 5 * time.Second
	gaugesTimeout = time.Second
)

// maxPending bounds the consumers of a stream that have a metric: others choose
// their names.
const maxPending = 100

// gauges are the figures that were last read from the server.
type gauges struct {
	mu      sync.Mutex
	read    time.Time // when reading was last tried
	streams []streamGauges
}

type streamGauges struct {
	name            string
	messages, bytes uint64
	maxBytes        int64
	pending         map[string]uint64    // by durable consumer
	open            map[[2]string]uint64 // by source and reason, of quarantine
	oldest          time.Time            // message, of quarantine; zero: none
}

type collector struct {
	b *Bus

	connected, messages, bytes, maxBytes, pending, open, oldest *prometheus.Desc
}

// Collector returns the metrics of the bus, with the prefix postern_:
// nats_connected, stream_messages, stream_bytes and stream_max_bytes by stream
// (buckets are the streams KV_…), consumer_pending of durable consumers,
// quarantine_open and quarantine_oldest_timestamp_seconds. A scrape never waits long for NATS: then it gets the figures
// of the last time.
func (b *Bus) Collector() prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("postern_"+name, help, labels, nil)
	}
	return &collector{
		b:         b,
		connected: desc("nats_connected", "Whether there is a connection to NATS."),
		messages:  desc("stream_messages", "Messages in the stream.", "stream"),
		bytes:     desc("stream_bytes", "Bytes in the stream.", "stream"),
		maxBytes:  desc("stream_max_bytes", "Bytes that the stream may hold.", "stream"),
		pending:   desc("consumer_pending", "Messages that the durable consumer has not been given yet.", "stream", "consumer"),
		open:      desc("quarantine_open", "Deliveries in quarantine.", "source", "reason"),
		oldest:    desc("quarantine_oldest_timestamp_seconds", "When the oldest of them was put there; 0 if there are none."),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.connected, c.messages, c.bytes, c.maxBytes, c.pending, c.open, c.oldest} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	connected := 0.0
	if c.b.link.connected() != nil {
		connected = 1
	}
	gauge(c.connected, connected)
	for _, s := range c.b.readGauges() {
		gauge(c.messages, float64(s.messages), s.name)
		gauge(c.bytes, float64(s.bytes), s.name)
		gauge(c.maxBytes, float64(s.maxBytes), s.name)
		for consumer, n := range s.pending {
			gauge(c.pending, float64(n), s.name, consumer)
		}
		for key, n := range s.open {
			gauge(c.open, float64(n), key[0], key[1])
		}
		if s.name == string(schemas.StreamQuarantine) {
			gauge(c.oldest, seconds(s.oldest))
		}
	}
}

// readGauges returns the last figures, newer ones if they can be had at once.
func (b *Bus) readGauges() []streamGauges {
	b.gauges.mu.Lock()
	defer b.gauges.mu.Unlock()
	if time.Since(b.gauges.read) < gaugesAge {
		return b.gauges.streams
	}
	b.gauges.read = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), gaugesTimeout)
	defer cancel()
	ctx, cancelAttempt, err := b.attempt(ctx)
	if err != nil {
		return b.gauges.streams
	}
	defer cancelAttempt()
	var streams []streamGauges
	for _, want := range b.cfg.wanted() {
		s, err := b.streamGauges(ctx, want.Name)
		if err != nil {
			b.log.Debug("figures of a stream can't be read", "stream", want.Name, "error", explained(ctx, err))
			return b.gauges.streams
		}
		streams = append(streams, s)
	}
	b.gauges.streams = streams
	return streams
}

func (b *Bus) streamGauges(ctx context.Context, name string) (streamGauges, error) {
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return streamGauges{}, err
	}
	info := stream.CachedInfo()
	g := streamGauges{
		name: name, messages: info.State.Msgs, bytes: info.State.Bytes, maxBytes: info.Config.MaxBytes,
	}
	if name == string(schemas.StreamQuarantine) && info.State.Msgs > 0 {
		info, err = stream.Info(ctx, jetstream.WithSubjectFilter(schemas.StreamQuarantine.Prefix()+".>"))
		if err != nil {
			return streamGauges{}, err
		}
		g.open, g.oldest = openQuarantine(info.State.Subjects), info.State.FirstTime
	}
	if info.State.Consumers == 0 {
		return g, nil
	}
	var durable []*jetstream.ConsumerInfo
	list := stream.ListConsumers(ctx)
	for c := range list.Info() {
		if c.Config.Durable != "" {
			durable = append(durable, c)
		}
	}
	if err := list.Err(); err != nil {
		return streamGauges{}, err
	}
	slices.SortFunc(durable, func(a, b *jetstream.ConsumerInfo) int { return cmp.Compare(a.Name, b.Name) })
	g.pending = map[string]uint64{}
	for _, c := range durable[:min(len(durable), maxPending)] {
		g.pending[c.Name] = c.NumPending
	}
	return g, nil
}

// seconds returns a time as metrics have it, 0 for none.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// openQuarantine counts by what the subjects say, in labels of closed sets.
func openQuarantine(subjects map[string]uint64) map[[2]string]uint64 {
	open := map[[2]string]uint64{}
	for subject, n := range subjects {
		source, reason, _ := strings.Cut(strings.TrimPrefix(subject, schemas.StreamQuarantine.Prefix()+"."), ".")
		if !schemas.SourceName.MatchString(source) {
			source = "other"
		}
		if !slices.Contains(schemas.Reasons(), schemas.Reason(reason)) {
			reason = "other"
		}
		open[[2]string{source, reason}] += n
	}
	return open
}
