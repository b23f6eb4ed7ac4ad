package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// StreamState asks the server for a stream's state. Its errors are transient.
func (b *Bus) StreamState(ctx context.Context, stream schemas.Stream) (schemas.StreamState, error) {
	ctx, cancel, err := b.attemptAt(ctx, stream)
	if err != nil {
		return schemas.StreamState{}, fmt.Errorf("state of %s: %w", stream, err)
	}
	defer cancel()
	epoch := b.Epoch()
	s, err := b.js.Stream(ctx, string(stream))
	if err != nil {
		return schemas.StreamState{}, fmt.Errorf("state of %s: %w", stream, explained(ctx, err))
	}
	info := s.CachedInfo()
	b.facts.note(stream, epoch, info.Config)
	first := info.State.FirstSeq
	if info.State.Msgs == 0 {
		first = info.State.LastSeq + 1
	}
	return schemas.StreamState{
		Created:  info.Created,
		First:    first,
		Last:     info.State.LastSeq,
		Messages: info.State.Msgs,
		Bytes:    info.State.Bytes,
		MaxBytes: info.Config.MaxBytes,
	}, nil
}

// Follow tells the headings of a stream's messages behind after, in order and
// without holes, as they come: fn is called with as many as there are. It goes
// on by itself over lost connections and restarts of the server, until ctx ends
// or fn fails, and returns why. It fails with [ErrRewound] if the stream isn't
// the same any more; then what was told before may not hold.
//
// last is the sequence up to which everything was told. It also passes messages
// that have no id, which aren't told, and sequences that are gone.
func (b *Bus) Follow(ctx context.Context, stream schemas.Stream, after uint64, fn func(headings []schemas.Heading, last uint64) error) error {
	r := reading{
		b: b, stream: stream, after: after, pull: 5000,
		config: jetstream.ConsumerConfig{HeadersOnly: true},
	}
	err := r.run(ctx, func(msgs []jetstream.Msg, after uint64, _ bool) error {
		headings := make([]schemas.Heading, 0, len(msgs))
		for _, m := range msgs {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			header := m.Headers()
			if id := header.Get(schemas.HeaderMsgID); id != "" {
				headings = append(headings, schemas.Heading{
					Seq: meta.Sequence.Stream, ID: id, Facets: header.Get(schemas.HeaderFacets),
				})
			}
		}
		return fn(headings, after)
	})
	return fmt.Errorf("follow %s: %w", stream, err)
}
