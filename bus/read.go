package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// reading is one way through a stream: in order, without holes, over any number
// of connections.
type reading struct {
	b      *Bus
	stream schemas.Stream
	config jetstream.ConsumerConfig // what to read, without where to begin
	after  uint64                   // last sequence that is dealt with, 0: none
	since  time.Time                // where to begin if after is 0
	pull   int                      // messages under way at most
	// moving says that what changes moves to the end, as in a bucket: as many
	// messages as there were may then be others than those that there were.
	moving bool
	// fragile says that it ends when the connection is lost or the server
	// doesn't answer, instead of waiting for as long as that takes.
	fragile bool

	created time.Time // of the stream, zero until it was seen
	ended   bool      // everything that was there at the start was told
}

// deliver gets messages in order. after is the sequence up to which everything
// that the reading wants was delivered. ended is true once, when everything
// that was there when the reading began was delivered, maybe with no message.
type deliver func(msgs []jetstream.Msg, after uint64, ended bool) error

// stop carries the reader's own error out of the loop.
type stop struct{ err error }

func (s stop) Error() string { return s.err.Error() }

// maxDelivered bounds what is delivered in one call.
const maxDelivered = 1000

// errInterrupted says that a reading must begin anew behind its last message.
var errInterrupted = errors.New("interrupted")

// run reads until ctx ends or fn fails, and returns why.
func (r *reading) run(ctx context.Context, fn deliver) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.b.closing, func() { cancel(ErrClosed) })()
	var delay time.Duration
	for {
		before := r.after
		err := r.once(ctx, fn)
		var s stop
		switch {
		case errors.As(err, &s):
			return s.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrRewound), r.fragile && !errors.Is(err, errInterrupted):
			return err
		case r.after > before || errors.Is(err, errInterrupted):
			delay = 0
		}
		r.b.log.Debug("reading of a stream begins anew", "stream", r.stream, "error", err)
		delay = min(2*time.Second, max(20*time.Millisecond, 2*delay))
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
		if r.fragile {
			continue // without a connection that ends it
		}
		if err := r.b.link.wait(ctx); err != nil {
			return err
		}
	}
}

// once reads with one consumer until something is wrong with it.
func (r *reading) once(ctx context.Context, fn deliver) error {
	up := r.b.link.connected()
	if up == nil {
		return ErrDisconnected
	}
	last, err := r.look(ctx)
	if err != nil {
		return err
	}
	consumer, err := r.consumer(ctx)
	if err != nil {
		return err
	}
	// What was there when we looked is either delivered now or gone.
	left := consumer.CachedInfo().NumPending
	if left == 0 {
		if err := r.deliver(fn, nil, max(last, r.after), true); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(up, func() { cancel(ErrDisconnected) })()

	msgs := make(chan jetstream.Msg, r.pull)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case msgs <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(r.pull), jetstream.PullExpiry(20*time.Second), jetstream.PullHeartbeat(r.b.heartbeat()),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { cancel(fmt.Errorf("%w: %w", errInterrupted, err)) }))
	if err != nil {
		return err
	}
	defer r.release(consumer)
	defer func() {
		cancel(nil)
		consuming.Stop()
		<-consuming.Closed()
	}()
	return r.pass(ctx, fn, consumer, msgs, last)
}

// pass hands on what the consumer delivers. A consumer that asks for no
// acknowledgements counts what it sent; a hole in that count is a message that
// was lost on the way.
func (r *reading) pass(ctx context.Context, fn deliver, consumer jetstream.Consumer, msgs <-chan jetstream.Msg, last uint64) error {
	left := consumer.CachedInfo().NumPending
	var sent uint64
	batch := make([]jetstream.Msg, 0, maxDelivered)
	for {
		batch = batch[:0]
		after, atEnd := r.after, false
		wait := forever
		if !r.ended {
			wait = patient
		}
		for len(batch) < cap(batch) {
			m, err := receive(ctx, msgs, wait)
			if err != nil {
				return err
			}
			if m == nil {
				break
			}
			meta, err := m.Metadata()
			if err != nil {
				return err
			}
			if sent++; meta.Sequence.Consumer != sent {
				if err := r.deliver(fn, batch, after, false); err != nil {
					return err
				}
				return fmt.Errorf("%w: a message was lost on the way", errInterrupted)
			}
			batch, after = append(batch, m), meta.Sequence.Stream
			atEnd = atEnd || sent >= left && !r.moving || meta.NumPending == 0
			wait = 0
			if meta.NumPending > 0 {
				wait = soon
			}
		}
		if len(batch) == 0 {
			var err error
			if atEnd, err = r.nothingLeft(ctx, consumer, sent); err != nil {
				return err
			}
		}
		if atEnd {
			after = max(after, last)
		}
		if err := r.deliver(fn, batch, after, atEnd); err != nil {
			return err
		}
	}
}

