package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// mirrored are the streams that the index follows.
var mirrored = []schemas.Stream{schemas.StreamEvents, schemas.StreamRestricted, schemas.StreamOps}

// ready returns nil if the bus is there and the index knows all that is on it.
// It has work to do only after a start, a reconnect, a failure to publish, and
// when something of the index can't be read any more.
func (r *Relay) ready(ctx context.Context) error {
	_, err := r.readyFor(ctx)
	return err
}

// readyFor is ready, and returns how often the index caught up by now:
// what was looked up while that changed may have been answered by an index that
// was just being made anew.
func (r *Relay) readyFor(ctx context.Context) (times uint64, err error) {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if epoch := r.cfg.Bus.Epoch(); epoch != 0 && r.synced.Load() == epoch && !r.index.Damaged() {
		return r.syncs.Load(), nil
	}
	r.syncs.Add(1)
	return r.syncs.Load(), r.catchUp(ctx)
}

// catchUp has the index learn what is on the bus.
func (r *Relay) catchUp(ctx context.Context) error {
	r.stopFollow()
	r.stopFollow = func() {}
	r.synced.Store(0)
	if r.index.Damaged() {
		r.cfg.Log.Error("the index of what was told is damaged; it is made anew from the bus, and nothing is told until then")
		if err := r.index.Drop(); err != nil {
			return err
		}
		r.metrics.rebuilt.Inc()
	}
	if err := r.cfg.Bus.Prepare(ctx); err != nil {
		return fmt.Errorf("prepare the bus: %w", err)
	}
	epoch := r.cfg.Bus.Epoch()
	r.synced.Store(epoch)
	stop, err := r.follow(ctx, epoch)
	if err != nil {
		r.synced.Store(0)
		return fmt.Errorf("catch up with the bus: %w", err)
	}
	r.stopFollow = stop
	// A bus that was away may have lost what it acknowledged before.
	r.kept.restart(time.Now().Add(r.cfg.TrimAfter))
	return nil
}

