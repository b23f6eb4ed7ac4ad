package ingress

import (
	"context"
	"sync"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
)

// patience answers a push in its handler's place when the journal takes too
// long: who writes to a disk that is full or hangs waits until it has room, but
// the sender must hear 503 before it gives up. It costs a timer, and a
// goroutine only when it is over.
type patience struct {
	ctx    context.Context // ends when it is over
	timer  *time.Timer
	cancel context.CancelFunc
	end    sync.Once
	over   bool          // to be read when ended
	gone   chan struct{} // closed when answer has returned
}

// patient calls answer at a time, unless it is ended before.
func patient(ctx context.Context, until time.Time, answer func()) *patience {
	p := &patience{gone: make(chan struct{})}
	// A sender that hangs up now has sent everything: keeping its push is
	// better than hearing it again.
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	p.timer = time.AfterFunc(time.Until(until), func() {
		defer close(p.gone)
		// Who waits in the journal for somebody else's write needn't any more,
		// but must not be faster than the answer.
		defer p.cancel()
		answer()
	})
	return p
}

// ended ends it and reports whether it was over before, and with that whether
// the push is answered. It may be called again.
func (p *patience) ended() bool {
	p.end.Do(func() {
		if !p.timer.Stop() {
			<-p.gone
			p.over = true
		}
		p.cancel()
	})
	return p.over
}

// keep has the journal keep an authentic push. If that takes until a time,
// late answers the push, and when the journal has done with it the error is
// errStuck. If the push is kept after all its repeat is known.
func (s *Server) keep(ctx context.Context, d handlers.Delivery, authentic handlers.Authentic, until time.Time, late func()) (journal.Receipt, error) {
	p := patient(ctx, until, late)
	defer p.ended() // after a panic, too
	receipt, err := s.journal.Append(p.ctx, d, authentic.TransportID, authentic.Content)
	switch {
	case p.ended():
		return journal.Receipt{}, errStuck
	case err != nil:
		return receipt, &journalError{err}
	}
	return receipt, nil
}
