// Package relay carries deliveries from the journal to the bus: it takes them
// in order, has their platform translate them, validates what comes out, and
// publishes it, each fact once. Only cmd imports it; it sees the bus through
// an interface of its own.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// A Bus keeps messages. Publishing a message that it has already is harmless.
type Bus interface {
	// Prepare returns nil once the bus is connected and its streams exist.
	Prepare(ctx context.Context) error
	// Epoch grows with every connection.
	Epoch() uint64
	// MaxPayload returns how large a message may be, headers included.
	MaxPayload() int
	// Publish stores messages of one stream in order and returns the
	// sequences of those that are stored, also when it fails: they are a
	// prefix. An error that wraps schemas.ErrUnpublishable is about the
	// message behind that prefix; any other error may pass.
	Publish(ctx context.Context, s schemas.Stream, msgs []schemas.Message) ([]uint64, error)
	// StreamState tells what a stream holds.
	StreamState(ctx context.Context, s schemas.Stream) (schemas.StreamState, error)
	// Delete deletes the record at a sequence if it is of that delivery, and
	// reports whether it did.
	Delete(ctx context.Context, s schemas.Stream, seq uint64, delivery string) (bool, error)
	// Follow calls fn with the headings of all messages behind a sequence, in
	// order, until ctx ends or fn fails. The second argument of fn is the
	// sequence up to which everything was seen.
	Follow(ctx context.Context, s schemas.Stream, after uint64, fn func([]schemas.Heading, uint64) error) error
	// Load returns what a bucket has under a key, an entry without a revision
	// if nothing.
	Load(ctx context.Context, bucket, key string) (schemas.Entry, error)
	// Store makes changes whose keys still have the revisions that they are
	// based on, and returns the new revisions, 0 for those that have not.
	Store(ctx context.Context, bucket string, puts []schemas.Put) ([]uint64, error)
}

