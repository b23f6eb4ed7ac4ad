package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Outcome says what became of a delivery that is durable. Its zero value is
// none of them, and comes with an error.
type Outcome int

// The outcomes.
const (
	Accepted  Outcome = iota + 1 // it was new
	Duplicate                    // it was there already and is not stored again
	Conflict                     // its transport id was there with other content; it is stored and marked
)

func (o Outcome) String() string {
	switch o {
	case Accepted:
		return "accepted"
	case Duplicate:
		return "duplicate"
	case Conflict:
		return "conflict"
	default:
		return "none"
	}
}

// Receipt is the answer to a delivery that is durable.
type Receipt struct {
	ID      string // of the delivery, the same on every receiver
	Outcome Outcome
}

// claimLife is how long a transport id is remembered: a day longer than a push
// may be late.
const claimLife = 31 * 24 * time.Hour

// Append stores d and returns once it is fsynced, or was before: it is safe to
// repeat. It sets the ID and Conflict of what it stores.
//
// A delivery claims its transport id, or its content if it is a push without
// one, for 31 days. The same claim with the same content is a Duplicate; with
// other content it is stored, once, and if it is a push it is a Conflict. A
// polled delivery without a transport id claims nothing and is always stored.
//
// Append fails with ErrFull, ErrDiskLow or ErrClosed before it has written
// anything. Without room a Duplicate is one still: it needs none. Once it
// writes, it ignores ctx.
func (j *Journal) Append(ctx context.Context, d handlers.Delivery, transportID string, content [32]byte) (Receipt, error) {
	if !j.open.enter() {
		return Receipt{}, ErrClosed
	}
	defer j.open.leave()
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	id := deliveryID(d.Source, transportID, content)
	d.ID, d.Conflict = id.String(), false
	if err := j.disk.check(); err != nil {
		return j.withoutRoom(&d, transportID, id, content, err)
	}

	plain := plainBuffers.Get().(*[]byte)
	defer plainBuffers.Put(plain)
	*plain = appendDelivery((*plain)[:0], &d)
	size := int64(len(*plain) + sealOverhead)
	if j.bytes.Add(size) > j.maxBytes {
		j.bytes.Add(-size)
		r, err := j.withoutRoom(&d, transportID, id, content, ErrFull)
		if err != nil {
			j.full.Store(true)
		}
		return r, err
	}
	if j.full.Load() { // for a larger one
		j.full.Store(false)
	}
	r, stored, err := j.appendClaimed(ctx, &d, *plain, transportID, id, content)
	if !stored {
		j.bytes.Add(-size)
	}
	return r, err
}

// withoutRoom answers a delivery that there is no room for. What is there
// already is a Duplicate; everything else is refused with the reason, also what
// another is just writing: that may take until there is room. It writes
// nothing.
func (j *Journal) withoutRoom(d *handlers.Delivery, transportID string, id hash16, content [32]byte, reason error) (Receipt, error) {
	claim, ok := claimOf(*d, transportID, content)
	if !ok {
		return Receipt{}, reason
	}
	// A claim can be read before it is synced, but not while it is ours.
	f, own := j.flights.join(claim, id)
	if !own {
		return Receipt{}, reason
	}
	same := false
	defer func() { j.flights.land(claim, f, same) }()
	known, err := j.lookUp(claim, id, d.Received)
	if err != nil {
		return Receipt{}, errors.Join(reason, err)
	}
	if same = known == claimSame; !same {
		return Receipt{}, reason
	}
	return Receipt{ID: d.ID, Outcome: Duplicate}, nil
}

// plainBuffers holds buffers for encoded deliveries until they are sealed.
var plainBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

func (j *Journal) appendClaimed(ctx context.Context, d *handlers.Delivery, plain []byte, transportID string, id hash16, content [32]byte) (_ Receipt, stored bool, _ error) {
	claim, ok := claimOf(*d, transportID, content)
	if !ok {
		j.store(d, plain, nil, nil)
		return Receipt{ID: d.ID, Outcome: Accepted}, true, nil
	}
	for {
		f, own := j.flights.join(claim, id)
		if own {
			return j.appendFirst(d, plain, claim, id, f)
		}
		if err := j.wait(ctx, f.done); err != nil {
			return Receipt{}, false, err
		}
		if f.landed && f.id == id {
			return Receipt{ID: d.ID, Outcome: Duplicate}, false, nil
		}
		// That was other content, or it was not stored: it's our turn.
	}
}

