package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

const (
	// confirmPatience is how long one confirmation may take: to find the
	// delivery, and to call.
	confirmPatience = 20 * time.Second
	// confirmLook is how often it is looked whether a try is due.
	confirmLook = time.Second
	// forgetEvery is how often it is looked whether something needs nobody's
	// attention any more, for which all metrics are read.
	forgetEvery = time.Minute
	// How long it takes from one try to the next.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// A confirmation is told that often before it is given up for now.
	confirmTells = 5
	tellPause    = 500 * time.Millisecond
)

func newSubscriptions(a *app) *subscriptions {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	s := &subscriptions{
		app: a, holder: host, one: make(chan struct{}, 1), wake: make(chan struct{}, 1), caughtUp: make(chan struct{}), known: map[topicOf]*subscription{},
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "postern", Name: "push_confirmations_total",
			Help: "Tries to confirm a subscription: confirmed, refused (trying again is of no use) or failed.",
		}, []string{"source", "outcome"}),
	}
	for _, src := range a.cfg.Sources {
		if src.Opened.Push == nil {
			continue
		}
		for _, outcome := range []string{ops.OutcomeConfirmed, ops.OutcomeRefused, ops.OutcomeFailed} {
			s.outcomes.WithLabelValues(src.Name, outcome)
		}
	}
	a.registry.MustRegister(s)
	return s
}

