package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// poisonDeaths is how often the process may die at an entry before the entry
// is put away unread.
const poisonDeaths = 3

// item is a journal entry on its way.
type item struct {
	entry  journal.Entry
	record schemas.Record
	tell   []telling
	// reason is why it goes to quarantine instead of becoming events, or "".
	reason schemas.Reason
	// parked says that it can't even be stored sealed: it stays in the
	// journal until somebody looks.
	parked bool

	// put is what the item leads to, if it is a change; cursor says that it is
	// nothing else, so that nothing is told of it.
	put    *schemas.Put
	claim  *schemas.Put // what says that it is being told, where others could tell another
	cursor bool
	// superseded says that the change does not hold any more, and written that
	// it is on the bus already.
	superseded, written bool
	// told says that this process dealt with it before: it is read again
	// because the bus lost what it had. A superseded one never is.
	told bool

	published  bool // an event of it is on the bus because of it
	suppressed int  // events of it that were told before
	facts      facts
}

// telling is an event that is ready to be published.
type telling struct {
	event  schemas.Event
	facets schemas.Facets
	msgs   []schemas.Message
}

// newTelling checks that an event may be published, and that the bus will take
// its messages.
func (r *Relay) newTelling(e schemas.Event) (telling, error) {
	if err := e.Validate(); err != nil {
		return telling{}, err
	}
	msgs, err := e.Messages()
	if err != nil {
		return telling{}, err
	}
	for _, m := range msgs {
		if m.Size() > r.cfg.Bus.MaxPayload() {
			return telling{}, fmt.Errorf("%w: %s is larger than the bus takes", schemas.ErrUnpublishable, e.Type)
		}
	}
	return telling{event: e, facets: msgs[0].Facets(), msgs: msgs}, nil
}

// translate turns entries into items. It survives a platform's panic, and
// marks the entries on disk meanwhile, so that after the process died at one
// it is known which.
func (r *Relay) translate(entries []journal.Entry) []*item {
	items := make([]*item, 0, len(entries))
	for len(entries) > 0 {
		n := 1
		if !r.cfg.Journal.Suspect(entries[0].Seq) {
			for n < len(entries) && !r.cfg.Journal.Suspect(entries[n].Seq) {
				n++
			}
		}
		items = r.guarded(items, entries[:n])
		entries = entries[n:]
	}
	return items
}

func (r *Relay) guarded(items []*item, entries []journal.Entry) []*item {
	if err := r.cfg.Journal.Guard(entries[0].Seq, entries[len(entries)-1].Seq); err != nil {
		r.complain(fmt.Errorf("mark entries before translating: %w", err))
	}
	for _, e := range entries {
		items = append(items, r.translateOne(e))
	}
	if err := r.cfg.Journal.Unguard(); err != nil {
		r.complain(fmt.Errorf("unmark entries after translating: %w", err))
	}
	return items
}

func (r *Relay) translateOne(e journal.Entry) *item {
	d := e.Delivery
	it := &item{entry: e, record: schemas.Record{
		Source: d.Source, DeliveryID: d.ID, Channel: d.Channel, Received: d.Received, Sealed: e.Sealed, Release: attempt(e),
	}, told: e.Seq <= r.done.Load()}
	if d.Release != nil { // an operator has overruled these
		d.Stale, d.Conflict = false, false
	}
	switch {
	case e.Err != nil:
		it.parked = true
		r.cfg.Log.Error("a journal entry can't be opened; it stays in the journal", "seq", e.Seq, "error", e.Err)
		return it
	case it.record.Raw().Size() > r.cfg.Bus.MaxPayload():
		it.parked = true
		r.cfg.Log.Error("a delivery is larger than the bus takes; it stays in the journal: raise max_payload of the NATS server", "source", d.Source, "delivery", d.ID)
		return it
	case r.cfg.Journal.Deaths(e.Seq) >= poisonDeaths:
		if d.Changes { // its state is written, or its poller would find it again, and die
			r.change(it)
		}
		r.quarantine(it, schemas.ReasonPoison, errors.New("the process died at it three times"))
		return it
	case d.Stale && !d.Conflict:
		r.quarantine(it, schemas.ReasonStale, errors.New("its timestamp is too old or too far in the future"))
		return it
	case it.followUp():
		r.giveUp(it, d)
		return it
	}
	if d.Changes && !r.change(it) {
		return it
	}
	events, err := r.eventsOf(d)
	if d.Conflict {
		r.quarantine(it, schemas.ReasonConflict, errors.New("its transport id came before, with other content"))
	}
	if err != nil {
		r.quarantineFor(it, err)
		return it
	}
	for _, e := range events {
		t, err := r.newTelling(e)
		if err != nil {
			r.quarantineFor(it, err)
			return it
		}
		it.tell = append(it.tell, t)
	}
	return it
}