// follow starts to mirror the streams into the index and returns when it has
// caught up with what they hold now. The function that it returns ends it. If
// following ends by itself, the next ready catches up again.
func (r *Relay) follow(ctx context.Context, epoch uint64) (func(), error) {
	following, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	stop := func() {
		cancel()
		running.Wait()
	}
	catchUp, ctx := errgroup.WithContext(ctx)
	for _, stream := range mirrored {
		catchUp.Go(func() error {
			state, after, err := r.position(ctx, stream)
			if err != nil {
				return err
			}
			caughtUp := make(chan struct{})
			ended := make(chan error, 1)
			running.Go(func() {
				ended <- r.followOne(following, stream, after, state.Last, caughtUp)
				r.synced.CompareAndSwap(epoch, 0)
			})
			select {
			case <-caughtUp:
				return nil
			case err := <-ended:
				return fmt.Errorf("follow %s: %w", stream, err)
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	if err := catchUp.Wait(); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// position returns the state of a stream and the sequence up to which the
// index knows it. If the stream is not the one that the index mirrors, or lost
// its end, the index is made anew from what is there, and the journal is read
// from its start, so that what it still has is told again where it is missing.
func (r *Relay) position(ctx context.Context, stream schemas.Stream) (schemas.StreamState, uint64, error) {
	state, err := r.cfg.Bus.StreamState(ctx, stream)
	if err != nil {
		return state, 0, err
	}
	pos, err := r.index.Position(stream)
	if err != nil {
		return state, 0, err
	}
	if pos.Created.IsZero() {
		return state, 0, r.index.Reset(stream, state.Created)
	}
	same, err := r.isMirrored(ctx, stream, state, pos)
	if err != nil {
		return state, 0, err
	}
	if !same {
		r.cfg.Log.Warn("a stream went back; what the journal still has is told again where it is missing", "stream", string(stream))
		r.kept.clear()
		select {
		case r.rewound <- struct{}{}:
		default:
		}
		return state, 0, r.index.Reset(stream, state.Created)
	}
	if err := r.index.Expire(stream, state.First); err != nil {
		return state, 0, err
	}
	if state.First > state.Last { // nothing is there to be followed
		return state, state.Last, r.index.Apply(stream, nil, state.Last)
	}
	return state, pos.Last, nil
}

// isMirrored reports whether the stream is the one that the index knows, and
// has all that the index knows of it. Sequences alone don't tell: after a stream
// lost its end, others may have published past it.
func (r *Relay) isMirrored(ctx context.Context, stream schemas.Stream, state schemas.StreamState, pos journal.Position) (bool, error) {
	if !pos.Created.Equal(state.Created) || state.Last < pos.Last {
		return false, nil
	}
	newest, isNewest, err := r.index.Newest(stream)
	if err != nil || newest < state.First { // none, or expired
		return true, err
	}
	if newest > state.Last {
		return false, nil
	}
	return r.has(ctx, stream, newest, isNewest)
}

// errSeen ends following once what was looked for was seen.
var errSeen = errors.New("seen")

// has reports whether the message at a sequence is there and is the one.
func (r *Relay) has(ctx context.Context, stream schemas.Stream, seq uint64, is func(id string) bool) (bool, error) {
	found := false
	err := r.cfg.Bus.Follow(ctx, stream, seq-1, func(headings []schemas.Heading, last uint64) error {
		if len(headings) > 0 && headings[0].Seq == seq {
			found = is(headings[0].ID)
			return errSeen
		}
		if last >= seq {
			return errSeen
		}
		return nil
	})
	if errors.Is(err, errSeen) {
		return found, nil
	}
	return false, err
}

// followOne mirrors one stream and closes caughtUp when the index knows
// everything up to goal.
func (r *Relay) followOne(ctx context.Context, stream schemas.Stream, after, goal uint64, caughtUp chan<- struct{}) error {
	waiting := true
	reached := func(seq uint64) {
		if waiting && seq >= goal {
			waiting = false
			close(caughtUp)
		}
	}
	reached(after)
	return r.cfg.Bus.Follow(ctx, stream, after, func(headings []schemas.Heading, last uint64) error {
		if err := r.index.Apply(stream, headings, last); err != nil {
			return err
		}
		reached(last)
		return nil
	})
}

// kept are told entries that the journal keeps for a while: a broker whose
// fsync we can't see may lose what it acknowledged.
type kept struct {
	mu    sync.Mutex
	queue []keptSeqs
}

type keptSeqs struct {
	due  time.Time
	seqs []uint64
}

func (k *kept) add(due time.Time, seqs []uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = append(k.queue, keptSeqs{due, seqs})
}

// restart has everything wait until due.
func (k *kept) restart(due time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.queue {
		k.queue[i].due = due
	}
}

func (k *kept) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queue = nil
}

// take returns what is due.
func (k *kept) take(now time.Time) []uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	var due []uint64
	for len(k.queue) > 0 && !now.Before(k.queue[0].due) {
		due = append(due, k.queue[0].seqs...)
		k.queue = k.queue[1:]
	}
	return due
}

// trimKept trims what is due, until ctx ends. While the bus is away nothing is:
// what it acknowledged before may be gone when it comes back.
func (r *Relay) trimKept(ctx context.Context) error {
	tick := time.NewTicker(min(time.Second, r.cfg.TrimAfter))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			if !r.answers(ctx) {
				continue // those who publish complain
			}
			if due := r.kept.take(now); len(due) > 0 {
				r.trim(due)
			}
		}
	}
}

// answers reports whether the bus is there, and has what the index knows.
func (r *Relay) answers(ctx context.Context) bool {
	if r.ready(ctx) != nil {
		return false
	}
	// The epoch doesn't tell that the connection is lost, only that there is
	// another.
	_, err := r.cfg.Bus.StreamState(ctx, schemas.StreamEvents)
	return err == nil && r.synced.Load() == r.cfg.Bus.Epoch()
}
