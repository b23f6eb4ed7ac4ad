package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/seed75441868/postern/schemas"
)

// A lease is a key of [schemas.BucketLeases] that expires by itself. Who makes
// the key has the lease, and writes it again and again before it expires. It
// keeps two from doing the same work at once most of the time; it protects
// nothing: who lost it may not know yet.
const (
	leaseTTL     = 15 * time.Second // whole seconds, as the server counts them
	leaseRenewal = 5 * time.Second
	// headerLease tells the writings of one holding from those of others, so
	// that one whose answer was lost is known again.
	headerLease = "Postern-Lease"
)

// ErrLeaseLost is why the context of [Bus.Hold] ended: somebody else may have
// the lease now.
var ErrLeaseLost = errors.New("the lease is lost")

// leaseTimes are those of leases, shorter in tests.
type leaseTimes struct{ ttl, renewal time.Duration }

// grace is what is left of a lease when it counts as lost because it could not
// be renewed: time to stop before somebody else begins.
func (t leaseTimes) grace() time.Duration { return t.ttl / 5 }

// lease is one holding of a lease.
type lease struct {
	b            *Bus
	name, holder string
	token        string
	revision     uint64
	until        time.Time // it is ours for sure that long
}

// Hold runs fn while it has the lease of a name, and reports whether it got it:
// false and no error if somebody else has it. The context that fn gets ends with
// ctx, with the bus, and with [ErrLeaseLost] as its cause when the lease is lost
// or was not renewed for so long that somebody else may have it soon. The lease
// is given back at once when fn returns; if that fails, or the process dies, it
// ends by itself after 15 seconds. The error is fn's, or one about the lease:
// those are transient, except for a name that isn't that of a key. holder is
// what [Bus.Holders] shows.
func (b *Bus) Hold(ctx context.Context, name, holder string, fn func(ctx context.Context) error) (bool, error) {
	if err := checkKey(schemas.BucketLeases, name); err != nil {
		return false, fmt.Errorf("hold a lease: %w", err)
	}
	l := &lease{b: b, name: name, holder: holder, token: nuid.Next()}
	got, err := l.acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("hold the lease %s: %w", name, err)
	}
	if !got {
		return false, nil
	}
	ctx, end := context.WithCancelCause(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		end(l.keep(ctx))
	}()
	defer func() {
		end(nil)
		<-kept
		l.release(ctx)
	}()
	return true, fn(ctx)
}

// Holders returns who has which lease now. Its errors are transient.
func (b *Bus) Holders(ctx context.Context) (map[string]string, error) {
	holders := map[string]string{}
	err := b.Each(ctx, schemas.BucketLeases, "", func(e schemas.Entry) error {
		holders[e.Key] = string(e.Value)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("holders of leases: %w", err)
	}
	return holders, nil
}

// acquire makes the key, and reports false if there is one.
func (l *lease) acquire(ctx context.Context) (bool, error) {
	for {
		before := l.revision
		err := l.write(ctx)
		if err == nil {
			return true, nil
		}
		if !isMoved(err) {
			return false, err
		}
		h, lookErr := l.b.held(ctx, schemas.BucketLeases, l.name)
		switch {
		case lookErr != nil:
			return false, lookErr
		case !h.gone:
			return false, nil
		case h.revision == before:
			return false, err // somebody's writing is in process
		}
		l.revision = h.revision // of the marker that the last holding left
	}
}

// keep renews the lease until ctx ends or the lease is lost, and returns why.
func (l *lease) keep(ctx context.Context) error {
	times := l.b.lease
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.b.closing, func() { cancel(ErrClosed) })()
	next := times.renewal
	for {
		lost := l.until.Add(-times.grace())
		select {
		case <-time.After(min(next, time.Until(lost))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !time.Now().Before(lost) {
			return ErrLeaseLost
		}
		next = times.renewal
		if err := l.renew(ctx, lost); err != nil {
			if errors.Is(err, ErrLeaseLost) {
				return err
			}
			l.b.log.Debug("a lease was not renewed", "target", l.name, "error", err)
			next /= 5
		}
	}
}

// renew writes the key again. It fails with ErrLeaseLost if somebody else did,
// or the key is gone.
func (l *lease) renew(ctx context.Context, lost time.Time) error {
	// One try may not use up the time for the others.
	ctx, cancel := context.WithDeadlineCause(ctx, earlier(lost, time.Now().Add(l.b.lease.renewal)), errTimeout)
	defer cancel()
	err := l.write(ctx)
	if !isMoved(err) {
		return err
	}
	mine, lookErr := l.find(ctx)
	if lookErr != nil {
		return lookErr
	}
	if !mine {
		return ErrLeaseLost
	}
	return l.write(ctx)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// find looks for a writing of this holding whose answer was lost.
func (l *lease) find(ctx context.Context) (mine bool, err error) {
	h, err := l.b.held(ctx, schemas.BucketLeases, l.name)
	if err != nil || h.gone || h.header.Get(headerLease) != l.token {
		return false, err
	}
	l.revision = h.revision
	return true, nil
}

// write writes the key if it still has the revision that it had. A client's
// Update would leave out for how long.
func (l *lease) write(ctx context.Context) error {
	began := time.Now() // the server counts from when it has it, which is later
	revision, err := l.b.putOnce(ctx, l.message(nats.Header{
		headerLease:            {l.token},
		jetstream.MsgTTLHeader: {l.b.lease.ttl.String()},
	}, []byte(l.holder)))
	if err != nil {
		return err
	}
	l.revision, l.until = revision, began.Add(l.b.lease.ttl)
	return nil
}

// release gives the lease back, also when ctx has ended. It doesn't try for long:
// the lease ends by itself soon.
func (l *lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), l.b.lease.renewal, errTimeout)
	defer cancel()
	purge := func() error {
		_, err := l.b.putOnce(ctx, l.message(nats.Header{
			headerOperation:        {operationPurge},
			jetstream.MsgRollup:    {jetstream.MsgRollupSubject},
			jetstream.MsgTTLHeader: {markerTTL.String()},
		}, nil))
		return err
	}
	err := purge()
	if isMoved(err) {
		var mine bool
		if mine, err = l.find(ctx); err == nil && mine {
			err = purge()
		}
	}
	if err != nil {
		l.b.log.Debug("a lease was not given back and ends by itself", "target", l.name, "error", err)
	}
}

func (l *lease) message(header nats.Header, data []byte) *nats.Msg {
	header[jetstream.ExpectedStreamHeader] = []string{string(keyStream(schemas.BucketLeases))}
	header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(l.revision, 10)}
	return &nats.Msg{Subject: keySubject(schemas.BucketLeases, l.name), Header: header, Data: data}
}
