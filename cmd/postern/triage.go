package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// How long the bus may take to be asked, and the relay to tell what was
// released. What takes longer is told later.
const (
	askPatience     = 5 * time.Second
	releasePatience = 8 * time.Second
)

// triage implements [ops.Triage] with the bus and the journal.
type triage struct {
	app *app

	mu      sync.Mutex
	waiting map[string]chan<- relay.Released // by action
}

func newTriage(a *app) *triage { return &triage{app: a, waiting: map[string]chan<- relay.Released{}} }

func (t *triage) bus() (*bus.Bus, error) {
	if b := t.app.bus.Load(); b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("the bus is %w", errNotOpen)
}

// Rejected implements [ops.Triage].
func (t *triage) Rejected(ctx context.Context, q ops.RecordQuery) (ops.Records, error) {
	return t.list(ctx, q, bus.TailOptions{Stream: schemas.StreamRejected, Source: q.Source})
}

// Quarantine implements [ops.Triage].
func (t *triage) Quarantine(ctx context.Context, q ops.RecordQuery) (ops.Records, error) {
	return t.list(ctx, q, bus.TailOptions{Stream: schemas.StreamQuarantine, Source: q.Source, Type: q.Reason})
}

var errEnough = errors.New("enough")

func (t *triage) list(ctx context.Context, q ops.RecordQuery, options bus.TailOptions) (ops.Records, error) {
	list := ops.Records{Records: []ops.Record{}}
	b, err := t.bus()
	if err != nil {
		return list, err
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	state, err := b.StreamState(ctx, options.Stream)
	if err != nil {
		return list, err
	}
	list.Last = state.Last
	if q.After >= state.Last {
		return list, nil
	}
	options.After, options.HeadersOnly = q.After, true
	err = b.Tail(ctx, options, func(m bus.TailMessage) error {
		if q.Until > 0 && m.Seq > q.Until {
			return errEnough
		}
		r := recordOf(m)
		if q.Reason != "" && r.Reason != q.Reason {
			return nil
		}
		if len(list.Records) == q.Limit {
			list.More = true
			return errEnough
		}
		list.Records = append(list.Records, r)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, err
}

// recordOf returns what a message says without its body.
func recordOf(m bus.TailMessage) ops.Record {
	header := func(name string) string {
		if v := m.Header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	return ops.Record{
		Sequence: m.Seq, Source: sourceOfRecord(m.Subject), Reason: header(schemas.HeaderReason), Detail: header(schemas.HeaderDetail),
		DeliveryID: header(schemas.HeaderDelivery), Channel: header(schemas.HeaderChannel),
		Received: header(schemas.HeaderReceived), Stored: schemas.FormatTime(m.Time), Bytes: m.Size,
	}
}

// get returns the record at a sequence.
func (t *triage) get(ctx context.Context, stream schemas.Stream, seq uint64) (bus.TailMessage, error) {
	b, err := t.bus()
	if err != nil {
		return bus.TailMessage{}, err
	}
	m, err := b.Get(ctx, stream, seq)
	if errors.Is(err, bus.ErrNoMessage) {
		return m, ops.ErrNotThere
	}
	return m, err
}

// OpenRejected implements [ops.Triage].
func (t *triage) OpenRejected(ctx context.Context, actor string, seq uint64) (ops.Record, error) {
	m, err := t.get(ctx, schemas.StreamRejected, seq)
	if err != nil {
		return ops.Record{}, err
	}
	p, err := relay.OpenRefusal(t.app.keys, m.Data)
	if err != nil {
		return ops.Record{}, sealed(err)
	}
	r := recordOf(m)
	r.Opened = &ops.Opened{Platform: p.Platform, Remote: p.Remote.String(), Header: p.Header}
	r.Opened.SetBody(p.Body)
	return r, t.unsealed(ctx, actor, schemas.StreamRejected, seq)
}

// OpenQuarantined implements [ops.Triage].
func (t *triage) OpenQuarantined(ctx context.Context, actor string, seq uint64) (ops.Record, error) {
	return t.openDelivery(ctx, actor, schemas.StreamQuarantine, seq)
}

// openDelivery opens a sealed delivery.
func (t *triage) openDelivery(ctx context.Context, actor string, stream schemas.Stream, seq uint64) (ops.Record, error) {
	m, err := t.get(ctx, stream, seq)
	if err != nil {
		return ops.Record{}, err
	}
	d, err := t.app.keys.OpenDelivery(m.Data)
	if err != nil {
		return ops.Record{}, sealed(err)
	}
	r := recordOf(m)
	r.Opened = &ops.Opened{Platform: d.Platform, Role: d.Role}
	if !d.Sent.IsZero() {
		r.Opened.Sent = schemas.FormatTime(d.Sent)
	}
	r.Opened.SetBody(d.Payload)
	return r, t.unsealed(ctx, actor, stream, seq)
}

// unsealed tells that somebody opened a record. Nobody sees one of which that
// can't be told.
func (t *triage) unsealed(ctx context.Context, actor string, stream schemas.Stream, seq uint64) error {
	return t.app.act(ctx, actor, schemas.OperatorUnsealed, string(stream)+"/"+strconv.FormatUint(seq, 10))
}

func sealed(err error) error { return fmt.Errorf("%w: %w", ops.ErrSealed, err) }

// Quarantined implements [ops.Triage].
func (t *triage) Quarantined(ctx context.Context, id string) ([]ops.Record, error) {
	if seq, err := strconv.ParseUint(id, 10, 64); err == nil {
		m, err := t.get(ctx, schemas.StreamQuarantine, seq)
		if err != nil {
			return nil, err
		}
		return []ops.Record{recordOf(m)}, nil
	}
	b, err := t.bus()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	var list []ops.Record
	err = b.Tail(ctx, bus.TailOptions{Stream: schemas.StreamQuarantine, HeadersOnly: true}, func(m bus.TailMessage) error {
		if r := recordOf(m); r.DeliveryID == id {
			list = append(list, r)
		}
		return nil
	})
	if err == nil && list == nil {
		err = ops.ErrNotThere
	}
	return list, err
}

// Discard implements [ops.Triage].
func (t *triage) Discard(ctx context.Context, actor string, records []ops.Record) ([]ops.Handled, error) {
	return t.each(records, func(r ops.Record) (string, error) {
		b, err := t.bus()
		if err != nil {
			return "", err
		}
		// Nothing is deleted of which it can't be told.
		if err := t.app.act(ctx, actor, schemas.OperatorQuarantineDiscarded, r.DeliveryID); err != nil {
			return "", err
		}
		deleted, err := b.Delete(ctx, schemas.StreamQuarantine, r.Sequence, r.DeliveryID)
		if err != nil {
			return "", err
		}
		if !deleted {
			return ops.OutcomeGone, nil
		}
		return ops.OutcomeDiscarded, nil
	})
}

// Release implements [ops.Triage]. The relay tells what is released and
// deletes the record, also when nobody waits for it any more.
func (t *triage) Release(ctx context.Context, actor string, records []ops.Record) ([]ops.Handled, error) {
	ctx, cancel := context.WithTimeout(ctx, releasePatience)
	defer cancel()
	settled := map[uint64]<-chan relay.Released{}
	handled, err := t.each(records, func(r ops.Record) (string, error) {
		ch, outcome, err := t.readmit(ctx, actor, r)
		settled[r.Sequence] = ch
		return outcome, err
	})
	for i := range handled {
		h := &handled[i]
		if h.Outcome != ops.OutcomePending {
			continue
		}
		select {
		case r := <-settled[h.Sequence]:
			h.Outcome, h.Reason = string(r.Outcome), string(r.Reason)
		case <-ctx.Done():
		}
	}
	return handled, err
}

// each handles records in order. When one can't be handled the rest isn't
// tried; that is an error only if it is the first.
func (t *triage) each(records []ops.Record, handle func(ops.Record) (string, error)) ([]ops.Handled, error) {
	handled := make([]ops.Handled, 0, len(records))
	var failed error
	for i, r := range records {
		outcome := ops.OutcomeUnavailable
		if failed == nil {
			outcome, failed = handle(r)
			if failed != nil && i == 0 {
				return nil, failed
			}
			if failed != nil {
				t.app.log.Warn("records in quarantine are not handled", "count", len(records)-i, "error", failed)
				outcome = ops.OutcomeUnavailable
			}
		}
		handled = append(handled, ops.Handled{Sequence: r.Sequence, DeliveryID: r.DeliveryID, Source: r.Source, Outcome: outcome})
	}
	return handled, nil
}

// readmit puts a record back into the journal, and returns where it is told
// what becomes of it.
func (t *triage) readmit(ctx context.Context, actor string, r ops.Record) (<-chan relay.Released, string, error) {
	m, err := t.get(ctx, schemas.StreamQuarantine, r.Sequence)
	if errors.Is(err, ops.ErrNotThere) {
		return nil, ops.OutcomeGone, nil
	}
	if err != nil {
		return nil, "", err
	}
	d, err := t.app.keys.OpenDelivery(m.Data)
	if errors.Is(err, journal.ErrUnknownKey) || errors.Is(err, journal.ErrDamaged) || err == nil && d.ID != r.DeliveryID {
		t.app.log.Error("a record in quarantine can't be opened", "seq", r.Sequence, "error", err)
		return nil, ops.OutcomeSealed, nil
	}
	if err != nil {
		return nil, "", err
	}
	action := rand.Text()
	settled := make(chan relay.Released, 1)
	t.mu.Lock()
	t.waiting[action] = settled
	t.mu.Unlock()
	err = t.app.journal.Readmit(ctx, d, handlers.Release{
		Record: r.Sequence, Reason: schemas.Reason(r.Reason), Actor: actor, Action: action, Time: time.Now(),
	})
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.waiting, action)
		return nil, "", err
	}
	t.app.log.Info("an operator released a delivery", "actor", actor, "delivery", d.ID, "reason", r.Reason)
	return settled, ops.OutcomePending, nil
}

// settled hears from the relay what became of a release.
func (t *triage) settled(r relay.Released) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ch, ok := t.waiting[r.Action]; ok {
		delete(t.waiting, r.Action)
		ch <- r // there is room for one, and only one comes
	}
}
