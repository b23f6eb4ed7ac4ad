package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/schemas"
)

// Store makes changes to a bucket, each only if its key still has the revision
// that the change is based on. A base of 0 wants a key that has nothing, be it
// that it was deleted. Store returns for each change the new revision, or 0 if
// the key has moved on: then nothing was changed.
//
// With an error, which of the changes without a revision are made is unknown.
// Repeating them is safe; one that was made counts as moved on then, which the
// value tells apart. If the error wraps [schemas.ErrUnpublishable], one of them
// can never be made and none is. Every other error is transient. Store makes
// one attempt and doesn't wait for a connection.
func (b *Bus) Store(ctx context.Context, bucket string, puts []schemas.Put) ([]uint64, error) {
	revisions := make([]uint64, len(puts))
	if len(puts) == 0 {
		return revisions, nil
	}
	changes := make([]change, len(puts))
	for i, p := range puts {
		changes[i] = change{Put: p, at: i, seq: p.Base}
	}
	if err := b.change(ctx, bucket, changes, revisions); err != nil {
		b.wonder(ctx, keyStream(bucket), err)
		return revisions, fmt.Errorf("store in %s: %w", bucket, err)
	}
	return revisions, nil
}

// change is a put on its way.
type change struct {
	schemas.Put
	at  int    // its place among all
	seq uint64 // what the message that stands for the key must have, 0: there must be none
}

// change makes changes and fills in their revisions.
func (b *Bus) change(ctx context.Context, bucket string, changes []change, revisions []uint64) error {
	if err := b.frozen(); err != nil {
		return err
	}
	f, err := b.storable(ctx, bucket, changes)
	if err != nil {
		return err
	}
	for len(changes) > 0 {
		n, size := 0, 0
		for n < len(changes) && n < maxBatch {
			size += len(changes[n].Key) + len(changes[n].Value) + headroom
			if n > 0 && size > maxBatchBytes {
				break
			}
			n++
		}
		if err := b.some(ctx, bucket, changes[:n], f.atomic, revisions); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return nil
}

// storable refuses what can never be stored, and returns what is known of the
// bucket's stream.
func (b *Bus) storable(ctx context.Context, bucket string, changes []change) (fact, error) {
	msgs := make([]schemas.Message, len(changes))
	for i, c := range changes {
		if err := checkKey(bucket, c.Key); err != nil {
			return fact{}, fmt.Errorf("%w: %w", schemas.ErrUnpublishable, err)
		}
		msgs[i] = schemas.Message{Subject: keySubject(bucket, c.Key), Body: c.Value}
		if msgs[i].Size() > b.MaxPayload() {
			return fact{}, fmt.Errorf("%w: a value is too large", schemas.ErrUnpublishable)
		}
	}
	f, err := b.fact(ctx, keyStream(bucket))
	if err != nil {
		return fact{}, err
	}
	n, err := b.larger(ctx, f, keyStream(bucket), msgs)
	if err == nil && n < len(msgs) {
		err = fmt.Errorf("%w: a value is larger than the bucket may become", schemas.ErrUnpublishable)
	}
	return f, err
}

// some makes as many changes as fit into one batch. One that doesn't hold makes
// the server refuse a whole batch, and it doesn't say which one it is: then we
// look which keys have moved on, and try again without those. If that was not
// it, one by one shows it.
func (b *Bus) some(ctx context.Context, bucket string, changes []change, atomic bool, revisions []uint64) error {
	for range 2 {
		if !atomic || len(changes) < minBatch {
			break
		}
		seqs, err := b.batch(ctx, keyMessages(bucket, changes))
		if err == nil {
			for i, c := range changes {
				revisions[c.at] = seqs[i]
			}
			return nil
		}
		if !isMoved(err) {
			// Without a batch id in the answer some may be stored: then one by
			// one would find keys moved on that we moved.
			if !rejected(err) || errors.Is(err, errNoBatch) {
				return err
			}
			break
		}
		if changes, err = b.unmoved(ctx, bucket, changes); err != nil {
			return err
		}
	}
	for _, c := range changes {
		var err error
		if revisions[c.at], err = b.put(ctx, bucket, c); err != nil {
			return err
		}
	}
	return nil
}

// put makes one change and returns its revision, or 0 if the key has moved on.
func (b *Bus) put(ctx context.Context, bucket string, c change) (uint64, error) {
	for {
		seq, err := b.putOnce(ctx, keyMessages(bucket, []change{c})[0])
		if !isMoved(err) {
			return seq, err
		}
		before := c.seq
		moved, lookErr := b.look(ctx, bucket, &c)
		switch {
		case lookErr != nil:
			return 0, lookErr
		case moved:
			return 0, nil
		case c.seq == before:
			// Somebody else's change is still in process.
			return 0, err
		}
	}
}

func (b *Bus) putOnce(ctx context.Context, m *nats.Msg) (uint64, error) {
	ctx, cancel, err := b.attemptAt(ctx, schemas.Stream(m.Header.Get(jetstream.ExpectedStreamHeader)))
	if err != nil {
		return 0, err
	}
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, classified(explained(ctx, err))
	}
	return ack.Sequence, nil
}

// unmoved returns the changes whose keys have not moved on.
func (b *Bus) unmoved(ctx context.Context, bucket string, changes []change) ([]change, error) {
	const atOnce = 16
	moved := make([]bool, len(changes))
	looks, ctx := errgroup.WithContext(ctx)
	looks.SetLimit(atOnce)
	for i := range changes {
		looks.Go(func() (err error) {
			moved[i], err = b.look(ctx, bucket, &changes[i])
			return err
		})
	}
	if err := looks.Wait(); err != nil {
		return nil, err
	}
	var left []change
	for i, c := range changes {
		if !moved[i] {
			left = append(left, c)
		}
	}
	return left, nil
}

// look looks whether a key has moved on. If it has nothing, as the change wants
// it, it finds out of what marker the change must know.
func (b *Bus) look(ctx context.Context, bucket string, c *change) (moved bool, err error) {
	h, err := b.held(ctx, bucket, c.Key)
	if err != nil {
		return false, err
	}
	if c.Base == 0 && h.gone {
		c.seq = h.revision
		return false, nil
	}
	return h.gone || h.revision != c.Base, nil
}

// keyMessages returns messages that become what stands for their keys if the
// keys are as they should be.
func keyMessages(bucket string, changes []change) []*nats.Msg {
	msgs := make([]*nats.Msg, len(changes))
	for i, c := range changes {
		msgs[i] = &nats.Msg{
			Subject: keySubject(bucket, c.Key),
			Data:    c.Value,
			Header: nats.Header{
				jetstream.ExpectedStreamHeader:      {string(keyStream(bucket))},
				jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(c.seq, 10)},
			},
		}
	}
	return msgs
}

// The server's error codes for a message whose subject has another last sequence
// than was expected, and for one whose subject has a message in process, which
// only a cluster says.
const (
	codeWrongSequence        jetstream.ErrorCode = 10071
	codeWrongSequenceCluster jetstream.ErrorCode = 10164
)

// isMoved reports whether the server found a key other than it was told.
func isMoved(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == codeWrongSequence || api.ErrorCode == codeWrongSequenceCluster)
}
