package bus

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// ErrNoMessage says that a stream has no message at a sequence.
var ErrNoMessage = errors.New("no such message")

// TailOptions says which messages of a stream [Bus.Tail] tells.
type TailOptions struct {
	Stream schemas.Stream // "": POSTERN_EVENTS
	// Subjects are the subjects to tell, wildcards allowed. If there are any,
	// Source, Type and Key may not be set.
	Subjects []string
	// Source is a source's name.
	Source string
	// Type is a pattern in the manner of [path.Match] for the type without
	// its version, "process.*"; on POSTERN_QUARANTINE for the reason.
	Type string
	// Key is an entity's key as the platform writes it, or the token that
	// stands for it in the subject.
	Key string

	Since  time.Time // nothing older; zero: no limit
	After  uint64    // only what is behind that sequence, whatever Since says; 0: no limit
	Last   int       // only that many of those that are there; 0: all of them
	New    bool      // nothing of what is there
	Follow bool      // go on with what comes

	// HeadersOnly leaves the bodies where they are.
	HeadersOnly bool
}

// TailMessage is a message in its stream, with the headers that it was published
// with. Those that the server and publishing added are left out.
type TailMessage struct {
	Seq     uint64
	Subject string
	Time    time.Time // when the server stored it
	Header  map[string][]string
	Data    []byte // nil with HeadersOnly
	Size    int    // of the body in bytes
}

// Tail tells messages in order. It ends when everything that was there when it
// began was told, or with Follow when ctx ends; it ends with fn's error when fn
// fails. It goes on by itself over lost connections; with Last or New it needs
// one to begin.
func (b *Bus) Tail(ctx context.Context, options TailOptions, fn func(TailMessage) error) error {
	if options.Stream == "" {
		options.Stream = schemas.StreamEvents
	}
	subjects, err := options.subjects()
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	r := reading{
		b: b, stream: options.Stream, since: options.Since, after: options.After, pull: 200,
		config: jetstream.ConsumerConfig{FilterSubjects: subjects, HeadersOnly: options.HeadersOnly},
	}
	if err := r.begin(ctx, options); err != nil {
		return fmt.Errorf("tail %s: %w", options.Stream, err)
	}
	done := errors.New("everything was told")
	err = r.run(ctx, func(msgs []jetstream.Msg, _ uint64, ended bool) error {
		for _, m := range msgs {
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if err := fn(TailMessage{
				Seq: meta.Sequence.Stream, Subject: m.Subject(), Time: meta.Timestamp,
				Header: published(m.Headers()), Data: m.Data(), Size: bodySize(m),
			}); err != nil {
				return err
			}
		}
		if ended && !options.Follow {
			return done
		}
		return nil
	})
	if errors.Is(err, done) {
		return nil
	}
	return fmt.Errorf("tail %s: %w", options.Stream, err)
}

// begin finds behind which sequence the last of those that match begin. The
// server has no such question, but a consumer says how many it has to deliver.
func (r *reading) begin(ctx context.Context, options TailOptions) error {
	if options.Last <= 0 && !options.New {
		return nil
	}
	state, err := r.b.StreamState(ctx, r.stream)
	if err != nil {
		return err
	}
	if options.New || state.Messages == 0 {
		r.after = state.Last
		return nil
	}
	count := func(after uint64) uint64 {
		if err != nil {
			return 0
		}
		from := *r
		from.after = after
		var n uint64
		n, err = from.count(ctx)
		return n
	}
	want := uint64(options.Last)
	if count(0) <= want {
		return err
	}
	r.after = state.First + uint64(sort.Search(int(state.Last-state.First), func(i int) bool {
		return count(state.First+uint64(i)) <= want
	}))
	return err
}

// count returns how many messages there are to read.
func (r *reading) count(ctx context.Context) (uint64, error) {
	c, err := r.consumer(ctx)
	if err != nil {
		return 0, err
	}
	r.release(c)
	return c.CachedInfo().NumPending, nil
}

// Get returns the message at a sequence, or [ErrNoMessage].
func (b *Bus) Get(ctx context.Context, stream schemas.Stream, seq uint64) (TailMessage, error) {
	ctx, cancel, err := b.attempt(ctx)
	if err != nil {
		return TailMessage{}, fmt.Errorf("get from %s: %w", stream, err)
	}
	defer cancel()
	s, err := b.js.Stream(ctx, string(stream))
	if err != nil {
		return TailMessage{}, fmt.Errorf("get from %s: %w", stream, explained(ctx, err))
	}
	m, err := s.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return TailMessage{}, fmt.Errorf("get from %s: %w", stream, ErrNoMessage)
	}
	if err != nil {
		return TailMessage{}, fmt.Errorf("get from %s: %w", stream, explained(ctx, err))
	}
	return TailMessage{Seq: m.Sequence, Subject: m.Subject, Time: m.Time, Header: published(m.Header), Data: m.Data, Size: len(m.Data)}, nil
}

// bodySize returns how large a body is, also of one that was not sent.
func bodySize(m jetstream.Msg) int {
	if n, err := strconv.Atoi(m.Headers().Get(nats.MsgSize)); err == nil {
		return n
	}
	return len(m.Data())
}

// published returns the headers that were published.
func published(header nats.Header) map[string][]string {
	all := make(map[string][]string, len(header))
	for name, values := range header {
		if name == schemas.HeaderMsgID || !strings.HasPrefix(name, "Nats-") {
			all[name] = values
		}
	}
	return all
}
