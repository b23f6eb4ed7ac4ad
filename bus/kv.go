package bus

import (
	"context"
	"encoding/json" // as nats.go, whose answers it decodes
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// A bucket of the key-value store (NATS ADR-8) is a stream with one message for
// each key. Who changes a key says which sequence its message has, so that a
// change made in between is noticed. A key that was deleted or has expired has a
// marker for its message, which has a sequence as well.
const (
	headerOperation = "KV-Operation" // of a marker that a client left
	operationPurge  = "PURGE"
)

// keyStream returns the stream behind a bucket.
func keyStream(bucket string) schemas.Stream { return schemas.Stream("KV_" + bucket) }

func keySubject(bucket, key string) string { return "$KV." + bucket + "." + key }

var (
	errBucket = errors.New("the name of the bucket can't be one")
	errKey    = errors.New("a key is too long, or a token of it is empty or has other characters than letters, digits, _, = and -")
	errPrefix = errors.New("a prefix of keys must be whole tokens, each with its dot")
)

// checkKey refuses what the server would answer with silence, or take for
// another key.
func checkKey(bucket, key string) error {
	if !madeOf(bucket, "_-") {
		return errBucket
	}
	for token := range strings.SplitSeq(key, ".") {
		if !madeOf(token, "_=-") {
			return errKey
		}
	}
	if len(keySubject(bucket, key)) > maxSubject {
		return errKey
	}
	return nil
}

// BucketState returns when a bucket was created and the last revision in it,
// which any change of any key raises. Its errors are transient.
func (b *Bus) BucketState(ctx context.Context, bucket string) (created time.Time, last uint64, err error) {
	state, err := b.StreamState(ctx, keyStream(bucket))
	return state.Created, state.Last, err
}

// Load returns what a bucket has under a key, or an entry with the revision 0 if
// that is nothing, because it never was or was deleted. It sees every change
// that was acknowledged before. Its errors are transient, except for names that
// can't be any.
func (b *Bus) Load(ctx context.Context, bucket, key string) (schemas.Entry, error) {
	if err := checkKey(bucket, key); err != nil {
		return schemas.Entry{}, fmt.Errorf("load: %w", err)
	}
	h, err := b.held(ctx, bucket, key)
	if err != nil {
		return schemas.Entry{}, fmt.Errorf("load from %s: %w", bucket, err)
	}
	if h.gone {
		return schemas.Entry{Key: key}, nil
	}
	return schemas.Entry{Key: key, Value: h.value, Revision: h.revision}, nil
}

// Each calls fn with every entry of a bucket whose key begins with prefix, in
// any order. A prefix is whole tokens, "acme."; "" is all of them. Entries are
// those that were there at the call; what changes while they are told may be
// told again, the later revision later. It ends with fn's error when fn fails;
// other errors are transient, except for names that can't be any.
func (b *Bus) Each(ctx context.Context, bucket, prefix string, fn func(schemas.Entry) error) error {
	return b.each(ctx, bucket, prefix, 0, func(e schemas.Entry) error {
		if e.Revision == 0 {
			return nil
		}
		return fn(e)
	})
}

// Newer is [Bus.Each] for those entries only whose revision is above after. A
// key that was deleted since is told as an entry with the revision 0. It fails
// with [ErrRewound] if the bucket has not come as far as after.
func (b *Bus) Newer(ctx context.Context, bucket, prefix string, after uint64, fn func(schemas.Entry) error) error {
	return b.each(ctx, bucket, prefix, after, fn)
}

// each tells entries above a revision, and what was deleted with the revision 0.
func (b *Bus) each(ctx context.Context, bucket, prefix string, after uint64, fn func(schemas.Entry) error) error {
	if prefix != "" && !strings.HasSuffix(prefix, ".") {
		return fmt.Errorf("each: %w", errPrefix)
	}
	if err := checkKey(bucket, prefix+"x"); err != nil {
		return fmt.Errorf("each: %w", err)
	}
	done := errors.New("everything was told")
	r := reading{
		b: b, stream: keyStream(bucket), after: after, pull: 1000, moving: true, fragile: true,
		config: jetstream.ConsumerConfig{FilterSubjects: []string{keySubject(bucket, prefix+">")}},
	}
	err := r.run(ctx, func(msgs []jetstream.Msg, _ uint64, ended bool) error {
		for _, m := range msgs {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			e := schemas.Entry{Key: strings.TrimPrefix(m.Subject(), keySubject(bucket, ""))}
			if !isMarker(m.Headers()) {
				e.Value, e.Revision = m.Data(), meta.Sequence.Stream
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		if ended {
			return done
		}
		return nil
	})
	if errors.Is(err, done) {
		return nil
	}
	return fmt.Errorf("each of %s: %w", bucket, err)
}

// holding is the message that stands for a key.
type holding struct {
	revision uint64 // 0: there is none
	gone     bool   // there is none, or it is a marker
	value    []byte
	header   nats.Header
}

func isMarker(header nats.Header) bool {
	return header.Get(headerOperation) != "" || header.Get(jetstream.MarkerReasonHeader) != ""
}

const codeNoMessage jetstream.ErrorCode = 10037

// held asks for the message of a key. The question goes to the stream's leader:
// of a copy, which nats.go would ask, the answer may be an old one.
func (b *Bus) held(ctx context.Context, bucket, key string) (holding, error) {
	ctx, cancel, err := b.attemptAt(ctx, keyStream(bucket))
	if err != nil {
		return holding{}, err
	}
	defer cancel()
	question, err := json.Marshal(map[string]string{"last_by_subj": keySubject(bucket, key)})
	if err != nil {
		return holding{}, err
	}
	answer, err := b.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+string(keyStream(bucket)), question)
	if err != nil {
		return holding{}, explained(ctx, err)
	}
	var said struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Sequence uint64 `json:"seq"`
			Header   []byte `json:"hdrs"`
			Data     []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &said); err != nil {
		return holding{}, fmt.Errorf("answer about a key: %w", err)
	}
	switch {
	case said.Error != nil && said.Error.ErrorCode == codeNoMessage:
		return holding{gone: true}, nil
	case said.Error != nil:
		return holding{}, said.Error
	case said.Message == nil:
		return holding{}, errors.New("answer about a key: neither a message nor an error")
	}
	h := holding{revision: said.Message.Sequence, value: said.Message.Data}
	if len(said.Message.Header) > 0 {
		if h.header, err = nats.DecodeHeadersMsg(said.Message.Header); err != nil {
			return holding{}, fmt.Errorf("answer about a key: %w", err)
		}
	}
	h.gone = isMarker(h.header)
	return h, nil
}
