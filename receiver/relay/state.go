package relay

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// loads is how many entries are asked for at once.
const loads = 32

// errState says that the state that a change leads to can't be kept.
var errState = fmt.Errorf("%w: the state behind it is larger than the bus takes", schemas.ErrUnpublishable)

// change reads a poller's delivery and seals what it leads to. It reports
// whether the delivery is to be translated.
func (r *Relay) change(it *item) bool {
	c, err := handlers.DecodeChange(it.entry.Delivery.Payload)
	if err != nil {
		r.quarantine(it, schemas.ReasonBadJSON, err)
		return false
	}
	it.cursor = c.Cursor != nil
	if it.release() != nil { // its state was written, or passed over, long ago
		return !it.cursor
	}
	stored, err := handlers.Stored{Delivery: it.record.DeliveryID, Record: c.Current, Cursor: c.Cursor}.Encode()
	if err != nil {
		r.quarantine(it, schemas.ReasonBadJSON, err)
		return false
	}
	put := schemas.Put{Key: c.Entry, Base: c.Base, Value: r.cfg.Keys.Seal(handlers.StoredContext(c.Entry), stored)}
	if len(put.Value) > r.cfg.Bus.MaxPayload()-maxEntryHead {
		r.quarantine(it, schemas.ReasonUnpublishable, errState)
		return false
	}
	it.put = &put
	if !r.cfg.Shared || it.cursor {
		return !it.cursor
	}
	claimed, err := handlers.Stored{Delivery: it.record.DeliveryID, Claimed: true, Record: c.Previous}.Encode()
	if err != nil {
		r.quarantine(it, schemas.ReasonBadJSON, err)
		return false
	}
	it.claim = &schemas.Put{Key: c.Entry, Base: c.Base, Value: r.cfg.Keys.Seal(handlers.StoredContext(c.Entry), claimed)}
	return true
}

// maxEntryHead is what the head of an entry's message takes at most.
const maxEntryHead = 1 << 10

// bucket returns where the state of an item is.
func (it *item) bucket() string {
	if it.cursor {
		return schemas.BucketCursors
	}
	return schemas.BucketState
}

// hold finds out which changes still hold: whose entries on the bus are those
// that they are based on, or were written by themselves before a crash. The
// others are superseded: nothing is told of them, and their poller finds what
// is still different. It comes before anything of them is told, and again
// before each new try.
func (r *Relay) hold(ctx context.Context, items []*item) error {
	entries := make([]schemas.Entry, len(items))
	var loading errgroup.Group
	loading.SetLimit(loads)
	for i, it := range items {
		if it.put == nil {
			continue
		}
		loading.Go(func() (err error) {
			entries[i], err = r.cfg.Bus.Load(ctx, it.bucket(), it.put.Key)
			return err
		})
	}
	if err := loading.Wait(); err != nil {
		return fmt.Errorf("look up what changes are based on: %w", err)
	}
	type place struct{ bucket, key string }
	taken := map[place]bool{}
	for i, it := range items {
		it.superseded, it.written = false, false
		if it.put == nil {
			continue
		}
		at := place{it.bucket(), it.put.Key}
		stored := r.stored(it, entries[i])
		switch {
		case stored.Delivery == it.record.DeliveryID && stored.Claimed: // before a crash or a failure
			it.put.Base, it.claim = entries[i].Revision, nil
		case stored.Delivery == it.record.DeliveryID:
			it.written = true
		case entries[i].Revision == it.put.Base && !taken[at]:
		case it.told:
			it.written = true // another one was written over it, and it held before that
		default:
			it.superseded = true
		}
		taken[at] = taken[at] || !it.superseded && !it.written
	}
	return r.claim(ctx, items)
}

// claim has other receivers know that the changes that hold are being told. One
// whose entry moved on meanwhile is superseded.
func (r *Relay) claim(ctx context.Context, items []*item) error {
	var claimed []*item
	var puts []schemas.Put
	for _, it := range items {
		if it.claim != nil && !it.superseded && !it.written && !it.parked {
			claimed, puts = append(claimed, it), append(puts, *it.claim)
		}
	}
	if len(puts) == 0 {
		return nil
	}
	revisions, err := r.cfg.Bus.Store(ctx, schemas.BucketState, puts)
	for i, revision := range revisions {
		if revision > 0 {
			claimed[i].put.Base, claimed[i].claim = revision, nil
		}
	}
	if err != nil {
		return fmt.Errorf("claim %s: %w", schemas.BucketState, err)
	}
	for _, it := range claimed {
		it.superseded = it.claim != nil
	}
	return nil
}

// stored returns what an entry holds that is another one than the change is
// based on. One that can't be read is somebody else's.
func (r *Relay) stored(it *item, e schemas.Entry) handlers.Stored {
	if e.Revision == 0 || e.Revision == it.put.Base {
		return handlers.Stored{}
	}
	value, err := r.cfg.Keys.Open(handlers.StoredContext(e.Key), e.Value)
	if err != nil {
		r.complain(fmt.Errorf("an entry of %s can't be opened: %w", it.bucket(), err))
		return handlers.Stored{}
	}
	stored, err := handlers.DecodeStored(value)
	if err != nil {
		return handlers.Stored{}
	}
	return stored
}

// writeState writes what the items lead to. It comes after all that is told of
// them. An entry that has moved on meanwhile is left alone.
func (r *Relay) writeState(ctx context.Context, items []*item) error {
	// A cursor says that all before it is written.
	for _, bucket := range []string{schemas.BucketState, schemas.BucketCursors} {
		var puts []schemas.Put
		for _, it := range items {
			if it.put != nil && it.bucket() == bucket && !it.superseded && !it.written && !it.parked {
				puts = append(puts, *it.put)
			}
		}
		if len(puts) == 0 {
			continue
		}
		if _, err := r.cfg.Bus.Store(ctx, bucket, puts); err != nil {
			if ctx.Err() == nil {
				r.metrics.publishErrors.WithLabelValues(bucket, "unavailable").Inc()
			}
			r.synced.Store(0) // as after any failure to publish
			return fmt.Errorf("write %s: %w", bucket, err)
		}
	}
	return nil
}