// eventsOf returns what a delivery is to be told as.
func (r *Relay) eventsOf(d handlers.Delivery) ([]schemas.Event, error) {
	if d.Conflict {
		return []schemas.Event{conflict(d, nil, []string{"content"})}, nil
	}
	out, err := r.normalize(d)
	for _, drift := range out.Drift {
		out.Events = append(out.Events, driftEvent(d, drift))
	}
	return out.Events, err
}

// errPanicked says that a platform's translation panicked.
var errPanicked = errors.New("translating it panicked")

// normalize calls the platform's translation.
func (r *Relay) normalize(d handlers.Delivery) (out handlers.Output, err error) {
	translate, ok := r.cfg.Normalize[d.Platform]
	if !ok {
		return out, &handlers.UnusableError{Reason: schemas.ReasonUnknownKind, Detail: "this version has no platform of that name"}
	}
	defer func() {
		if v := recover(); v != nil {
			// The value may hold what the platform said: log where, not what.
			r.cfg.Log.Error("a platform's translation panicked", "platform", d.Platform, "delivery", d.ID, "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return translate(d)
}

// quarantineFor chooses the reason by the error.
func (r *Relay) quarantineFor(it *item, err error) {
	reason := schemas.ReasonInvalidEvent
	var unusable *handlers.UnusableError
	switch {
	case errors.As(err, &unusable):
		reason = unusable.Reason
	case errors.Is(err, errPanicked):
		reason = schemas.ReasonPanic
	case errors.Is(err, schemas.ErrUnpublishable):
		reason = schemas.ReasonUnpublishable
	}
	r.quarantine(it, reason, err)
}

func (r *Relay) quarantine(it *item, reason schemas.Reason, err error) {
	it.reason, it.tell = reason, nil
	r.cfg.Log.Warn("a delivery goes to quarantine", "source", it.record.Source, "delivery", it.record.DeliveryID, "reason", string(reason), "error", err)
}

// conflict tells that a delivery disagrees with what was told before.
func conflict(d handlers.Delivery, event *string, fields []string) schemas.Event {
	return opsEvent(d, schemas.PlatformConflict, d.ID, schemas.Conflict{Platform: d.Platform, Event: event, Fields: fields})
}

// driftEvent tells of something that the vocabulary doesn't know. Its id is
// made of what it is, so it is told once.
func driftEvent(d handlers.Delivery, drift schemas.Drift) schemas.Event {
	name := drift.Path
	if drift.Value != nil {
		name += "\x00" + *drift.Value
	}
	sum := sha256.Sum256([]byte(name))
	return opsEvent(d, schemas.PlatformSchemaDrift, base64.RawURLEncoding.EncodeToString(sum[:])[:22], drift)
}

func opsEvent(d handlers.Delivery, t schemas.Type, key string, data schemas.Data) schemas.Event {
	return schemas.Event{
		ID:         d.Source + ":platform:" + t.Event() + ":" + key,
		Source:     d.Source,
		Type:       t,
		Key:        d.Source,
		Time:       schemas.FormatTime(d.Received),
		Recorded:   d.Received,
		DeliveryID: d.ID,
		Channel:    d.Channel,
		Data:       data,
	}
}
