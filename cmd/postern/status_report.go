package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

// From where on something is worth somebody's look.
const (
	behindAfter   = time.Minute         // an entry waits in the journal
	fillAlarm     = 80                  // percent of the journal
	expiryAlarm   = 14 * 24 * time.Hour // before a certificate ends
	rejectedSince = time.Hour           // refused pushes count as news
)

// streams answers GET /api/v1/streams.
func (a *app) streams(ctx context.Context) ([]ops.StreamStatus, error) {
	b := a.bus.Load()
	if b == nil {
		return nil, fmt.Errorf("the bus is %w", errNotOpen)
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	reports, err := b.Streams(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]ops.StreamStatus, 0, len(reports))
	for _, r := range reports {
		list = append(list, streamStatus(r))
	}
	return list, nil
}

func streamStatus(r bus.StreamReport) ops.StreamStatus {
	s := ops.StreamStatus{
		Name: r.Name, Description: r.Description, Messages: r.Messages, Bytes: r.Bytes, MaxBytes: r.MaxBytes,
		WhenFull: "drops the oldest", First: r.First, Last: r.Last,
		FirstTime: timeOrNil(r.FirstTime), LastTime: timeOrNil(r.LastTime), Replicas: r.Replicas, Drift: r.Drift,
	}
	if r.MaxBytes > 0 {
		s.Fill = percent(int64(r.Bytes), r.MaxBytes)
	}
	if r.MaxAge > 0 {
		text, _ := handlers.Duration(r.MaxAge).MarshalText() // it never fails
		s.MaxAge = string(text)
	}
	if r.Refuses {
		s.WhenFull = refuses
	}
	for _, c := range r.Consumers {
		s.Consumers = append(s.Consumers, ops.ConsumerStatus{Name: c.Name, Pending: c.Pending})
	}
	return s
}

func percent(n, of int64) int { return int(float64(n) / float64(of) * 100) }

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// status answers GET /api/v1/status. What can't be found out is left out, and
// is among what is wrong.
func (a *app) status(ctx context.Context) ops.Status {
	told := a.gathered()
	s := ops.Status{Journal: a.journalStatus(told), Certificates: certificatesOf(told)}
	s.Pollers, _ = pollers{a}.List(ctx) // it fails until the bus is open, which shows below
	for _, src := range a.now.Load().Sources {
		s.Sources = append(s.Sources, ops.SourceStatus{
			Name: src.Name, Platform: src.Platform.Name, Pushes: src.Opened.Push != nil, LastPush: a.lastPush(ctx, told, src.Name),
		})
	}
	for _, c := range slices.Concat(a.ready(ctx), a.degraded(ctx)) {
		check := ops.CheckStatus{Name: c.Name, OK: c.Err == nil}
		if c.Err != nil {
			check.Detail = firstLine(c.Err)
			s.Wrong = append(s.Wrong, c.Name+": "+check.Detail+": see /readyz?verbose and the log")
		}
		s.NATS.Checks = append(s.NATS.Checks, check)
	}
	connected, _ := told.value("postern_nats_connected", "")
	s.NATS.Connected = connected == 1
	if b := a.bus.Load(); b != nil && s.NATS.Connected {
		a.busStatus(ctx, b, &s)
	}
	s.Wrong = append(s.Wrong, wrongWith(s, told, time.Now())...)
	for _, c := range wrongPollers(s.Pollers) {
		s.Wrong = append(s.Wrong, c.text+": "+c.todo)
	}
	sources, _ := a.subscriptions.list(ctx, told) // it fails until the bus is open and read, which shows above
	for _, c := range concerns(sources) {
		s.Wrong = append(s.Wrong, c.source+": "+c.text+": "+c.todo)
	}
	return s
}

// busStatus fills in what the bus knows.
func (a *app) busStatus(ctx context.Context, b *bus.Bus, s *ops.Status) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	reports, err := b.Streams(ctx)
	if err != nil {
		s.Wrong = append(s.Wrong, "the streams can't be asked: "+firstLine(err)+": try again in a moment")
		return
	}
	open := map[[2]string]int{}
	for _, r := range reports {
		s.Streams = append(s.Streams, streamStatus(r))
		for key, n := range r.Open {
			open[key] += int(n)
		}
	}
	s.Quarantine = counts(open)
	refused := map[[2]string]int{}
	err = b.Tail(ctx, bus.TailOptions{
		Stream: schemas.StreamRejected, Since: time.Now().Add(-rejectedSince), HeadersOnly: true,
	}, func(m bus.TailMessage) error {
		r := recordOf(m)
		refused[[2]string{r.Source, r.Reason}]++
		return nil
	})
	if err != nil {
		s.Wrong = append(s.Wrong, "the refused pushes can't be read: "+firstLine(err)+": try again in a moment")
	}
	s.Rejected = counts(refused)
}

