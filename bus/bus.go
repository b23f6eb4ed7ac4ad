// Package bus is the only part that knows NATS: it runs an embedded server or
// connects to an external one, creates the streams and buckets, publishes,
// follows and reads.
//
// A Bus promises order and says what it knows. [Bus.Publish] returns sequences
// only of what the server said it stored; with the embedded server that means
// fsynced. Repeating a publish is always safe within the de-duplication window:
// what is already there is known by its id.
package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// The errors that callers tell apart. Everything else that isn't
// [schemas.ErrUnpublishable] is transient: the same call may succeed later.
var (
	// ErrDisconnected says that there is no connection to the server, or that
	// it was lost while an answer was awaited: what was asked for may or may
	// not have happened.
	ErrDisconnected = errors.New("no connection to NATS")
	// ErrUnrecovered says that the embedded server could not open a stream
	// whose files are on disk, most likely because the store key is another
	// one. Nothing was created and nothing was changed on disk.
	ErrUnrecovered = errors.New("a stream's files are on disk but could not be recovered")
	// ErrRewound says that a stream is no longer the one that was followed:
	// it was created again, or its last sequence went back.
	ErrRewound = errors.New("the stream went back")
	// ErrFrozen says that the embedded server can't store anything until it
	// is restarted, which it is by itself.
	ErrFrozen = errors.New("the embedded NATS is frozen")
	// ErrClosed says that the bus was closed.
	ErrClosed = errors.New("the bus is closed")
)

var errTimeout = errors.New("NATS did not answer in time")

// Config says how to reach or run NATS. Exactly one of Embedded and External
// is set.
type Config struct {
	Embedded *Embedded
	External *External

	// MaxStore is what streams and buckets share. 0: 10 GiB.
	MaxStore int64
	// MaxBytes replaces a stream's share of MaxStore.
	MaxBytes map[schemas.Stream]int64
	// Retention replaces a stream's default age.
	Retention map[schemas.Stream]time.Duration
	// Replicas of streams and buckets. 0: 1.
	Replicas int
	// DedupeWindow is how long the server remembers the ids of messages.
	// 0: 10 minutes.
	DedupeWindow time.Duration
	// Timeout bounds one attempt at anything. 0: 10 seconds.
	Timeout time.Duration
	// Log gets what happens to the connection and the server. nil: nobody.
	Log *slog.Logger
}

// External is a server or cluster that others run.
type External struct {
	URL string      // one, or several separated by commas
	TLS *tls.Config // nil: as the URL says
	// CredentialsFile is read at every connect, so that it may be replaced.
	CredentialsFile string
	NKeySeed        []byte
	User, Password  string
}

// Bus is a connection to NATS, and the embedded server if there is one. Its
// methods are safe for concurrent use.
type Bus struct {
	cfg    Config
	log    *slog.Logger
	server *embedded // nil: external
	gate   *gate     // nil: nobody but us connects to the embedded server
	nc     *nats.Conn
	js     jetstream.JetStream
	link   link

	closing   context.Context // ends when Close begins
	close     context.CancelFunc
	closeOnce sync.Once
	closed    chan struct{} // closed when nats.go has let go of the connection
	wg        sync.WaitGroup

	prepare  sync.Mutex                        // held while streams are created: no restart then
	warnedOf string                            // version of a server, under prepare
	seen     map[string]jetstream.StreamConfig // streams that there were, under prepare
	drift    drift
	facts    facts
	patience patience
	lease    leaseTimes
	gauges   gauges
}

// Open starts the embedded server if that is configured and returns once it
// serves; it never waits for an external one. It fails if the configuration
// can't work, a port is taken or the store can't be opened. A stream that the
// server can't recover is no failure here: see [Bus.Prepare].
func Open(cfg Config) (*Bus, error) {
	if (cfg.Embedded == nil) == (cfg.External == nil) {
		return nil, errors.New("bus: either an embedded or an external NATS must be configured")
	}
	cfg = withDefaults(cfg)
	b := &Bus{cfg: cfg, log: cfg.Log, closed: make(chan struct{}), seen: map[string]jetstream.StreamConfig{}, lease: leaseTimes{leaseTTL, leaseRenewal}}
	b.link.changed = make(chan struct{})
	b.closing, b.close = context.WithCancel(context.Background())

	url, options, err := b.begin()
	if err == nil {
		err = b.connect(url, options)
	}
	if err != nil {
		b.close()
		if b.server != nil {
			b.server.stop()
		}
		return nil, fmt.Errorf("bus: %w", err)
	}
	if b.server == nil {
		return b, nil
	}
	if readers := b.server.readers; len(readers) > 0 {
		if b.gate, err = openGate(b, readers); err != nil {
			return nil, errors.Join(fmt.Errorf("bus: %w", err), b.Close())
		}
	}
	b.wg.Go(func() { b.server.watch(b.closing, &b.prepare) })
	return b, nil
}

