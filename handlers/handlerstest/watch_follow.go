package handlerstest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/schemas"
)

// Push has the source authenticate a push, as a receiver does, and returns the
// events that were told because of it. One that is not authentic fails the
// test. A repeat tells nothing.
func (w *Watch) Push(header http.Header, body []byte) []schemas.Event {
	w.t.Helper()
	push, err := w.source.Push.Webhook.Authenticate(handlers.Request{Header: header, Body: body, Received: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.road.Append(w.t.Context(), handlers.Delivery{
		Source: w.source.Name, Platform: w.platform.Name, Channel: schemas.ChannelPush,
		Role: push.Role, Sent: push.Sent, Stale: push.Stale, Received: w.now, Payload: body,
	}, push.TransportID, push.Content)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.told(schemas.ChannelPush)
}

// Follow asks the platform what the events mean that were told until now and
// that the source follows up, one after the other as they were told, and
// returns the events that it told then. What has no answer yet is asked again
// by the next call, as if the wait for it were over; GivenUp has what is not
// asked again any more.
func (w *Watch) Follow() []schemas.Event {
	w.t.Helper()
	if w.source.FollowUp == nil {
		w.t.Fatal("source follows nothing up")
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	round := &round{watch: w, delivered: make(chan struct{})}
	follow := poll.NewFollowUps(w.config(), round.consume)
	ended := make(chan error, 1)
	go func() { ended <- follow.Run(ctx, []handlers.Source{w.source}) }()
	select {
	case <-round.delivered:
	case <-ctx.Done():
	}
	cancel()
	if err := <-ended; err != nil {
		w.t.Fatal(err)
	}
	return w.told(schemas.ChannelPoll)
}

// Redeliver has everything followed up again that was followed up before, as a
// bus does that missed that it is done.
func (w *Watch) Redeliver() {
	for _, l := range w.letters {
		l.done = false
	}
}

// Unanswered returns the ids of the events that were followed up and have no
// answer yet, or were not followed up yet, in order.
func (w *Watch) Unanswered() (ids []string) {
	for _, l := range w.letters {
		if !l.done {
			ids = append(ids, l.message.ID)
		}
	}
	return ids
}

// GivenUp returns the ids of the events whose follow-up went into quarantine.
func (w *Watch) GivenUp() []string { return slices.Clone(w.givenUp) }

// giveUp notes that a follow-up is in quarantine.
func (w *Watch) giveUp(d handlers.Delivery) error {
	var e handlers.ToldEvent
	if err := json.Unmarshal(d.Payload, &e); err != nil {
		return errors.New("a follow-up that was given up is not readable")
	}
	w.givenUp = append(w.givenUp, e.ID)
	return nil
}

// keep keeps an event that is to be followed up.
func (w *Watch) keep(e schemas.Event, m schemas.Message) {
	if w.source.FollowUp != nil && slices.Contains(w.source.FollowUp.Types, e.Type) {
		w.letters = append(w.letters, &letter{message: m, seq: uint64(len(w.letters) + 1)})
	}
}

// letter is a message that the bus delivers until it is done.
type letter struct {
	message    schemas.Message
	seq        uint64
	deliveries int
	done       bool
	answered   chan struct{}
}

// round delivers each open message once.
type round struct {
	watch     *Watch
	delivered chan struct{} // closed when all are answered for
}

// consume is a [poll.Consume].
func (r *round) consume(ctx context.Context, c poll.Consumption, fn func(poll.Message)) error {
	if c.Stream == schemas.StreamEvents {
		for _, l := range r.watch.letters {
			if l.done || ctx.Err() != nil {
				continue
			}
			l.deliveries++
			l.answered = make(chan struct{}, 1)
			fn(poll.Message{Seq: l.seq, Header: l.message.Header, Data: l.message.Body, Deliveries: l.deliveries, Reply: l})
			select {
			case <-l.answered:
			case <-ctx.Done():
			}
		}
		close(r.delivered)
	}
	<-ctx.Done()
	return ctx.Err()
}

// Done implements [poll.Reply].
func (l *letter) Done(context.Context) error {
	l.done = true
	l.answered <- struct{}{}
	return nil
}

// Later implements [poll.Reply].
func (l *letter) Later(time.Duration) error {
	l.answered <- struct{}{}
	return nil
}

// Working implements [poll.Reply].
func (*letter) Working() error { return nil }
