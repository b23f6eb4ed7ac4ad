package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/schemas"
)

// fact is what publishing must know of a stream as it is, whatever was asked
// for when it was made: an older server leaves out of a configuration what it
// doesn't know, and says so only in the stream's info.
type fact struct {
	epoch    uint64 // of the connection that said so
	atomic   bool   // it takes atomic batches
	maxBytes int64  // what it may hold; not above 0: anything
}

type facts struct {
	mu sync.Mutex
	of map[schemas.Stream]fact
}

func (f *facts) note(stream schemas.Stream, epoch uint64, config jetstream.StreamConfig) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[schemas.Stream]fact{}
	}
	f.of[stream] = fact{epoch: epoch, atomic: config.AllowAtomicPublish, maxBytes: config.MaxBytes}
}

func (f *facts) get(stream schemas.Stream) fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[stream]
}

// fact returns what is known of a stream since the connection was made, and
// asks if that is nothing: it may be another server now.
func (b *Bus) fact(ctx context.Context, stream schemas.Stream) (fact, error) {
	if f := b.facts.get(stream); f.epoch != 0 && f.epoch == b.Epoch() {
		return f, nil
	}
	if _, err := b.StreamState(ctx, stream); err != nil {
		return fact{}, err
	}
	return b.facts.get(stream), nil
}

// larger returns the place of the first message that is larger than all that the
// stream may hold, or how many messages there are. A stream that refuses when it
// is full would refuse it for ever, and one that lets its oldest go would let it
// go at once, and acknowledge it. Before that is said the server is asked again:
// the stream may have grown.
func (b *Bus) larger(ctx context.Context, f fact, stream schemas.Stream, msgs []schemas.Message) (int, error) {
	for i, m := range msgs {
		n := room(stream, m)
		if f.maxBytes <= 0 || n <= f.maxBytes {
			continue
		}
		state, err := b.StreamState(ctx, stream)
		if err != nil {
			return 0, err
		}
		if f.maxBytes = state.MaxBytes; f.maxBytes > 0 && n > f.maxBytes {
			return i, nil
		}
	}
	return len(msgs), nil
}

// room is what a message that is published alone takes of a stream's bytes: what
// is sent, and around it lengths, sequence, time and sum.
func room(stream schemas.Stream, m schemas.Message) int64 {
	const around = 4 + 8 + 8 + 2 + 4 + 8
	n := around + len(m.Subject) + m.Size() + len(jetstream.ExpectedStreamHeader+": \r\n") + len(stream)
	if _, ok := m.Header[jetstream.MsgIDHeader]; !ok {
		n += len(jetstream.MsgIDHeader+": \r\n") + len(m.ID)
	}
	return int64(n)
}

// errTooOld says that the server is older than what we need of it.
var errTooOld = errors.New("the NATS server is too old: 2.15.1 or later is needed")

// The server's minor versions of 2: before oldest there are no atomic batches,
// and what it doesn't know it ignores; before best it has faults that
// were found later.
var oldest, best = version{2, 12, 0}, version{2, 15, 1}

type version [3]int

func (v version) before(w version) bool {
	for i := range v {
		if v[i] != w[i] {
			return v[i] < w[i]
		}
	}
	return false
}

// parseVersion reads "2.15.1" and "2.15.1-RC.2". ok is false for what isn't a
// version.
func parseVersion(s string) (v version, ok bool) {
	s, _, _ = strings.Cut(s, "-")
	s, _, _ = strings.Cut(s, "+")
	parts := strings.Split(s, ".")
	if len(parts) != len(v) {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// checkVersion refuses a server that lacks what we need, and warns, once for each
// version, of one that has it but is older than what we are tried with.
func (b *Bus) checkVersion() error {
	text := b.nc.ConnectedServerVersion()
	v, ok := parseVersion(text)
	switch {
	case !ok:
		return nil // we can't tell; the streams' infos will
	case v.before(oldest):
		return fmt.Errorf("%w, it is %d.%d.%d", errTooOld, v[0], v[1], v[2])
	case v.before(best) && b.warnedOf != text:
		b.warnedOf = text
		b.log.Warn("the NATS server should be newer", "version", text, "needed", "2.15.1")
	}
	return nil
}
