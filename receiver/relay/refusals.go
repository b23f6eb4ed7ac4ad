package relay

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// RefusalBus is where refused pushes go.
type RefusalBus interface {
	// Publish is that of [Bus].
	Publish(ctx context.Context, s schemas.Stream, msgs []schemas.Message) ([]uint64, error)
	// MaxPayload is that of [Bus].
	MaxPayload() int
	// Told reports whether a stream has a message with that id and subject
	// that was stored since then.
	Told(ctx context.Context, s schemas.Stream, subject, id string, since time.Time) (bool, error)
}

// RefusalsConfig is what [Refusals] need.
type RefusalsConfig struct {
	Keys *journal.Keyring
	// Sources are the configured ones: their counters begin at 0.
	Sources    []string
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Bounds of what waits for the bus, for each source: as many as are kept there,
// and so many bytes of bodies. When more come the oldest go, so that what is
// kept in the end are the last ones.
const (
	waitingRefusals = 100
	waitingBytes    = 8 << 20
)

// refusalPause is how long refusals are collected, so that a flood of them
// costs few writes.
const refusalPause = 250 * time.Millisecond

// Refusals carries refused pushes to the bus, sealed, and tells of each reason
// once an hour that there are some. It holds nobody up: when the bus is away
// or they come too fast, the oldest are dropped and counted. Make it with
// [NewRefusals].
type Refusals struct {
	cfg     RefusalsConfig
	dropped *prometheus.CounterVec
	now     func() time.Time

	wake chan struct{}

	mu      sync.Mutex
	waiting map[string]*waitingList // by source
	kinds   map[refusalKind]*refusalCount

	sealed []schemas.Message // what is being published; only Run uses it
}

type waitingList struct {
	pushes []handlers.Refusal
	bytes  int
}

type refusalKind struct {
	source, platform string
	reason           handlers.Reason
}

type refusalCount struct {
	untold int64     // how many came since it was told last
	told   time.Time // the hour in which that was
}

// NewRefusals returns refusals that nobody has heard of. It does nothing with
// them until Run is called.
func NewRefusals(cfg RefusalsConfig) *Refusals {
	r := &Refusals{
		cfg: cfg, now: time.Now, wake: make(chan struct{}, 1),
		waiting: map[string]*waitingList{}, kinds: map[refusalKind]*refusalCount{},
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "postern", Name: "rejected_dropped_total",
			Help: "Refused pushes that are not kept, because too many came or the bus was away.",
		}, []string{"source"}),
	}
	cfg.Registerer.MustRegister(r.dropped)
	r.Expect(cfg.Sources)
	return r
}

// Expect has the counters of sources that came later begin at 0, too. It is
// safe to call at any time, and to repeat.
func (r *Refusals) Expect(sources []string) {
	for _, source := range sources {
		r.dropped.WithLabelValues(source)
	}
}

