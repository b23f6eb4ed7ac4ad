package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// connect opens the one connection that everything here uses. It returns at
// once when an external server isn't there and goes on trying.
func (b *Bus) connect(url string, options []nats.Option) error {
	options = append(options,
		nats.Name("postern"),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.CustomReconnectDelay(reconnectDelay),
		nats.IgnoreAuthErrorAbort(),
		nats.Timeout(5*time.Second),
		nats.PingInterval(10*time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DrainTimeout(b.cfg.Timeout),
		// Nothing may be kept to be sent later: who published was told that
		// it failed, and repeats it in the right order.
		nats.ReconnectBufSize(-1),
		nats.ConnectHandler(b.connected),
		nats.ReconnectHandler(b.connected),
		nats.DisconnectErrHandler(b.disconnected),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
		nats.ErrorHandler(b.asyncError),
	)
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return err
	}
	b.nc = nc
	if b.js, err = jetstream.New(nc); err != nil {
		nc.Close()
		return err
	}
	if nc.IsConnected() {
		b.link.up() // the handler says it too, but later
	} else if b.server != nil {
		nc.Close()
		return errors.New("the embedded NATS doesn't let us in")
	}
	return nil
}

// reconnectDelay is short at first: the embedded server is back within
// milliseconds, and a cluster has other nodes.
func reconnectDelay(attempts int) time.Duration {
	const first, last = 20 * time.Millisecond, 2 * time.Second
	d := last
	if attempts < 8 {
		d = min(last, first<<attempts)
	}
	return d/2 + rand.N(d)/2
}

func (b *Bus) connected(nc *nats.Conn) {
	if b.link.up() {
		b.log.Info("connected to NATS", "server", nc.ConnectedServerName())
	}
}

func (b *Bus) disconnected(_ *nats.Conn, err error) {
	b.link.down()
	if b.closing.Err() == nil {
		b.log.Warn("lost the connection to NATS", "error", err)
	}
}

func (b *Bus) asyncError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if b.closing.Err() == nil {
		b.log.Warn("NATS reported an error", "error", err)
	}
}

func (e External) options() (url string, options []nats.Option, err error) {
	if e.URL == "" {
		return "", nil, errors.New("the URL of NATS is empty")
	}
	if e.TLS != nil {
		options = append(options, nats.Secure(e.TLS.Clone()))
	}
	ways := 0
	if e.CredentialsFile != "" {
		ways++
		options = append(options, nats.UserCredentials(e.CredentialsFile))
	}
	if len(e.NKeySeed) > 0 {
		ways++
		pair, err := nkeys.FromSeed(e.NKeySeed)
		if err != nil {
			return "", nil, errors.New("the nkey is not a valid seed")
		}
		public, err := pair.PublicKey()
		if err != nil {
			return "", nil, fmt.Errorf("public part of the nkey: %w", err)
		}
		options = append(options, nats.Nkey(public, pair.Sign))
	}
	if e.User != "" {
		ways++
		options = append(options, nats.UserInfo(e.User, e.Password))
	}
	if ways > 1 {
		return "", nil, errors.New("only one of credentials, nkey and user may be set")
	}
	return e.URL, options, nil
}

// link knows whether the connection is up, and lets others wait for it or for
// its end.
type link struct {
	mu      sync.Mutex
	ctx     context.Context // ends when the connection is lost; nil while it is down
	lose    context.CancelFunc
	changed chan struct{} // closed at every change
	ever    bool          // there has been a connection
}

// up notes a connection and reports whether that is news.
func (l *link) up() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx != nil {
		return false
	}
	l.ctx, l.lose = context.WithCancel(context.Background())
	l.ever = true
	l.change()
	return true
}

func (l *link) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		return
	}
	l.lose()
	l.ctx = nil
	l.change()
}

func (l *link) change() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// connected returns a context that ends with the connection, or nil.
func (l *link) connected() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ctx
}

func (l *link) everConnected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ever
}

// waitConnected waits for a connection for as long as one attempt may take.
func (b *Bus) waitConnected(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, b.cfg.Timeout, ErrDisconnected)
	defer cancel()
	defer context.AfterFunc(b.closing, func() { end(ErrClosed) })()
	return b.link.wait(ctx)
}

// wait returns once there is a connection, or when ctx ends.
func (l *link) wait(ctx context.Context) error {
	for {
		l.mu.Lock()
		up, changed := l.ctx != nil, l.changed
		l.mu.Unlock()
		if up {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
