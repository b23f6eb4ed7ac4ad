package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// Delete deletes the record at a sequence if it is of that delivery, and
// reports whether it did. A record that isn't there, or is another one because
// the stream was made anew, is left alone: it is safe to repeat. Its errors are
// transient, unless the stream allows no deletes.
func (b *Bus) Delete(ctx context.Context, stream schemas.Stream, seq uint64, delivery string) (bool, error) {
	m, err := b.Get(ctx, stream, seq)
	if errors.Is(err, ErrNoMessage) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete: %w", err)
	}
	if of := m.Header[schemas.HeaderDelivery]; len(of) != 1 || of[0] != delivery {
		return false, nil
	}
	ctx, cancel, err := b.attempt(ctx)
	if err != nil {
		return false, fmt.Errorf("delete from %s: %w", stream, err)
	}
	defer cancel()
	s, err := b.js.Stream(ctx, string(stream))
	if err != nil {
		return false, fmt.Errorf("delete from %s: %w", stream, explained(ctx, err))
	}
	if err := s.DeleteMsg(ctx, seq); err != nil {
		return false, fmt.Errorf("delete from %s: %w", stream, explained(ctx, err))
	}
	return true, nil
}

// Told reports whether a stream has a message with that id and subject that
// was stored since then. Unlike the de-duplication window it forgets nothing
// that is still there.
func (b *Bus) Told(ctx context.Context, stream schemas.Stream, subject, id string, since time.Time) (bool, error) {
	found := errors.New("found")
	err := b.Tail(ctx, TailOptions{Stream: stream, Subjects: []string{subject}, Since: since, HeadersOnly: true}, func(m TailMessage) error {
		if ids := m.Header[schemas.HeaderMsgID]; len(ids) == 1 && ids[0] == id {
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}

// Last returns the newest message of a subject of a stream, or [ErrNoMessage].
func (b *Bus) Last(ctx context.Context, stream schemas.Stream, subject string) (TailMessage, error) {
	ctx, cancel, err := b.attempt(ctx)
	if err != nil {
		return TailMessage{}, fmt.Errorf("last of %s: %w", stream, err)
	}
	defer cancel()
	s, err := b.js.Stream(ctx, string(stream))
	if err != nil {
		return TailMessage{}, fmt.Errorf("last of %s: %w", stream, explained(ctx, err))
	}
	m, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return TailMessage{}, fmt.Errorf("last of %s: %w", stream, ErrNoMessage)
	}
	if err != nil {
		return TailMessage{}, fmt.Errorf("last of %s: %w", stream, explained(ctx, err))
	}
	return TailMessage{
		Seq: m.Sequence, Subject: m.Subject, Time: m.Time, Header: published(m.Header), Data: m.Data, Size: len(m.Data),
	}, nil
}
