package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed75441868/postern/schemas"
)

// batch is a run of items whose events are published together.
type batch struct {
	items []*item
	// stored has the ids that are on the bus because of this batch, and whose
	// they are, so that trying again after a failure doesn't take our own
	// telling for an earlier one.
	stored map[string]*item
	// tried has the ids that were sent without an answer.
	tried map[string]*item
}

func newBatch(items []*item) *batch {
	return &batch{items: items, stored: map[string]*item{}, tried: map[string]*item{}}
}

// unanswered remembers what was sent and may be on the bus or not.
func (b *batch) unanswered(parcels []parcel, err error) {
	if errors.Is(err, errToldMeanwhile) {
		return
	}
	for _, p := range parcels {
		b.tried[p.ID] = p.of
	}
}

// parcel is a message and the item that it is of.
type parcel struct {
	schemas.Message
	of *item
}

// storeRaw publishes the sealed deliveries. Doing it again is harmless.
func (r *Relay) storeRaw(ctx context.Context, items []*item) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	var parcels []parcel
	for _, it := range items {
		if !it.parked && !it.cursor && !it.followUp() { // else no platform has told it
			parcels = append(parcels, parcel{it.record.Raw(), it})
		}
	}
	return r.send(ctx, schemas.StreamRaw, parcels, func([]parcel, []uint64) error { return nil })
}

// tell publishes what was not told yet. After a failure it is safe to call it
// again with the same batch.
func (r *Relay) tell(ctx context.Context, b *batch) error {
	caughtUp, err := r.readyFor(ctx)
	if err != nil {
		return err
	}
	if err := r.hold(ctx, b.items); err != nil {
		return err
	}
	out, err := r.resolve(b)
	if err != nil {
		return err
	}
	if r.syncs.Load() != caughtUp {
		return errIndexAnew
	}
	for _, stream := range []schemas.Stream{schemas.StreamEvents, schemas.StreamRestricted, schemas.StreamOps} {
		err := r.send(ctx, stream, out[stream], func(sent []parcel, seqs []uint64) error {
			return r.note(b, stream, sent, seqs)
		})
		if err != nil {
			b.unanswered(out[stream], err)
			return err
		}
	}
	var sealed []parcel
	for _, it := range b.items {
		if it.reason != "" && !it.parked && !it.keeps() && !it.superseded {
			sealed = append(sealed, parcel{it.record.Quarantine(it.reason), it})
		}
	}
	if err := r.send(ctx, schemas.StreamQuarantine, sealed, func([]parcel, []uint64) error { return nil }); err != nil {
		return err
	}
	if err := r.writeState(ctx, b.items); err != nil {
		return err
	}
	return r.settle(ctx, b.items)
}

// resolve decides for each event whether it is new, a repeat, an addition or a
// contradiction, and returns the messages that are to be published.
func (r *Relay) resolve(b *batch) (map[schemas.Stream][]parcel, error) {
	out := map[schemas.Stream][]parcel{}
	pending := map[string]schemas.Facets{} // ids in out
	for _, it := range b.items {
		it.suppressed, it.facts = 0, facts{}
		if it.superseded {
			continue
		}
		for _, t := range it.tell {
			if err := r.count(b, pending, it, t); err != nil {
				return nil, err
			}
			added, err := r.add(b, out, pending, it, t)
			if err != nil {
				return nil, err
			}
			if !added {
				it.suppressed++
			}
		}
	}
	return out, nil
}

// add puts the messages of t that are not told yet into out and reports
// whether there are any, or had been any.
func (r *Relay) add(b *batch, out map[schemas.Stream][]parcel, pending map[string]schemas.Facets, it *item, t telling) (bool, error) {
	id := t.event.ID
	facets, told, err := r.told(pending, id)
	if err != nil {
		return false, err
	}
	if told && b.stored[id] != it {
		conflicts, added := facets.Compare(t.facets)
		if len(conflicts) > 0 {
			return r.addDerived(b, out, pending, it, r.contradicted(it, t.event, conflicts))
		}
		if more, ok := details(t.event, added); ok {
			return r.addDerived(b, out, pending, it, more)
		}
	}
	isNew := false
	for _, m := range t.msgs {
		_, told, err := r.told(pending, m.ID)
		if err != nil {
			return false, err
		}
		if told {
			isNew = isNew || b.stored[m.ID] == it
			continue
		}
		isNew = true
		pending[m.ID] = t.facets
		out[m.Stream] = append(out[m.Stream], parcel{m, it})
	}
	return isNew, nil
}

// addDerived adds an event that follows from comparing tellings.
func (r *Relay) addDerived(b *batch, out map[schemas.Stream][]parcel, pending map[string]schemas.Facets, it *item, e schemas.Event) (bool, error) {
	t, err := r.newTelling(e)
	if err != nil {
		r.quarantineFor(it, err)
		return false, nil
	}
	return r.add(b, out, pending, it, t)
}

// details returns the event that tells what a later telling adds. Only
// processes are told in pieces; an event of that kind is not taken apart
// again.
func details(e schemas.Event, added []string) (schemas.Event, bool) {
	process, ok := e.Data.(schemas.Process)
	if !ok || len(added) == 0 || e.Type == schemas.ProcessDetailsAdded {
		return e, false
	}
	process.Added = added
	e.ID, e.Type, e.Data = e.ID+":details", schemas.ProcessDetailsAdded, process
	return e, true
}

