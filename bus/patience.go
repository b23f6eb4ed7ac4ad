package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed75441868/postern/schemas"
)

// firstPatience is how long a cluster is first given to answer about a stream.
// Who asked a leader that died gets no answer at all, not even when another is
// elected, which takes a second or two: it must ask again.
const firstPatience = 2 * time.Second

// patience says how long one attempt at a stream may take. After each that got
// no answer the next may take twice as long: a cluster may also be slow.
type patience struct {
	mu   sync.Mutex
	late map[schemas.Stream]int // how many got no answer since one did
}

// of returns how long the next attempt may take, at most so long.
func (p *patience) of(stream schemas.Stream, most time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(most, firstPatience<<min(p.late[stream], 8))
}

// learn notes how an attempt ended: by an answer, if its context didn't end.
func (p *patience) learn(stream schemas.Stream, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case cause == nil:
		delete(p.late, stream)
	case errors.Is(cause, errTimeout):
		if p.late == nil {
			p.late = map[schemas.Stream]int{}
		}
		p.late[stream]++
	}
}

// attemptAt is [Bus.attempt] at something that a stream's leader answers, and
// that is safe to repeat. The embedded server has no other leader, and that it
// doesn't answer means something else.
func (b *Bus) attemptAt(ctx context.Context, stream schemas.Stream) (context.Context, context.CancelFunc, error) {
	if b.server != nil {
		return b.attempt(ctx)
	}
	ctx, cancel, err := b.attemptFor(ctx, b.patience.of(stream, b.cfg.Timeout))
	if err != nil {
		return nil, nil, err
	}
	return ctx, func() {
		b.patience.learn(stream, context.Cause(ctx))
		cancel()
	}, nil
}

// heartbeat is how often the server says that a consumer still is there. One
// that isn't any more, because the server that led it died, is missed after
// two.
func (b *Bus) heartbeat() time.Duration {
	if b.server != nil {
		return 5 * time.Second
	}
	return time.Second
}
