package ingress

import (
	"context"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
)

// kept is what the journal said of a push.
type kept struct {
	receipt journal.Receipt
	err     error
}

// keep has the journal keep an authentic push, which holds one of the slots
// until that is done. Who writes to a disk that is full or hangs waits until
// it has room, but the sender must hear 503 before it gives up: then the error
// is errStuck, and the payload is not to be touched any more. If the push is
// kept after all its repeat is known.
func (s *Server) keep(ctx context.Context, d handlers.Delivery, authentic handlers.Authentic, until time.Time) (journal.Receipt, error) {
	// A sender that hangs up now has sent everything: keeping its push is
	// better than hearing it again.
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	done := make(chan kept, 1)
	go func() {
		var k kept
		defer func() {
			if v := recover(); v != nil {
				k.err = &panicError{panicked()}
			}
			<-s.slots
			done <- k
			cancel()
		}()
		k.receipt, k.err = s.journal.Append(ctx, d, authentic.TransportID, authentic.Content)
		if k.err != nil {
			k.err = &journalError{k.err}
		}
	}()
	select {
	case k := <-done:
		return k.receipt, k.err
	case <-ctx.Done():
	}
	select {
	case k := <-done:
		return k.receipt, k.err
	default:
		return journal.Receipt{}, errStuck
	}
}
