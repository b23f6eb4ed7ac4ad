package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// ConsumeOptions says what [Bus.Consume] delivers.
type ConsumeOptions struct {
	// Stream is the one whose messages are delivered. "": POSTERN_EVENTS.
	Stream schemas.Stream
	// Durable is the name under which the server remembers what is done:
	// letters, digits, _, = and -. Two that consume under one name share the
	// messages.
	Durable  string
	Subjects []string // of the stream, wildcards allowed, none within another
	// Since is where a durable that is new begins; zero: at what is new.
	Since time.Time
	// MaxPending is how many messages may be under way, neither done nor put
	// off. 0: 100.
	MaxPending int
	// MaxPutOff is how many more may be put off. When there are as many
	// nothing new is delivered until one of them is done. 0: those that are put
	// off count as under way.
	MaxPutOff int
	// AckWait is how long a message may be under way before it is delivered
	// again, from when the server sent it. 0: 30 seconds.
	AckWait time.Duration
}

// Consumed is a message that was delivered and must be answered for. Its methods
// may be called from any goroutine, also after Consume ended; their errors are
// transient.
type Consumed struct {
	Seq        uint64
	Subject    string
	Header     map[string][]string // that it was published with
	Data       []byte
	Deliveries int // how often it was delivered, this one included

	m jetstream.Msg
	b *Bus
}

// Done says that the message must not be delivered again. With nil the server
// knows it; with an error it may be delivered again or not. It is safe to repeat.
func (c Consumed) Done(ctx context.Context) error {
	ctx, cancel, err := c.b.attempt(ctx)
	if err != nil {
		return fmt.Errorf("done: %w", err)
	}
	defer cancel()
	if err := c.m.DoubleAck(ctx); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		return fmt.Errorf("done: %w", explained(ctx, err))
	}
	return nil
}

// Later has the message delivered again after a delay. If that gets lost, it is
// after AckWait.
func (c Consumed) Later(delay time.Duration) error {
	if err := c.m.NakWithDelay(max(delay, time.Millisecond)); err != nil {
		return fmt.Errorf("later: %w", explained(context.Background(), err))
	}
	return nil
}

// Working says that the message is still worked at: AckWait begins anew.
func (c Consumed) Working() error {
	if err := c.m.InProgress(); err != nil {
		return fmt.Errorf("working: %w", explained(context.Background(), err))
	}
	return nil
}

// Consume delivers the messages of a stream on some subjects, each until
// it is done, however often that takes; the server remembers that over restarts.
// It goes on by itself over lost connections and restarts of the server, and
// over a durable that somebody deleted: that goes on behind what is done. It
// ends when ctx ends, and returns why, or at once if the options can't be.
//
// fn is called by one goroutine. It may answer for a message before it returns
// or leave that to others; while it works, AckWait passes for what waits behind,
// at most MaxPending messages.
func (b *Bus) Consume(ctx context.Context, o ConsumeOptions, fn func(Consumed)) error {
	o.MaxPending, o.AckWait = cmp.Or(o.MaxPending, 100), cmp.Or(o.AckWait, 30*time.Second)
	o.Stream = cmp.Or(o.Stream, schemas.StreamEvents)
	if !consumerName.MatchString(o.Durable) || len(o.Subjects) == 0 || min(o.MaxPending, o.MaxPutOff) < 0 || o.AckWait < 0 {
		return errors.New("consume: a name and subjects are needed, and nothing may be negative")
	}
	if b.gate != nil {
		b.gate.reserve(string(o.Stream) + "." + o.Durable)
	}
	c := &consuming{b: b, o: o}
	return fmt.Errorf("consume as %s: %w", o.Durable, c.run(ctx, fn))
}

// consuming is what a durable consumer delivers to us.
type consuming struct {
	b *Bus
	o ConsumeOptions

	complained string    // the last trouble that was logged
	created    time.Time // of the stream, zero until the consumer was seen
	floor      uint64    // everything up to it was done when the server last said so
}

// run consumes until ctx ends, and returns why.
func (c *consuming) run(ctx context.Context, fn func(Consumed)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.b.closing, func() { cancel(ErrClosed) })()
	var delay time.Duration
	for {
		if err := c.b.link.wait(ctx); err != nil {
			return err
		}
		err := c.once(ctx, fn)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		delay = min(2*time.Second, max(20*time.Millisecond, 2*delay))
		if errors.Is(err, errInterrupted) {
			delay = 20 * time.Millisecond
		}
		c.complain(err)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// complain logs a trouble, what only the configuration can cure aloud and once.
func (c *consuming) complain(err error) {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		c.b.log.Debug("consuming begins anew", "target", c.o.Durable, "error", err)
		return
	}
	if text := err.Error(); text != c.complained {
		c.complained = text
		c.b.log.Warn("a durable consumer can't be used", "target", c.o.Durable, "error", err)
	}
}

