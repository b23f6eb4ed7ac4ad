package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/schemas"
)

const (
	// unsaidDeadline is how long a confirmation waits of which the platform
	// doesn't say when it lapses.
	unsaidDeadline = 48 * time.Hour
	// lapsedShown is how long a confirmation that lapsed is shown.
	lapsedShown = 7 * 24 * time.Hour
	// lateAfterEnd is how long after the end of a subscription pushes may
	// still be tried again: SNS gives up after an hour.
	lateAfterEnd = time.Hour
)

// subscriptions are what POSTERN_OPS says of the subscriptions of all sources:
// which wait to be confirmed, and which were ended. So all receivers know the
// same, also after a restart. Their methods are safe for concurrent use.
type subscriptions struct {
	app    *app
	holder string        // who this receiver is, to the others
	one    chan struct{} // taken while a confirmation is under way
	wake   chan struct{} // something may have to be done

	outcomes *prometheus.CounterVec

	caughtUp chan struct{} // closed when everything that was there was read

	mu    sync.Mutex
	ready bool // everything that was there was read
	known map[topicOf]*subscription
}

type topicOf struct{ source, topic string }

// subscription is what is known of the subscriptions of a source to a topic.
type subscription struct {
	waiting *confirmation // nil: none waits
	ended   *ending       // nil: none ended, or there is one again
	// confirmed is the id of the event that asked for what was confirmed last:
	// however often that is told, it waits no more.
	confirmed string
}

// confirmation waits to be made.
type confirmation struct {
	source, topic   string
	event, key      string // of the event that told it
	delivery        string // that asks for it
	asked, recorded time.Time
	deadline        time.Time

	// What this receiver has tried.
	tries   int
	failure string
	final   bool // trying again is of no use
	next    time.Time
}

// ending is the end of a subscription.
type ending struct {
	event    string
	at       time.Time
	recorded time.Time
}

// toldOf is what a subscription's event says.
type toldOf struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	Recorded    time.Time `json:"recordedtime"`
	DeliveryID  string    `json:"deliveryid"`
	CausationID string    `json:"causationid"`
	Data        struct {
		Topic    string    `json:"topic"`
		Deadline time.Time `json:"deadline"`
	} `json:"data"`
}

// follow reads what is told of subscriptions until ctx ends.
func (s *subscriptions) follow(ctx context.Context, b *bus.Bus) {
	options := bus.TailOptions{Stream: schemas.StreamOps}
	for _, t := range []schemas.Type{schemas.PlatformConfirmationRequested, schemas.PlatformPushConfirmed, schemas.PlatformPushEnded} {
		options.Subjects = append(options.Subjects, schemas.StreamOps.Prefix()+".*."+t.Event())
	}
	var once sync.Once
	for ctx.Err() == nil {
		s.mu.Lock()
		s.ready, s.known = false, map[topicOf]*subscription{}
		s.mu.Unlock()
		options.After, options.Follow = 0, false
		err := b.Tail(ctx, options, func(m bus.TailMessage) error {
			options.After = m.Seq
			s.hear(m)
			return nil
		})
		if err == nil {
			s.mu.Lock()
			s.ready = true
			s.mu.Unlock()
			once.Do(func() { close(s.caughtUp) })
			s.alert()
			options.Follow = true
			err = b.Tail(ctx, options, func(m bus.TailMessage) error {
				s.hear(m)
				s.alert()
				return nil
			})
		}
		if ctx.Err() == nil {
			s.app.log.Warn("what is told of subscriptions is read anew", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// alert has who confirms look whether there is something to do.
func (s *subscriptions) alert() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// hear takes note of an event. Events come in the order of the stream, which is
// the same for all receivers; to hear one again changes nothing.
func (s *subscriptions) hear(m bus.TailMessage) {
	var e toldOf
	source := sourceOfRecord(m.Subject)
	if err := json.Unmarshal(m.Data, &e); err != nil || e.Data.Topic == "" || source == "" {
		s.app.log.Warn("an event about a subscription can't be read", "stream", schemas.StreamOps, "seq", m.Seq)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := topicOf{source, e.Data.Topic}
	sub := s.known[at]
	if sub == nil {
		sub = &subscription{}
		s.known[at] = sub
	}
	switch schemas.Type(strings.TrimSuffix(strings.TrimPrefix(e.Type, "postern."), ".v1")) {
	case schemas.PlatformConfirmationRequested:
		sub.request(source, e)
	case schemas.PlatformPushConfirmed:
		sub.ended, sub.confirmed = nil, e.CausationID
		if sub.waiting != nil && (e.CausationID == "" || e.CausationID == sub.waiting.event) {
			sub.waiting = nil
		}
	case schemas.PlatformPushEnded:
		sub.ended = &ending{event: e.ID, at: e.Time, recorded: e.Recorded}
	}
}

// request notes that a confirmation is asked for: the last one counts.
func (sub *subscription) request(source string, e toldOf) {
	if sub.confirmed == e.ID || sub.waiting != nil && sub.waiting.event == e.ID {
		return
	}
	_, key, _ := strings.Cut(e.Subject, "/")
	sub.waiting = &confirmation{
		source: source, topic: e.Data.Topic, event: e.ID, key: key, delivery: e.DeliveryID,
		asked: e.Time, recorded: e.Recorded, deadline: e.Data.Deadline,
	}
	if e.Data.Deadline.IsZero() {
		sub.waiting.deadline = e.Recorded.Add(unsaidDeadline)
	}
}

// forget drops what needs nobody's attention any more. lastPush returns when a
// source pushed last, zero if that is not known.
func (s *subscriptions) forget(now time.Time, lastPush func(source string) time.Time) {
	type past struct {
		topicOf
		until time.Time // a push after that says that there is a subscription
		ended bool
	}
	var candidates []past
	s.mu.Lock()
	for at, sub := range s.known {
		if w := sub.waiting; w != nil && now.After(w.deadline) {
			if now.Sub(w.deadline) > lapsedShown {
				sub.waiting = nil
			} else {
				candidates = append(candidates, past{at, w.deadline, false})
			}
		}
		if e := sub.ended; e != nil && now.Sub(e.recorded) > lateAfterEnd && s.onlyTopic(at) {
			candidates = append(candidates, past{at, e.recorded.Add(lateAfterEnd), true})
		}
	}
	s.mu.Unlock()
	for _, c := range candidates {
		if !lastPush(c.source).After(c.until) {
			continue
		}
		s.mu.Lock()
		if sub := s.known[c.topicOf]; sub != nil && c.ended {
			sub.ended = nil
		} else if sub != nil {
			sub.waiting = nil
		}
		s.mu.Unlock()
	}
}

// onlyTopic reports whether a push of the source can only be one of the topic.
func (s *subscriptions) onlyTopic(at topicOf) bool {
	for _, src := range s.app.now.Load().Sources {
		if src.Name == at.source && src.Opened.Push != nil {
			return slices.Equal(src.Opened.Push.Topics, []string{at.topic})
		}
	}
	return false
}

// of returns what waits and what ended of a source, sorted by topic. It reports
// false while that is not known.
func (s *subscriptions) of(source string) (waiting []confirmation, ended map[string]ending, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = map[string]ending{}
	for at, sub := range s.known {
		if at.source != source {
			continue
		}
		if sub.waiting != nil {
			waiting = append(waiting, *sub.waiting)
		}
		if sub.ended != nil {
			ended[at.topic] = *sub.ended
		}
	}
	slices.SortFunc(waiting, func(a, b confirmation) int { return cmp.Compare(a.topic, b.topic) })
	return waiting, ended, s.ready
}