// Config is what a relay needs.
type Config struct {
	Journal *journal.Journal
	Bus     Bus
	// Keys seal what is written to buckets.
	Keys *journal.Keyring
	// Shared says that other receivers use the bus too: then an entry is
	// claimed before its change is told, so that only one of them tells one.
	Shared bool
	// Normalize has the translation of every platform by its name.
	Normalize map[string]func(handlers.Delivery) (handlers.Output, error)
	// TrimAfter is how long the journal keeps what the bus acknowledged: 0 for
	// a bus that is known to fsync.
	TrimAfter time.Duration
	// Released, if it is not nil, hears of every release that is settled. It
	// must not block.
	Released func(Released)
	// Pushes reports whether a source pushes: what it also polls is then counted
	// by whether a push had told it. Nil: none does. It must not block.
	Pushes func(source string) bool
	// Sources are the configured ones: their counters begin at 0 rather than
	// at their first event.
	Sources    []string
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Relay carries deliveries from a journal to a bus. Make it with [New].
type Relay struct {
	cfg     Config
	index   *journal.Index
	metrics *metrics

	done    atomic.Uint64 // every entry up to here is told, in quarantine or parked
	rewound chan struct{} // the bus lost what it had: read the journal from its start
	kept    *kept         // told entries that the journal keeps for TrimAfter

	synced     atomic.Uint64 // epoch in which the index caught up, 0 if none
	syncs      atomic.Uint64 // how often it began to
	syncing    sync.Mutex    // guards stopFollow
	stopFollow func()        // ends the followers of that epoch

	complained atomic.Int64 // when a passing failure was last logged, Unix seconds
}

// batchEntries and batchBytes bound what is taken from the journal at once. An
// atomic batch of JetStream holds at most 1,000 messages; above 500 throughput
// hardly grows and latency does.
const (
	batchEntries = 500
	batchBytes   = 4 << 20
)

// New returns a relay. It does nothing until Run is called.
func New(cfg Config) *Relay {
	return &Relay{
		cfg:        cfg,
		index:      cfg.Journal.Index(),
		metrics:    newMetrics(cfg.Registerer, cfg.Sources),
		rewound:    make(chan struct{}, 1),
		kept:       &kept{},
		stopFollow: func() {},
	}
}

// Expect has the counters of sources that came later begin at 0, too. It is
// safe to call at any time, and to repeat.
func (r *Relay) Expect(sources []string) { r.metrics.begin(sources) }

// Run relays until ctx ends, and then returns nil; what was not told by then
// is told after the next start. Failures of the bus and the journal are
// retried for ever.
func (r *Relay) Run(ctx context.Context) error {
	defer func() {
		r.syncing.Lock()
		defer r.syncing.Unlock()
		r.stopFollow()
	}()
	// While the events of one batch are published, the next is stored as raw
	// and the one behind it is translated: the streams sync to disk at the
	// same time, and nobody waits for them.
	translated, stored := make(chan []*item, 1), make(chan []*item, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer close(translated); return r.readAndTranslate(ctx, translated) })
	g.Go(func() error { defer close(stored); return r.keepRaw(ctx, translated, stored) })
	g.Go(func() error { return r.publish(ctx, stored) })
	if r.cfg.TrimAfter > 0 {
		g.Go(func() error { return r.trimKept(ctx) })
	}
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Drain returns when everything that is in the journal now has been told, or
// when ctx ends.
func (r *Relay) Drain(ctx context.Context) error {
	stats := r.cfg.Journal.Stats()
	if stats.Entries == 0 {
		return nil
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.done.Load() < stats.Last {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// readAndTranslate takes the journal's entries in order.
func (r *Relay) readAndTranslate(ctx context.Context, out chan<- []*item) error {
	// Subscribers look for the streams before there is anything to publish.
	if err := r.retry(ctx, func() error { return r.ready(ctx) }); err != nil {
		return err
	}
	for after := uint64(0); ; {
		entries, err := r.read(ctx, after)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errRewound):
			after = 0
			continue
		case err != nil:
			return err
		}
		if err := handOn(ctx, out, r.translate(entries)); err != nil {
			return err
		}
		after = entries[len(entries)-1].Seq
	}
}

// keepRaw stores the sealed deliveries.
func (r *Relay) keepRaw(ctx context.Context, in <-chan []*item, out chan<- []*item) error {
	for items := range in {
		if err := r.retry(ctx, func() error { return r.storeRaw(ctx, items) }); err != nil {
			return err
		}
		if err := handOn(ctx, out, items); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func handOn(ctx context.Context, out chan<- []*item, items []*item) error {
	select {
	case out <- items:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errRewound says that the bus lost messages that it had acknowledged.
var errRewound = errors.New("the bus lost messages")

// read waits for entries behind a sequence.
func (r *Relay) read(ctx context.Context, after uint64) ([]journal.Entry, error) {
	reading, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-r.rewound:
			stop(errRewound)
		case <-done:
		}
	}()
	var entries []journal.Entry
	err := r.retry(reading, func() (err error) {
		entries, err = r.cfg.Journal.Read(reading, after, batchEntries, batchBytes)
		return err
	})
	close(done)
	<-watched
	if cause := context.Cause(reading); errors.Is(cause, errRewound) {
		return nil, errRewound
	}
	return entries, err
}

// publish tells what is stored as raw.
func (r *Relay) publish(ctx context.Context, batches <-chan []*item) error {
	for items := range batches {
		b := newBatch(items)
		if err := r.retry(ctx, func() error { return r.tell(ctx, b) }); err != nil {
			return err
		}
		r.finish(items)
	}
	return ctx.Err()
}

// retry calls fn until it succeeds or ctx ends. It waits longer after each
// failure, at most 1 s: to ask again costs little, and what is told late is told
// late to everybody.
func (r *Relay) retry(ctx context.Context, fn func() error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = 20 * time.Millisecond
	wait.MaxInterval = time.Second
	for {
		err := fn()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.complain(err)
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// complain logs a failure that is retried, at most every 30 s.
func (r *Relay) complain(err error) {
	now, last := time.Now().Unix(), r.complained.Load()
	if now-last >= 30 && r.complained.CompareAndSwap(last, now) {
		r.cfg.Log.Warn("relay waits and tries again; accepted deliveries are safe in the journal", "error", err)
	}
}