// appendFirst stores d unless its claim says that it is there. Nobody else has
// the same claim under way.
func (j *Journal) appendFirst(d *handlers.Delivery, plain []byte, claim, id hash16, f *flight) (_ Receipt, stored bool, _ error) {
	landed := false
	defer func() { j.flights.land(claim, f, landed) }()

	known, err := j.lookUp(claim, id, d.Received)
	if err != nil {
		return Receipt{}, false, err
	}
	r := Receipt{ID: d.ID, Outcome: Accepted}
	switch known {
	case claimSame:
		r.Outcome = Duplicate
	case claimOther:
		if d.Channel == schemas.ChannelPush {
			r.Outcome = Conflict
			plain[1] |= flagConflict // where appendDelivery has put the flags
		}
		j.store(d, plain, hashKey(prefixConflict, id), claimValue(claim, d.Received))
	default:
		j.store(d, plain, hashKey(prefixClaim, claim), claimValue(id, d.Received))
		j.claims.add(claim)
	}
	landed = true
	return r, known != claimSame, nil
}

// store seals an encoded delivery and writes it and its claim, synced.
func (j *Journal) store(d *handlers.Delivery, plain, claimKey, claimValue []byte) {
	size := len(plain) + sealOverhead
	b := j.db.NewBatchWithSize(entryHeader + size + 128)
	op := b.SetDeferred(9, entryHeader+size)
	binary.BigEndian.PutUint64(op.Value, uint64(d.Received.UnixMilli()))
	if sealed := j.keys.seal(op.Value[:entryHeader:entryHeader+size], deliveryContext, d.Received, plain); len(sealed) != entryHeader+size || &sealed[0] != &op.Value[0] {
		panic("journal: a sealed delivery has another size than was reckoned")
	}
	// From here to finish nothing may fail, or readers would wait for ever.
	seq := j.window.begin()
	op.Key[0] = prefixEntry
	binary.BigEndian.PutUint64(op.Key[1:], seq)
	if err := op.Finish(); err != nil {
		j.die(fmt.Errorf("fill a batch: %w", err))
	}
	if claimKey != nil {
		if err := b.Set(claimKey, claimValue, nil); err != nil {
			j.die(fmt.Errorf("fill a batch: %w", err))
		}
	}
	j.commit(b, pebble.Sync)
	j.disk.wrote(size)
	j.window.finish(seq, int64(size))
	if seq%totalsEvery == 0 {
		j.nudge()
	}
}

type claimState int

const (
	claimNew claimState = iota
	claimSame
	claimOther
)

// lookUp says what is known of a claim. Claims that have outlived their time
// are unknown, whether they were swept or not.
func (j *Journal) lookUp(claim, id hash16, at time.Time) (claimState, error) {
	if !j.claims.may(claim) {
		return claimNew, nil
	}
	v, err := j.claimAt(hashKey(prefixClaim, claim), at)
	switch {
	case err != nil:
		return claimNew, err
	case v == nil:
		return claimNew, nil
	case hash16(v[:16]) == id:
		return claimSame, nil
	}
	v, err = j.claimAt(hashKey(prefixConflict, id), at)
	switch {
	case err != nil:
		return claimNew, err
	case v != nil:
		return claimSame, nil
	}
	return claimOther, nil
}

// claimAt returns the value of a claim that holds at a time, or nil. One that
// can't be read counts as none: to store a repeat twice is harmless, since its
// events are told once; to refuse it would lose it.
func (j *Journal) claimAt(key []byte, at time.Time) ([]byte, error) {
	v, closer, err := j.db.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return nil, nil
	case pebble.IsCorruptionError(err):
		j.log.Error("a claim is damaged and counts as none", "error", err)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look a claim up: %w", err)
	}
	defer closer.Close()
	if made, ok := claimTime(v); !ok || at.Sub(made) > claimLife {
		return nil, nil
	}
	return append([]byte(nil), v...), nil
}