// contradicted puts the item away: what was told stays, and operators hear of
// the other telling.
func (r *Relay) contradicted(it *item, e schemas.Event, fields []string) schemas.Event {
	if it.reason == "" {
		r.cfg.Log.Warn("a delivery disagrees with what was told; it goes to quarantine", "source", e.Source, "delivery", e.DeliveryID, "event", e.ID, "reason", string(schemas.ReasonConflict))
	}
	it.reason = schemas.ReasonConflict
	return conflict(it.entry.Delivery, &e.ID, fields)
}

// told looks an id up among the messages that are about to be published and
// those that are on the bus.
func (r *Relay) told(pending map[string]schemas.Facets, id string) (schemas.Facets, bool, error) {
	if f, ok := pending[id]; ok {
		return f, true, nil
	}
	text, ok, err := r.index.Lookup(id)
	if err != nil || !ok {
		return nil, false, err
	}
	return schemas.ParseFacets(text), true, nil
}

// send publishes parcels in order and calls stored for those that the bus has.
// A message that can never be published takes its item to quarantine, or, if
// it is the sealed delivery itself, leaves it in the journal.
func (r *Relay) send(ctx context.Context, stream schemas.Stream, parcels []parcel, stored func([]parcel, []uint64) error) error {
	for len(parcels) > 0 {
		n := min(len(parcels), batchEntries)
		msgs := make([]schemas.Message, n)
		for i := range n {
			msgs[i] = parcels[i].Message
		}
		seqs, err := r.cfg.Bus.Publish(ctx, stream, msgs)
		if noteErr := stored(parcels[:len(seqs)], seqs); noteErr != nil {
			return noteErr
		}
		parcels = parcels[len(seqs):]
		switch {
		case err == nil:
		case errors.Is(err, schemas.ErrUnpublishable) && len(parcels) > 0:
			r.metrics.publishErrors.WithLabelValues(string(stream), "unpublishable").Inc()
			r.putAway(parcels[0].of, stream, err)
			parcels = parcels[1:]
		default:
			if ctx.Err() == nil {
				r.metrics.publishErrors.WithLabelValues(string(stream), "unavailable").Inc()
			}
			// Whatever it is, the streams and the index are looked at again
			// before the next try: a stream may be gone.
			r.synced.Store(0)
			return fmt.Errorf("publish to %s: %w", stream, err)
		}
	}
	return nil
}

func (r *Relay) putAway(it *item, stream schemas.Stream, err error) {
	if stream == schemas.StreamRaw || stream == schemas.StreamQuarantine {
		it.parked, it.tell = true, nil
		r.cfg.Log.Error("the bus refuses a sealed delivery; it stays in the journal", "source", it.record.Source, "delivery", it.record.DeliveryID, "error", err)
		return
	}
	r.quarantine(it, schemas.ReasonUnpublishable, err)
}

// errIndexAnew says that the index may have forgotten what it was asked for.
var errIndexAnew = errors.New("the index was made anew meanwhile")

// errToldMeanwhile says that another receiver told a fact after the index was
// asked for it: whether it agrees is known when the index has heard of it.
var errToldMeanwhile = errors.New("another receiver told a fact at the same time")

// note remembers what is on the bus now. A message with the sequence 0 was there
// already: it is what we sent in an earlier try, whose answer was lost, or
// another receiver's.
func (r *Relay) note(b *batch, stream schemas.Stream, sent []parcel, seqs []uint64) error {
	var headings []schemas.Heading
	var meanwhile error
	for i, p := range sent {
		if seqs[i] == 0 && b.tried[p.ID] != p.of {
			meanwhile = errToldMeanwhile
			continue
		}
		if b.stored[p.ID] == nil {
			b.stored[p.ID] = p.of
			p.of.published = p.of.published || stream != schemas.StreamOps
			r.metrics.published(p.of.record.Source, p.Message)
		}
		if seqs[i] == 0 {
			continue // the index hears of it by itself
		}
		h := schemas.Heading{ID: p.ID, Seq: seqs[i]}
		if f := p.Header[schemas.HeaderFacets]; len(f) > 0 {
			h.Facets = f[0]
		}
		headings = append(headings, h)
	}
	return errors.Join(r.index.Apply(stream, headings, 0), meanwhile)
}

// finish counts items that are done and lets the journal forget them.
func (r *Relay) finish(items []*item) {
	now := time.Now()
	var trim, over []uint64
	for _, it := range items {
		switch {
		case it.superseded, it.parked && it.entry.Delivery.Changes:
			// Nothing of it is on the bus that could be lost there, and its
			// poller finds what is still different.
			over = append(over, it.entry.Seq)
		case !it.parked || it.release() != nil: // a released one is in quarantine still
			trim = append(trim, it.entry.Seq)
		}
		r.metrics.done(it, now)
		if it.release() != nil && r.cfg.Released != nil {
			r.cfg.Released(it.released())
		}
	}
	if last := items[len(items)-1].entry.Seq; last > r.done.Load() {
		r.done.Store(last)
	}
	if r.cfg.TrimAfter > 0 {
		r.kept.add(now.Add(r.cfg.TrimAfter), trim)
		trim = nil
	}
	r.trim(append(trim, over...))
}

// trim has the journal forget entries. If that fails they are read again after
// the next start, and the index knows that they were told.
func (r *Relay) trim(seqs []uint64) {
	if err := r.cfg.Journal.Trim(seqs...); err != nil {
		r.complain(fmt.Errorf("trim the journal: %w", err))
	}
}
