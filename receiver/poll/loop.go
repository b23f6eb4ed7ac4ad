package poll

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

const (
	leaseRetry  = 2 * time.Second  // how often one that another receiver has is tried
	pausedRetry = 5 * time.Second  // how often it is looked whether a poller is still paused
	longestWait = 15 * time.Minute // after failures
	// firstWait is how long at most after a first failure it is asked again:
	// some pollers scan a few times a day.
	firstWait = time.Minute
	ownWait   = 30 * time.Second // after failures of ours
)

// run polls whenever it has the lease, until ctx ends.
func (p *poller) run(ctx context.Context) {
	defer func() { p.shared.accept(p.spec.Owner, p.name) }()
	complained := false
	for {
		_, err := p.cfg.Bus.Hold(ctx, p.lease(), p.cfg.Holder, p.hold)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !complained {
			p.cfg.Log.Warn("a poller waits for its lease", "source", p.source, "target", p.name, "error", err)
		}
		complained = err != nil
		if !sleep(ctx, jittered(leaseRetry)) {
			return
		}
	}
}

// hold polls as long as the lease is held.
func (p *poller) hold(ctx context.Context) error {
	p.holds(true)
	defer p.holds(false)
	p.loaded = ""
	clear(p.appended)
	// Scans that others made in between count, and these here are old.
	p.book.startOver(p.name)
	clear(p.suspects)
	p.set(func(s *Status) { s.Suspect = nil })
	p.metrics.suspect.WithLabelValues(p.source, p.name).Set(0)
	taken := false
	for {
		asked, err := p.wait(ctx)
		if err != nil {
			return err
		}
		if !taken {
			taken = p.takeOver(ctx) == nil
		}
		if asked == nil && p.isPaused(ctx) {
			continue
		}
		err = p.round(ctx)
		if asked != nil {
			asked <- err
		}
	}
}

