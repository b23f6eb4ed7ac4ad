package relay

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// ReleaseOutcome says what became of a delivery that an operator released from
// quarantine.
type ReleaseOutcome string

// The outcomes of a release. Kept means that it still can't become events: it
// is in quarantine as before, or for another reason.
const (
	ReleaseTold       ReleaseOutcome = "told"
	ReleaseNothingNew ReleaseOutcome = "nothing_new" // all of it had been told before
	ReleaseKept       ReleaseOutcome = "kept"
)

// Released is the end of a release.
type Released struct {
	DeliveryID string
	Action     string // as in the handlers.Release
	Outcome    ReleaseOutcome
	Reason     schemas.Reason // why it is kept
}

// deletes is how many records are deleted at once.
const deletes = 8

// release returns what an operator decided of the item, or nil.
func (it *item) release() *handlers.Release { return it.entry.Delivery.Release }

// keeps reports whether a released item stays in the quarantine as it is.
func (it *item) keeps() bool {
	r := it.release()
	return r != nil && (it.parked || it.reason == r.Reason)
}

// released returns what became of a released item.
func (it *item) released() Released {
	r := Released{DeliveryID: it.record.DeliveryID, Action: it.release().Action, Outcome: ReleaseNothingNew}
	switch {
	case it.reason != "":
		r.Outcome, r.Reason = ReleaseKept, it.reason
	case it.parked:
		r.Outcome, r.Reason = ReleaseKept, schemas.ReasonUnpublishable
	case it.published || it.suppressed == 0:
		r.Outcome = ReleaseTold
	}
	return r
}

// settle tells what operators decided of the items, and deletes the records of
// those that are told, or in quarantine for another reason now. It comes after
// all that is told, and is safe to repeat: whatever a crash leaves undone is
// done after the next start, as the journal has the items until then.
func (r *Relay) settle(ctx context.Context, items []*item) error {
	if err := r.tellReleases(ctx, items); err != nil {
		return fmt.Errorf("tell of releases: %w", err)
	}
	var deleting errgroup.Group
	deleting.SetLimit(deletes)
	for _, it := range items {
		if it.release() == nil || it.keeps() {
			continue
		}
		deleting.Go(func() error {
			_, err := r.cfg.Bus.Delete(ctx, schemas.StreamQuarantine, it.release().Record, it.record.DeliveryID)
			return err
		})
	}
	if err := deleting.Wait(); err != nil {
		return fmt.Errorf("delete what was released: %w", err)
	}
	return nil
}

// tellReleases publishes the operators' decisions that were not told yet.
func (r *Relay) tellReleases(ctx context.Context, items []*item) error {
	var msgs []schemas.Message
	for _, it := range items {
		if it.release() == nil {
			continue
		}
		t, err := r.newTelling(releaseEvent(it))
		if err != nil {
			r.cfg.Log.Error("an operator's release can't be told", "delivery", it.record.DeliveryID, "error", err)
			continue
		}
		_, told, err := r.told(nil, t.event.ID)
		if err != nil {
			return err
		}
		if !told {
			msgs = append(msgs, t.msgs...)
		}
	}
	if len(msgs) == 0 {
		return nil
	}
	seqs, err := r.cfg.Bus.Publish(ctx, schemas.StreamOps, msgs)
	var headings []schemas.Heading
	for i, seq := range seqs {
		if seq > 0 { // else it was there, and the index hears of it
			headings = append(headings, schemas.Heading{ID: msgs[i].ID, Seq: seq})
		}
	}
	return errors.Join(err, r.index.Apply(schemas.StreamOps, headings, 0))
}

// releaseEvent tells of a release.
func releaseEvent(it *item) schemas.Event {
	decided, outcome := it.release(), string(it.released().Outcome)
	return schemas.OperatorAction(schemas.OperatorQuarantineReleased, decided.Action, decided.Time, schemas.Action{
		Actor: decided.Actor, Target: &it.record.DeliveryID, Outcome: &outcome,
	})
}

// attempt is what sets the records of an item apart from those before its
// release.
func attempt(e journal.Entry) string {
	if e.Delivery.Release == nil {
		return ""
	}
	return e.Delivery.Release.Action
}