// run reads what is told of subscriptions, and confirms those of sources that
// ask nobody, until ctx ends.
func (s *subscriptions) run(ctx context.Context, b *bus.Bus) {
	var following sync.WaitGroup
	following.Go(func() { s.follow(ctx, b) })
	defer following.Wait()
	var forgot time.Time
	for {
		s.confirmDue(ctx, b)
		if now := time.Now(); now.Sub(forgot) > forgetEvery {
			forgot = now
			told := s.app.gathered()
			s.forget(now, func(source string) time.Time {
				if at := s.app.lastPush(ctx, told, source); at != nil {
					return *at
				}
				return time.Time{}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(confirmLook):
		}
	}
}

// confirmDue confirms what nobody has to be asked about and is due.
func (s *subscriptions) confirmDue(ctx context.Context, b *bus.Bus) {
	for _, src := range s.app.now.Load().Sources {
		push := src.Opened.Push
		if push == nil || !push.ConfirmUnasked || push.Confirm == nil {
			continue
		}
		waiting, _, ready := s.of(src.Name)
		for _, c := range waiting {
			now := time.Now()
			if !ready || ctx.Err() != nil || c.final || now.Before(c.next) || now.After(c.deadline) {
				continue
			}
			s.confirm(ctx, b, src, c)
		}
	}
}

// confirm confirms a subscription unless another receiver is about it. It is
// safe to repeat: what was told to be confirmed isn't confirmed again. It
// reports whether it was this call that confirmed it.
func (s *subscriptions) confirm(ctx context.Context, b *bus.Bus, src *Source, c confirmation) (result ops.Confirmation, done bool) {
	result.Topic = c.topic
	select {
	case s.one <- struct{}{}:
		defer func() { <-s.one }()
	case <-ctx.Done():
		result.Outcome = ops.OutcomeBusy
		return result, false
	}
	limited, cancel := context.WithTimeout(ctx, confirmPatience)
	defer cancel()
	held, err := b.Hold(limited, "confirm."+schemas.Token(c.event), s.holder, func(ctx context.Context) (err error) {
		done, err = s.confirmOnce(ctx, b, src, c)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil: // the receiver ends, or nobody waits any more
		result.Outcome, result.Detail = ops.OutcomeFailed, err.Error()
	case err != nil:
		result.Outcome, result.Detail = ops.OutcomeFailed, err.Error()
		final := isFinal(err)
		if final {
			result.Outcome = ops.OutcomeRefused
		}
		s.outcomes.WithLabelValues(src.Name, result.Outcome).Inc()
		next := s.tried(c, result.Detail, final, time.Now())
		s.logFailure(src, c, err, final, next)
	case !held:
		result.Outcome, result.Detail = ops.OutcomeBusy, "another receiver is about it"
		s.later(c, time.Now())
	default:
		result.Outcome = ops.OutcomeConfirmed
		if done {
			s.outcomes.WithLabelValues(src.Name, result.Outcome).Inc()
			s.app.log.Info("a subscription is confirmed", "source", src.Name, "event", c.event)
		}
		s.settle(c)
	}
	return result, done
}

func (s *subscriptions) logFailure(src *Source, c confirmation, err error, final bool, next time.Time) {
	if final || !src.Opened.Push.ConfirmUnasked || next.IsZero() || next.After(c.deadline) {
		s.app.log.Error("a subscription is not confirmed", "source", src.Name, "event", c.event, "error", err)
		return
	}
	s.app.log.Warn("a subscription is not confirmed yet; it is tried again", "source", src.Name, "event", c.event, "error", err,
		"retry_in", time.Until(next).Round(time.Second))
}

// isFinal reports whether trying again is of no use.
func isFinal(err error) bool {
	var refused *handlers.RefusedError
	return errors.As(err, &refused) || errors.Is(err, handlers.ErrNotThere) || errors.Is(err, errNoDelivery) || errors.Is(err, ops.ErrSealed)
}

var (
	errNoDelivery = errors.New("the delivery that asked for it is not on POSTERN_RAW any more")
	errNoWay      = errors.New("SNS of its region is not known here: confirm it elsewhere")
)

// confirmOnce confirms a subscription unless that is told already, and tells
// it. It reports whether it confirmed it.
func (s *subscriptions) confirmOnce(ctx context.Context, b *bus.Bus, src *Source, c confirmation) (bool, error) {
	e := confirmedEvent(src, c, time.Now())
	msgs, err := messagesOf(e)
	if err != nil {
		return false, err
	}
	told, err := b.Told(ctx, schemas.StreamOps, msgs[0].Subject, e.ID, c.recorded.Add(-clockSkew))
	if err != nil || told {
		return false, err
	}
	d, err := s.app.triage.rawDelivery(ctx, c.source, c.delivery, c.recorded)
	if errors.Is(err, ops.ErrNotThere) {
		return false, errNoDelivery
	}
	if err != nil {
		return false, err
	}
	if err := src.Opened.Push.Confirm(ctx, d); err != nil {
		return false, err
	}
	for tries := 1; ; tries++ {
		_, err := b.Publish(ctx, schemas.StreamOps, msgs)
		if err == nil {
			return true, nil
		}
		if tries == confirmTells || ctx.Err() != nil {
			return true, fmt.Errorf("it is confirmed, but that can't be told yet: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(tellPause):
		}
	}
}

// confirmedEvent tells that a subscription is confirmed. Its id is made of what
// the id of the event is made of that asked for it: so it is told once.
func confirmedEvent(src *Source, c confirmation, now time.Time) schemas.Event {
	fact, _ := strings.CutSuffix(c.event, schemas.PlatformConfirmationRequested.Event())
	return schemas.Event{
		ID: fact + schemas.PlatformPushConfirmed.Event(), Source: c.source, Type: schemas.PlatformPushConfirmed, Key: c.key,
		Time: schemas.FormatTime(now), Recorded: now, CausationID: c.event,
		Data: schemas.Subscription{Platform: src.Platform.Name, Topic: c.topic},
	}
}

// tried notes what became of a try, and returns when the next one is due; zero
// if none is.
func (s *subscriptions) tried(c confirmation, failure string, final bool, now time.Time) (next time.Time) {
	s.edit(c, func(w *confirmation) {
		w.tries++
		w.failure, w.final = failure, final
		w.next = now.Add(retryAfter(w.tries))
		if !final {
			next = w.next
		}
	})
	return next
}

// later puts the next try off: another receiver is about it.
func (s *subscriptions) later(c confirmation, now time.Time) {
	s.edit(c, func(w *confirmation) { w.next = now.Add(retryAfter(w.tries + 1)) })
}

// settle notes what is on the stream already, and is about to be heard.
func (s *subscriptions) settle(c confirmation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.known[topicOf{c.source, c.topic}]; sub != nil && sub.waiting != nil && sub.waiting.event == c.event {
		sub.waiting, sub.ended, sub.confirmed = nil, nil, c.event
	}
}

// edit changes what is known of a confirmation, if it still waits.
func (s *subscriptions) edit(c confirmation, change func(*confirmation)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.known[topicOf{c.source, c.topic}]; sub != nil && sub.waiting != nil && sub.waiting.event == c.event {
		change(sub.waiting)
	}
}

// retryAfter returns how long to wait after a number of tries that failed. It
// differs a little each time, so that receivers don't keep step.
func retryAfter(tries int) time.Duration {
	wait := lastRetry
	if tries < 10 {
		wait = min(firstRetry<<max(tries-1, 0), lastRetry)
	}
	return wait + rand.N(wait/4)
}