// wait waits until a scan is due, or an operator asks for one: then it returns
// whom to answer.
func (p *poller) wait(ctx context.Context) (chan error, error) {
	for {
		p.adopt()
		rest := p.shared.resting()
		due := later(p.due, rest)
		p.set(func(s *Status) { s.Next = due })
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
			return nil, nil
		case <-p.changed:
		case asked := <-p.asks:
			if rest = p.shared.resting(); time.Now().Before(rest) {
				asked <- fmt.Errorf("%w before %s", ErrResting, rest.UTC().Format(time.RFC3339))
				break
			}
			timer.Stop()
			return asked, nil
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// adopt takes over what Update changed.
func (p *poller) adopt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil {
		p.spec, p.next = *p.next, nil
		// A shorter interval holds at once, and so does what may mend a failure.
		now := time.Now()
		if p.backoff != nil {
			p.backoff, p.due = nil, now
		} else if soon := now.Add(p.spec.Interval); p.due.After(soon) {
			p.due = soon
		}
	}
	if p.resumed {
		p.resumed, p.due = false, time.Now()
	}
}

// isPaused reports whether an operator paused the poller, wherever, or that
// isn't known; then it sets when to look again.
func (p *poller) isPaused(ctx context.Context) bool {
	e, err := p.loadCursor(ctx, p.pausedKey())
	if err != nil {
		p.due = time.Now().Add(jittered(pausedRetry))
		p.problem(err)
		return true
	}
	var f pauseFlag
	paused := e.cursor != nil && json.Unmarshal(e.cursor, &f) == nil && f.Paused
	p.paused(paused)
	if paused {
		p.due = time.Now().Add(jittered(pausedRetry))
	}
	return paused
}

// round makes a scan, and says when the next one is due.
func (p *poller) round(ctx context.Context) error {
	p.set(func(s *Status) { s.Running = true })
	defer p.set(func(s *Status) { s.Running = false })
	began := time.Now()
	err := own(p.cfg.Relay.Drain(ctx))
	if err == nil {
		// What couldn't be kept is not asked for.
		err = own(p.cfg.Journal.Ready())
	}
	var r result
	if err == nil {
		began = time.Now()
		r, err = p.scan(ctx)
	}
	how := p.judge(ctx, began, r, err)
	p.metrics.counted(p.source, p.name, how, r)
	p.set(func(s *Status) {
		if how == resultCanceled {
			return
		}
		s.Last, s.Failures, s.Since, s.Error = began, p.trouble.failures, p.trouble.since, ""
		if err != nil {
			s.Error = err.Error()
			return
		}
		s.LastSuccess, s.Suspect = began, r.suspect
	})
	return err
}

// judge says how a scan ended, and sets when the next one is due.
func (p *poller) judge(ctx context.Context, began time.Time, r result, err error) string {
	var ours *ownError
	var auth *handlers.AuthError
	switch {
	case err == nil:
		p.backoff, p.ownBackoff, p.complained = nil, nil, false
		p.due = began.Add(between(p.spec.Interval))
		p.shared.accept(p.spec.Owner, p.name)
		p.recovered(began)
		p.suspected(began, r.suspect)
		return resultSuccess
	case ctx.Err() != nil:
		p.due = time.Now()
		return resultCanceled
	}
	// What the platform wants holds, whatever else went wrong.
	if after := retryAfter(err); after > 0 {
		p.shared.rest(time.Now().Add(after))
	}
	refused := errors.As(err, &auth)
	if refused {
		p.refused(began, auth)
	}
	how := resultFailed
	if errors.As(err, &ours) {
		how = resultWaiting
		if p.ownBackoff == nil {
			p.ownBackoff = growing(time.Second, ownWait)
		}
		p.due = time.Now().Add(p.ownBackoff.NextBackOff())
		p.problem(err)
	} else {
		if p.backoff == nil {
			p.backoff = growing(min(p.spec.Interval, firstWait), longestWait)
		}
		p.due = time.Now().Add(min(p.backoff.NextBackOff(), longestWait))
	}
	if refused {
		how = resultAuth
		p.due = later(p.due, auth.Until)
	}
	if how == resultWaiting {
		return how
	}
	p.failed(began, err)
	p.cfg.Log.Warn("a scan failed", "source", p.source, "target", p.name, "error", err,
		"attempt", p.trouble.failures, "retry_in", time.Until(p.due).Round(time.Second))
	return how
}

// problem logs a failure of ours, once until polling goes on.
func (p *poller) problem(err error) {
	p.set(func(s *Status) { s.Error = err.Error() })
	if !p.complained {
		p.complained = true
		p.cfg.Log.Warn("a poller waits for the bus or the journal", "source", p.source, "target", p.name, "error", err)
	}
}

// refused has it told that a login is refused, once for all pollers that use it.
func (p *poller) refused(began time.Time, auth *handlers.AuthError) {
	if !p.shared.refuse(p.spec.Owner, p.name) {
		return
	}
	if !p.trouble.told {
		p.trouble.since, p.trouble.refused = began, true
	}
	since := p.trouble.since
	p.news.tell(p, schemas.PlatformAuthFailed, began, "", schemas.AuthFailure{
		Platform: p.platform, Poller: p.name, Endpoint: auth.Endpoint, Code: int64(auth.Code),
		Retry: schemas.FormatTime(auth.Until),
	}, func(ctx context.Context) error { return p.noteTrouble(ctx, since) })
}

// retryAfter returns how long the platform wants not to be asked.
func retryAfter(err error) time.Duration {
	var upstream *handlers.UpstreamError
	if errors.As(err, &upstream) {
		return upstream.RetryAfter
	}
	return 0
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// growing returns waits that grow from first to most.
func growing(first, most time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier, b.RandomizationFactor = min(first, most), most, 2, 0.1
	b.Reset()
	return b
}

// between returns an interval, 10 % longer or shorter.
func between(interval time.Duration) time.Duration {
	return interval + time.Duration((rand.Float64()*0.2-0.1)*float64(interval)) //nolint:gosec // no secret
}

func jittered(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:gosec // no secret
}

// sleep waits, and reports false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