// How long to wait for another message: forever for the first, and for those
// that the server has already as long as it may take it to send them. Before
// everything was told patience ends, and the server is asked.
const (
	forever time.Duration = -1
	patient               = time.Second
	soon                  = 20 * time.Millisecond
)

// nothingLeft asks the server whether there is nothing more to deliver: what was
// still to come may have been deleted, and nothing says so.
func (r *reading) nothingLeft(ctx context.Context, consumer jetstream.Consumer, sent uint64) (bool, error) {
	ctx, cancel, err := r.b.attemptAt(ctx, r.stream)
	if err != nil {
		return false, err
	}
	defer cancel()
	info, err := consumer.Info(ctx)
	if err != nil {
		return false, explained(ctx, err)
	}
	return info.NumPending == 0 && info.Delivered.Consumer == sent, nil
}

// receive returns the next message, or nil if there is none within wait.
func receive(ctx context.Context, msgs <-chan jetstream.Msg, wait time.Duration) (jetstream.Msg, error) {
	select {
	case m := <-msgs:
		return m, nil
	default:
	}
	var expired <-chan time.Time
	switch {
	case wait == 0:
		return nil, nil
	case wait > 0:
		expired = time.After(wait)
	}
	select {
	case m := <-msgs:
		return m, nil
	case <-expired:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// deliver hands on what ends at after, if that is news. atEnd says that nothing
// is left of what was there when the reading began.
func (r *reading) deliver(fn deliver, msgs []jetstream.Msg, after uint64, atEnd bool) error {
	ended := atEnd && !r.ended
	if len(msgs) == 0 && after == r.after && !ended {
		return nil
	}
	if err := fn(msgs, after, ended); err != nil {
		return stop{err}
	}
	r.after = after
	r.ended = r.ended || ended
	return nil
}

// look makes sure that the stream is still the one that was read so far and
// returns its last sequence.
func (r *reading) look(ctx context.Context) (last uint64, err error) {
	state, err := r.b.StreamState(ctx, r.stream)
	if err != nil {
		return 0, err
	}
	if state.Last < r.after || !r.created.IsZero() && !state.Created.Equal(r.created) {
		return 0, fmt.Errorf("%s: %w", r.stream, ErrRewound)
	}
	r.created = state.Created
	return state.Last, nil
}

func (r *reading) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel, err := r.b.attemptAt(ctx, r.stream)
	if err != nil {
		return nil, err
	}
	defer cancel()
	config := r.config
	config.AckPolicy = jetstream.AckNonePolicy
	config.MemoryStorage = true
	config.Replicas = 1
	config.InactiveThreshold = time.Minute
	config.DeliverPolicy = jetstream.DeliverAllPolicy
	if r.after > 0 {
		config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		config.OptStartSeq = r.after + 1
	} else if !r.since.IsZero() {
		config.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		config.OptStartTime = &r.since
	}
	c, err := r.b.js.CreateConsumer(ctx, string(r.stream), config)
	return c, explained(ctx, err)
}

// release deletes a consumer that isn't needed any more. If that fails the
// server does it after a while.
func (r *reading) release(c jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.b.link.connected() == nil {
		return
	}
	if err := r.b.js.DeleteConsumer(ctx, string(r.stream), c.CachedInfo().Name); err != nil {
		r.b.log.Debug("a consumer was not deleted", "stream", r.stream, "error", err)
	}
}
