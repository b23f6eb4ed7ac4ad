package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// Publish stores messages of one stream in their order and returns the
// sequences of those that are stored, also with an error: they are a prefix.
// What was there already under its id, from earlier in msgs or within the
// de-duplication window, is not stored again; it has 0 for its sequence. Then
// the message that is stored may be another one, which somebody else made of
// the same fact.
//
// If the error wraps [schemas.ErrUnpublishable], msgs[len(seqs)] can never be
// stored as it is. Every other error is transient. Then the messages behind the
// prefix may or may not be stored; repeating them is safe. Publish makes one
// attempt and doesn't wait for a connection.
func (b *Bus) Publish(ctx context.Context, stream schemas.Stream, msgs []schemas.Message) ([]uint64, error) {
	seqs := make([]uint64, 0, len(msgs))
	good := len(msgs)
	var bad error
	for i, m := range msgs {
		if bad = b.check(stream, m); bad != nil {
			good = i
			break
		}
	}
	if err := b.frozen(); err != nil {
		return nil, fmt.Errorf("publish to %s: %w", stream, err)
	}
	var f fact
	if good > 0 {
		var err error
		if f, err = b.fact(ctx, stream); err != nil {
			return nil, fmt.Errorf("publish to %s: %w", stream, err)
		}
		larger, err := b.larger(ctx, f, stream, msgs[:good])
		if err != nil {
			return nil, fmt.Errorf("publish to %s: %w", stream, err)
		}
		if larger < good {
			good, bad = larger, fmt.Errorf("%w: it is larger than the stream may become", schemas.ErrUnpublishable)
		}
	}
	sent := map[string]bool{} // ids
	for len(seqs) < good {
		chunk, repeats := chunk(msgs[len(seqs):good], sent)
		stored, err := b.store(ctx, stream, chunk, f.atomic)
		seqs = fill(seqs, repeats, stored)
		if err != nil {
			b.wonder(ctx, stream, err)
			return seqs, fmt.Errorf("publish to %s: %w", stream, err)
		}
	}
	if bad != nil {
		return seqs, fmt.Errorf("publish to %s: %w", stream, bad)
	}
	return seqs, nil
}

// wonder looks whether things are other than we know after publishing failed.
func (b *Bus) wonder(ctx context.Context, stream schemas.Stream, err error) {
	var api *jetstream.APIError
	switch {
	case b.server != nil && errors.Is(err, errTimeout):
		b.server.look()
	case errors.As(err, &api) && api.ErrorCode == codeStreamFull:
		// Somebody may have changed how large it may become.
		if _, err := b.StreamState(ctx, stream); err != nil {
			b.log.Debug("a full stream doesn't say how large it is", "stream", stream, "error", err)
		}
	}
}

// frozen returns why nothing may be published until the embedded server was
// restarted. A stream that could not finish a batch still says of its first
// messages that it has them, but they may not be synced.
func (b *Bus) frozen() error {
	if b.server == nil {
		return nil
	}
	if err := b.server.health().err; errors.Is(err, ErrFrozen) {
		return err
	}
	return nil
}

// chunk takes from the front of msgs what fits into one batch. A message whose
// id came before is left out: one repeated id makes the server reject a whole
// batch. repeats says of each message taken or left out whether it was.
func chunk(msgs []schemas.Message, sent map[string]bool) (chunk []schemas.Message, repeats []bool) {
	size := 0
	for _, m := range msgs {
		if sent[m.ID] {
			repeats = append(repeats, true)
			continue
		}
		n := m.Size() + headroom
		if len(chunk) == maxBatch || len(chunk) > 0 && size+n > maxBatchBytes {
			break
		}
		size += n
		sent[m.ID] = true
		chunk, repeats = append(chunk, m), append(repeats, false)
	}
	return chunk, repeats
}

// fill appends the sequences of a chunk, up to its first message that is not
// stored.
func fill(seqs []uint64, repeats []bool, stored []uint64) []uint64 {
	for _, repeat := range repeats {
		switch {
		case repeat:
			seqs = append(seqs, 0)
		case len(stored) > 0:
			seqs = append(seqs, stored[0])
			stored = stored[1:]
		default:
			return seqs
		}
	}
	return seqs
}