// once consumes until something is wrong.
func (c *consuming) once(ctx context.Context, fn func(Consumed)) error {
	up := c.b.link.connected()
	if up == nil {
		return ErrDisconnected
	}
	consumer, err := c.consumer(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(up, func() { cancel(ErrDisconnected) })()

	pull := min(c.o.MaxPending, 500)
	msgs := make(chan jetstream.Msg, pull)
	pulling, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case msgs <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(pull), jetstream.PullExpiry(20*time.Second), jetstream.PullHeartbeat(c.b.heartbeat()),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { cancel(fmt.Errorf("%w: %w", errInterrupted, err)) }))
	if err != nil {
		return err
	}
	defer func() {
		cancel(nil)
		pulling.Stop()
		<-pulling.Closed()
		c.giveBack(msgs)
	}()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case m := <-msgs:
			if err := c.deliver(ctx, m, fn); err != nil {
				return err
			}
		case <-look.C:
			if err := c.look(ctx, consumer); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lookEvery is how often the server is asked how much is done, which bounds what
// is delivered again when somebody deletes the consumer.
const lookEvery = 30 * time.Second

func (c *consuming) look(ctx context.Context, consumer jetstream.Consumer) error {
	ctx, cancel, err := c.b.attempt(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	info, err := consumer.Info(ctx)
	if err != nil {
		return explained(ctx, err)
	}
	c.floor = info.AckFloor.Stream
	return nil
}

func (c *consuming) deliver(ctx context.Context, m jetstream.Msg, fn func(Consumed)) error {
	if ctx.Err() != nil { // both happened at once
		return errors.Join(context.Cause(ctx), m.Nak())
	}
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	fn(Consumed{
		Seq: meta.Sequence.Stream, Subject: m.Subject(), Header: published(m.Headers()), Data: m.Data(),
		Deliveries: int(meta.NumDelivered), m: m, b: c.b,
	})
	return nil
}

// giveBack has delivered what nobody was told, so that it need not wait for
// AckWait. If that fails it does.
func (c *consuming) giveBack(msgs <-chan jetstream.Msg) {
	for {
		select {
		case m := <-msgs:
			if err := m.Nak(); err != nil {
				return
			}
		default:
			return
		}
	}
}

// consumer returns the durable consumer as it should be; it makes one if there
// is none.
func (c *consuming) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel, err := c.b.attempt(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	state, err := c.b.StreamState(ctx, c.o.Stream)
	if err != nil {
		return nil, err
	}
	stream := string(c.o.Stream)
	have, err := c.b.js.Consumer(ctx, stream, c.o.Durable)
	if c.b.gate != nil && (err == nil && have.CachedInfo().Config.Metadata[ownerKey] != "" || errors.Is(err, jetstream.ErrNotPullConsumer)) {
		c.b.log.Warn("a consumer that a reader made has our name and is deleted", "target", c.o.Durable)
		if err := c.b.js.DeleteConsumer(ctx, stream, c.o.Durable); err != nil {
			return nil, explained(ctx, err)
		}
		err = jetstream.ErrConsumerNotFound
	}
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		have, err = c.b.js.CreateConsumer(ctx, stream, c.begin(state))
	case err == nil:
		have, err = c.adjust(ctx, have)
	}
	if err != nil {
		return nil, explained(ctx, err)
	}
	c.created, c.floor = state.Created, have.CachedInfo().AckFloor.Stream
	return have, nil
}

// begin returns how to make the consumer. If there was one, it begins behind what
// was done.
func (c *consuming) begin(state schemas.StreamState) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Durable:       c.o.Durable,
		AckPolicy:     jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   state.Last + 1,
	}
	c.set(&config)
	switch {
	case c.created.IsZero() && !c.o.Since.IsZero():
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartTimePolicy, 0
		config.OptStartTime = &c.o.Since
	case c.created.IsZero():
	case c.created.Equal(state.Created):
		config.OptStartSeq = min(c.floor+1, state.Last+1)
	default: // it is another stream, and new from its beginning
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverAllPolicy, 0
	}
	return config
}

// adjust changes a consumer that is there to what the options say.
func (c *consuming) adjust(ctx context.Context, have jetstream.Consumer) (jetstream.Consumer, error) {
	was := have.CachedInfo().Config
	next := was
	c.set(&next)
	filters := was.FilterSubjects
	if was.FilterSubject != "" {
		filters = []string{was.FilterSubject}
	}
	if slices.Equal(filters, next.FilterSubjects) && was.MaxAckPending == next.MaxAckPending &&
		was.AckWait == next.AckWait && was.MaxDeliver == next.MaxDeliver {
		return have, nil
	}
	return c.b.js.UpdateConsumer(ctx, string(c.o.Stream), next)
}

func (c *consuming) set(config *jetstream.ConsumerConfig) {
	config.FilterSubject, config.FilterSubjects = "", slices.Clone(c.o.Subjects)
	// The server counts both as one.
	config.MaxAckPending, config.AckWait, config.MaxDeliver = c.o.MaxPending+c.o.MaxPutOff, c.o.AckWait, -1
}