// Refused takes note of a refused push and copies what it needs. It never
// blocks, and is safe for concurrent use.
func (r *Refusals) Refused(p handlers.Refusal) {
	p.Header = p.Header.Clone()
	p.Body = bytes.Clone(p.Body)
	kind := refusalKind{p.Source, p.Platform, p.Reason}

	r.mu.Lock()
	defer r.mu.Unlock()
	count := r.kinds[kind]
	if count == nil {
		count = &refusalCount{}
		r.kinds[kind] = count
	}
	count.untold++
	list := r.waiting[p.Source]
	if list == nil {
		list = &waitingList{}
		r.waiting[p.Source] = list
	}
	list.pushes = append(list.pushes, p)
	list.bytes += len(p.Body)
	for len(list.pushes) > waitingRefusals || list.bytes > waitingBytes && len(list.pushes) > 1 {
		list.bytes -= len(list.pushes[0].Body)
		list.pushes[0] = handlers.Refusal{}
		list.pushes = list.pushes[1:]
		r.dropped.WithLabelValues(p.Source).Inc()
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run carries refusals to b until ctx ends, and then what is left if that goes
// at once.
func (r *Refusals) Run(ctx context.Context, b RefusalBus) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = refusalPause
	wait.MaxInterval = 30 * time.Second
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := r.carry(last, b); err != nil {
				r.cfg.Log.Debug("the last refused pushes were not kept", "error", err)
			}
			return
		case <-r.wake:
		}
		pause := refusalPause
		if err := r.carry(ctx, b); err == nil {
			wait.Reset()
		} else if ctx.Err() == nil {
			pause = wait.NextBackOff()
			r.cfg.Log.Warn("refused pushes can't be kept now; it is tried again", "error", err)
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// carry publishes what waits. After a failure it is safe to call it again.
func (r *Refusals) carry(ctx context.Context, b RefusalBus) error {
	if err := r.publish(ctx, b); err != nil { // what was left of the last time
		return err
	}
	for _, p := range r.take() {
		r.sealed = append(r.sealed, r.seal(p, b.MaxPayload()))
	}
	if err := r.publish(ctx, b); err != nil {
		return err
	}
	return r.tell(ctx, b)
}

func (r *Refusals) publish(ctx context.Context, b RefusalBus) error {
	for len(r.sealed) > 0 {
		seqs, err := b.Publish(ctx, schemas.StreamRejected, r.sealed)
		r.sealed = r.sealed[len(seqs):]
		switch {
		case err == nil:
		case errors.Is(err, schemas.ErrUnpublishable) && len(r.sealed) > 0:
			r.cfg.Log.Error("a refused push can't be kept", "error", err)
			r.sealed = r.sealed[1:]
		default:
			return fmt.Errorf("keep refused pushes: %w", err)
		}
	}
	return nil
}

func (r *Refusals) take() []handlers.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []handlers.Refusal
	for _, list := range r.waiting {
		all = append(all, list.pushes...)
		*list = waitingList{}
	}
	return all
}

// seal returns the record of a push, without its body if the bus wouldn't take
// it.
func (r *Refusals) seal(p handlers.Refusal, maxPayload int) schemas.Message {
	record := schemas.Rejected{
		Source: p.Source, ID: rand.Text(), Reason: string(p.Reason), Detail: p.Detail, Received: p.Received,
		Sealed: sealRefusal(r.cfg.Keys, p),
	}
	if m := record.Message(); m.Size() <= maxPayload {
		return m
	}
	p.Body = nil
	record.Sealed = sealRefusal(r.cfg.Keys, p)
	return record.Message()
}

// tell publishes an event for each kind of which there are some that were not
// told of, unless it was told in this hour.
func (r *Refusals) tell(ctx context.Context, b RefusalBus) error {
	now := r.now().UTC()
	hour := now.Truncate(time.Hour)
	for kind, n := range r.untold(hour) {
		e := rejectionEvent(kind, n, now, hour)
		if err := e.Validate(); err != nil {
			r.cfg.Log.Error("refused pushes can't be told of", "source", kind.source, "error", err)
			continue
		}
		msgs, err := e.Messages()
		if err != nil {
			return err
		}
		// Another receiver may have told it, or we before a restart.
		told, err := b.Told(ctx, schemas.StreamOps, msgs[0].Subject, e.ID, hour)
		if err != nil {
			return fmt.Errorf("tell of refused pushes: %w", err)
		}
		if told {
			n = 0
		} else if _, err := b.Publish(ctx, schemas.StreamOps, msgs); err != nil {
			return fmt.Errorf("tell of refused pushes: %w", err)
		}
		r.mu.Lock()
		r.kinds[kind].untold -= n
		r.kinds[kind].told = hour
		r.mu.Unlock()
	}
	return nil
}

func (r *Refusals) untold(hour time.Time) map[refusalKind]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := map[refusalKind]int64{}
	for kind, count := range r.kinds {
		if count.untold > 0 && !count.told.Equal(hour) {
			due[kind] = count.untold
		}
	}
	return due
}

// rejectionEvent tells of refused pushes. Its id has the hour, so that all
// receivers tell the same event.
func rejectionEvent(kind refusalKind, n int64, now, hour time.Time) schemas.Event {
	t := schemas.PlatformPushRejected
	return schemas.Event{
		ID:       kind.source + ":platform:" + t.Event() + ":" + string(kind.reason) + ":" + hour.Format("2006-01-02t15"),
		Source:   kind.source,
		Type:     t,
		Key:      kind.source,
		Time:     schemas.FormatTime(now),
		Recorded: now,
		Data:     schemas.Rejection{Platform: kind.platform, Reason: string(kind.reason), Count: n},
	}
}