// store stores distinct messages: few of them one by one, more as a batch if the
// stream takes batches. A server that doesn't know them would take each message
// for itself, and acknowledge the last one whatever became of the others.
func (b *Bus) store(ctx context.Context, stream schemas.Stream, msgs []schemas.Message, atomic bool) ([]uint64, error) {
	if atomic && len(msgs) >= minBatch {
		parts := make([]*nats.Msg, len(msgs))
		for i, m := range msgs {
			parts[i] = message(stream, m)
		}
		seqs, err := b.batch(ctx, parts)
		if err == nil || !rejected(err) {
			return seqs, err
		}
		// The server says neither which message it didn't like nor, for
		// some, why. Nothing of the batch is stored, or, if it wasn't taken
		// for one, we don't know what; one by one shows it.
	}
	seqs := make([]uint64, 0, len(msgs))
	for _, m := range msgs {
		seq, err := b.single(ctx, stream, m)
		if err != nil {
			return seqs, err
		}
		seqs = append(seqs, seq)
	}
	return seqs, nil
}

func (b *Bus) single(ctx context.Context, stream schemas.Stream, m schemas.Message) (uint64, error) {
	ctx, cancel, err := b.attemptAt(ctx, stream)
	if err != nil {
		return 0, err
	}
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, message(stream, m), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, classified(explained(ctx, err))
	}
	if ack.Duplicate {
		return 0, nil
	}
	return ack.Sequence, nil
}

// message is m on its way. Its header is not m's own: there will be more in it.
func message(stream schemas.Stream, m schemas.Message) *nats.Msg {
	header := make(nats.Header, len(m.Header)+5)
	for name, values := range m.Header {
		header[name] = values
	}
	header[jetstream.MsgIDHeader] = []string{m.ID}
	header[jetstream.ExpectedStreamHeader] = []string{string(stream)}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Body}
}

// The server's error codes that say something about the message itself. The
// others are about the stream or the server, which can change: a full stream,
// a full store (10047), another publisher's same id still in process (10158),
// too many open batches (10210), and whatever may be new. That a stream is full
// is also said of a message that is larger than all of it.
const (
	codeMessageTooLarge jetstream.ErrorCode = 10054
	codeHeaderTooLarge  jetstream.ErrorCode = 10097
	codeStreamFull      jetstream.ErrorCode = 10077
)

// classified wraps what says that a message can never be stored.
func classified(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode == codeMessageTooLarge || api.ErrorCode == codeHeaderTooLarge),
		errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrBadHeaderMsg):
		return fmt.Errorf("%w: %w", schemas.ErrUnpublishable, err)
	}
	return err
}

const (
	maxSubject = 1024       // the server's limit on a control line is 4096
	maxHeader  = 64<<10 - 1 // the server's limit on a message's header
)

const maxID = 600

// madeOf reports whether s is not empty and has only letters, digits and the
// others. It runs for every message that is published.
func madeOf(s, others string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}
	return s != ""
}

// check refuses what the server would refuse, what it would answer with silence
// (a subject with an empty token belongs to no stream), and what would arrive
// other than it was sent (header values lose line breaks and outer spaces).
func (b *Bus) check(stream schemas.Stream, m schemas.Message) error {
	unpublishable := func(why string) error {
		return fmt.Errorf("%w: %s", schemas.ErrUnpublishable, why)
	}
	if m.Stream != "" && m.Stream != stream {
		return unpublishable("it is for another stream")
	}
	rest, ok := strings.CutPrefix(m.Subject, stream.Prefix()+".")
	if !ok || len(m.Subject) > maxSubject {
		return unpublishable("its subject is not one of the stream, or too long")
	}
	for token := range strings.SplitSeq(rest, ".") {
		if !madeOf(token, "_=-") {
			return unpublishable("a token of its subject is empty or has other characters than letters, digits, _, = and -")
		}
	}
	if len(m.ID) > maxID || !madeOf(m.ID, ":._=@-") {
		return unpublishable("its id is empty, too long or has other characters than letters, digits, :, ., _, =, @ and -")
	}
	header := headroom
	for name, values := range m.Header {
		if !madeOf(name, "-") || strings.HasPrefix(name, "Nats-") && name != schemas.HeaderMsgID {
			return unpublishable("the name of one of its headers can't be used")
		}
		if name == schemas.HeaderMsgID && (len(values) != 1 || values[0] != m.ID) {
			return unpublishable("its header has another id")
		}
		for _, v := range values {
			if v != strings.TrimSpace(v) || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				return unpublishable("one of its headers would not arrive as it is")
			}
			header += len(name) + len(v) + len(": \r\n")
		}
	}
	if header > maxHeader {
		return unpublishable("its headers are too large")
	}
	if m.Size() > b.MaxPayload() {
		return unpublishable("it is too large")
	}
	return nil
}
