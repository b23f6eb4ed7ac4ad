package poll

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed75441868/postern/handlers"
)

// poller asks one thing of one source.
type poller struct {
	cfg      *Config
	metrics  *Metrics
	news     *news
	source   string
	name     string // without the source
	role     string
	platform string
	book     *book
	shared   *shared

	asks    chan chan error // from operators
	changed chan struct{}   // has one when there is something to adopt

	mu      sync.Mutex       // guards what follows
	next    *handlers.Poller // what Update replaced spec with
	resumed bool             // by an operator
	lost    chan struct{}    // closed when the lease is lost, nil if it isn't held
	status  Status

	// What follows is for the goroutine that scans.
	spec       handlers.Poller
	due        time.Time // of the next scan, zero: at once
	loaded     string    // the generation of the bucket that the book was filled from, "" if it wasn't
	read       uint64    // the revision up to which the bucket was read
	settled    uint64    // the one up to which it was read again
	appended   map[string]*attempt
	previous   time.Time // when the last scan began that ended well, zero if there was none
	trouble    trouble
	suspects   map[string]bool
	backoff    *backoff.ExponentialBackOff // nil unless the last scan failed
	ownBackoff *backoff.ExponentialBackOff
	complained bool
}

// set changes the status.
func (p *poller) set(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}

// holds notes whether the lease is held.
func (p *poller) holds(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Held = held
	gauge := p.metrics.held.WithLabelValues(p.source, p.name)
	if held {
		p.lost = make(chan struct{})
		gauge.Set(1)
		return
	}
	close(p.lost)
	p.lost = nil
	gauge.Set(0)
}

// paused notes whether an operator paused it.
func (p *poller) paused(paused bool) {
	p.set(func(s *Status) { s.Paused = paused })
	gauge := p.metrics.paused.WithLabelValues(p.source, p.name)
	if paused {
		gauge.Set(1)
	} else {
		gauge.Set(0)
	}
}

// nudge has what changed adopted soon.
func (p *poller) nudge() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// defaultTimeout is how long a scan may take.
const defaultTimeout = 5 * time.Minute

// scan makes one scan and appends what it found different. Everything that is
// in the journal has been told.
func (p *poller) scan(ctx context.Context) (result, error) {
	if err := p.refresh(ctx); err != nil {
		return result{}, err
	}
	s := newScan(ctx, p, p.cfg.now().UTC().Truncate(time.Millisecond))
	failure := p.ask(ctx, s)
	if ctx.Err() != nil {
		return result{seen: s.sightings, told: s.told}, context.Cause(ctx)
	}
	r, err := s.settle(ctx, failure != nil)
	if failure != nil || err != nil {
		return r, errors.Join(failure, err)
	}
	p.previous = s.began
	return r, nil
}

// ask has the platform asked.
func (p *poller) ask(ctx context.Context, s *scan) (err error) {
	timeout := p.spec.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.ctx = ctx
	defer func() {
		if v := recover(); v != nil {
			// What it panicked with may be a value.
			p.cfg.Log.Error("a poller panicked", "source", p.source, "target", p.name,
				"reason", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return p.spec.Scan(ctx, s)
}