func counts(m map[[2]string]int) []ops.Count {
	list := make([]ops.Count, 0, len(m))
	for key, n := range m {
		list = append(list, ops.Count{Source: key[0], Reason: key[1], Count: n})
	}
	slices.SortFunc(list, func(a, b ops.Count) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// lastPush returns when the last authentic push came that is known of: since
// the start, or if nothing else came after it.
func (a *app) lastPush(ctx context.Context, told metrics, source string) *time.Time {
	if at, ok := told.value("postern_push_last_received_timestamp_seconds", source); ok && at > 0 {
		return timeOrNil(time.UnixMilli(int64(at * 1000)))
	}
	b := a.bus.Load()
	if b == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m, err := b.Last(ctx, schemas.StreamRaw, schemas.StreamRaw.Prefix()+"."+source)
	if err != nil {
		return nil
	}
	r := recordOf(m)
	at, err := time.Parse(time.RFC3339, r.Received)
	if err != nil || r.Channel != string(schemas.ChannelPush) {
		return nil
	}
	return &at
}

func (a *app) journalStatus(told metrics) ops.JournalStatus {
	stats := a.journal.Stats()
	s := ops.JournalStatus{
		Entries: stats.Entries, Bytes: stats.Bytes, MaxBytes: int64(a.cfg.Journal.MaxBytes),
		Oldest: timeOrNil(stats.Oldest), Reserve: int64(a.cfg.Journal.Reserve),
	}
	if v, ok := told.value("postern_store_free_bytes", ""); ok {
		free := int64(v)
		s.FreeBytes = &free
	}
	return s
}

// wrongWith returns what somebody should look at, and what to do next.
func wrongWith(s ops.Status, told metrics, now time.Time) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if n := total(s.Quarantine); n > 0 {
		say("%s in quarantine: see `postern quarantine list`", count(n, "record"))
	}
	if n := total(s.Rejected); n > 0 {
		say("%s within the last hour of pushes from allowed addresses: see `postern rejected list`", count(n, "refusal"))
	}
	if s.Journal.Oldest != nil && now.Sub(*s.Journal.Oldest) > behindAfter {
		say("%s in the journal, the oldest since %s: see whether NATS is there and takes messages",
			count(int(s.Journal.Entries), "record"), schemas.FormatTime(*s.Journal.Oldest))
	}
	if s.Journal.MaxBytes > 0 && percent(s.Journal.Bytes, s.Journal.MaxBytes) >= fillAlarm {
		say("the journal is %d %% full: when it is full pushes are refused", percent(s.Journal.Bytes, s.Journal.MaxBytes))
	}
	for _, c := range s.Certificates {
		switch left := c.Expires.Sub(now); {
		case left <= 0:
			say("certificate %s of %s ended on %s: replace it", c.Name, c.Source, c.Expires.Format(time.DateOnly))
		case left < expiryAlarm:
			say("certificate %s of %s ends on %s: replace it", c.Name, c.Source, c.Expires.Format(time.DateOnly))
		}
	}
	if v, ok := told.value("postern_config_last_reload_successful", ""); ok && v == 0 {
		say("the configuration on disk is bad, an older one is in force: run `postern config check`")
	}
	return wrong
}

func total(list []ops.Count) int {
	n := 0
	for _, c := range list {
		n += c.Count
	}
	return n
}

// metrics are the gauges that /metrics tells, by name.
type metrics map[string][]gauge

type gauge struct {
	labels map[string]string
	value  float64
}

// gathered asks the collectors. Those that fail tell nothing.
func (a *app) gathered() metrics {
	families, err := a.registry.Gather()
	if err != nil {
		a.log.Debug("metrics are incomplete", "error", err)
	}
	told := metrics{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetGauge() == nil {
				continue
			}
			g := gauge{labels: map[string]string{}, value: m.GetGauge().GetValue()}
			for _, pair := range m.GetLabel() {
				g.labels[pair.GetName()] = pair.GetValue()
			}
			told[f.GetName()] = append(told[f.GetName()], g)
		}
	}
	return told
}

// value returns the gauge of a source, or the only one if source is "". It
// reports whether there is one.
func (m metrics) value(name, source string) (float64, bool) {
	for _, g := range m[name] {
		if g.labels["source"] == source {
			return g.value, true
		}
	}
	return 0, false
}

func certificatesOf(told metrics) []ops.CertificateStatus {
	var list []ops.CertificateStatus
	for _, g := range told["postern_certificate_expiry_timestamp_seconds"] {
		list = append(list, ops.CertificateStatus{
			Source: g.labels["source"], Name: g.labels["name"], Expires: time.Unix(int64(g.value), 0).UTC(),
		})
	}
	return list
}

// sourceOfRecord returns the source in a subject "postern.<stream>.<source>…".
func sourceOfRecord(subject string) string {
	parts := strings.SplitN(subject, ".", 4)
	if len(parts) < 3 {
		return ""
	}
	return parts[2]
}