// begin starts the server, if it is ours, and returns how to connect.
func (b *Bus) begin() (url string, options []nats.Option, err error) {
	if b.cfg.External != nil {
		return b.cfg.External.options()
	}
	if b.server, err = startEmbedded(*b.cfg.Embedded, b.cfg.MaxStore, b.log); err != nil {
		return "", nil, err
	}
	options, err = b.server.options()
	return "", options, err
}

func withDefaults(cfg Config) Config {
	if cfg.MaxStore <= 0 {
		cfg.MaxStore = 10 << 30
	}
	if cfg.Replicas <= 0 {
		cfg.Replicas = 1
	}
	if cfg.DedupeWindow <= 0 {
		cfg.DedupeWindow = 10 * time.Minute
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.MaxBytes = maps.Clone(cfg.MaxBytes)
	cfg.Retention = maps.Clone(cfg.Retention)
	return cfg
}

// Addr returns where the embedded server listens for others, or nil.
func (b *Bus) Addr() net.Addr {
	if b.server == nil {
		return nil
	}
	return b.server.addr()
}

// Close ends what is under way, disconnects and stops the embedded server. It
// returns when nothing of the bus runs any more. It is safe to repeat.
func (b *Bus) Close() error {
	b.closeOnce.Do(func() {
		b.close()
		b.wg.Wait()
		// Drain lets handlers finish and flushes what was published. It
		// fails when there is no connection; then there is nothing to drain.
		if err := b.nc.Drain(); err != nil {
			b.nc.Close()
		}
		select {
		case <-b.closed:
		case <-time.After(b.cfg.Timeout):
			b.nc.Close()
			<-b.closed
		}
		if b.server != nil {
			b.server.stop()
		}
	})
	return nil
}

// Epoch grows with every (re)connect. It is 0 until the first.
func (b *Bus) Epoch() uint64 {
	// nats.go counts before it lets anything onto a new connection; our own
	// handlers run later.
	n := b.nc.Stats().Reconnects
	if n == 0 && !b.link.everConnected() {
		return 0
	}
	return n + 1
}

// maxPayload is the embedded server's max_payload, and the most that we use of
// an external one's: a record in a file store may not be much larger.
const maxPayload = 8 << 20

// headroom is kept free of max_payload and of the limit on headers for the
// headers that publishing adds.
const headroom = 256

// MaxPayload returns the largest [schemas.Message.Size] that can be published.
// Before the first connection to an external server it returns the most that
// any server allows.
func (b *Bus) MaxPayload() int {
	size := int64(maxPayload)
	if n := b.nc.MaxPayload(); n > 0 {
		size = min(size, n)
	}
	return int(size) - headroom
}

// attempt bounds one attempt at something: the context ends after the timeout,
// with the bus, and as soon as the connection is lost, because then nats.go
// waits for an answer that can't come any more.
func (b *Bus) attempt(ctx context.Context) (context.Context, context.CancelFunc, error) {
	return b.attemptFor(ctx, b.cfg.Timeout)
}

// attemptFor is attempt with another timeout.
func (b *Bus) attemptFor(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc, error) {
	if b.closing.Err() != nil {
		return nil, nil, ErrClosed
	}
	up := b.link.connected()
	if up == nil {
		return nil, nil, ErrDisconnected
	}
	ctx, end := context.WithCancelCause(ctx)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	stopUp := context.AfterFunc(up, func() { end(ErrDisconnected) })
	stopClosing := context.AfterFunc(b.closing, func() { end(ErrClosed) })
	return ctx, func() {
		stopUp()
		stopClosing()
		cancel()
		end(nil)
	}, nil
}

// explained replaces the error of an ended context by why it ended.
func explained(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return context.Cause(ctx)
	}
	if errors.Is(err, nats.ErrConnectionClosed) {
		return ErrClosed
	}
	if errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionReconnecting) {
		return ErrDisconnected
	}
	return err
}
