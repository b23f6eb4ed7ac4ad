package main

import (
	"context"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

const (
	// searchPatience is how long the raw deliveries of a source are searched.
	searchPatience = 20 * time.Second
	// clockSkew is how far the clocks of receivers and NATS may be apart.
	clockSkew = 5 * time.Minute
)

// finder implements [ops.Events] with the index and the bus.
type finder struct{ *triage }

// Event implements [ops.Events].
func (f finder) Event(ctx context.Context, id string) (ops.TailEvent, error) {
	return f.find(ctx, id, schemas.StreamEvents, schemas.StreamOps)
}

// Restricted implements [ops.Events].
func (f finder) Restricted(ctx context.Context, actor, id string) (ops.TailEvent, error) {
	e, err := f.find(ctx, id+":restricted", schemas.StreamRestricted)
	if err != nil {
		return e, err
	}
	return e, f.unsealed(ctx, actor, schemas.StreamRestricted, e.Sequence)
}

// find returns the event with an id, if one of the streams has it.
func (f finder) find(ctx context.Context, id string, streams ...schemas.Stream) (ops.TailEvent, error) {
	stream, seq, ok, err := f.app.journal.Index().Find(id)
	if err != nil {
		return ops.TailEvent{}, err
	}
	for _, s := range streams {
		if !ok || s != stream {
			continue
		}
		m, err := f.get(ctx, stream, seq)
		if err != nil {
			return ops.TailEvent{}, err
		}
		if ids := m.Header[schemas.HeaderMsgID]; len(ids) == 1 && ids[0] == id {
			return ops.TailEvent{Sequence: m.Seq, Subject: m.Subject, Event: m.Data}, nil
		}
	}
	return ops.TailEvent{}, ops.ErrNotThere
}

// Raw implements [ops.Events].
func (f finder) Raw(ctx context.Context, actor, id string) (ops.Record, error) {
	e, err := f.Event(ctx, id)
	if err != nil {
		return ops.Record{}, err
	}
	var said struct {
		Delivery string    `json:"deliveryid"`
		Recorded time.Time `json:"recordedtime"`
	}
	if err := json.Unmarshal(e.Event, &said); err != nil {
		return ops.Record{}, fmt.Errorf("read an event: %w", err)
	}
	if said.Delivery == "" {
		return ops.Record{}, ops.ErrNotThere
	}
	seq, err := f.rawSequence(ctx, sourceOfRecord(e.Subject), said.Delivery, said.Recorded)
	if err != nil {
		return ops.Record{}, err
	}
	return f.openDelivery(ctx, actor, schemas.StreamRaw, seq)
}

// rawSequence finds a delivery of a source on POSTERN_RAW, that was received
// about then.
func (t *triage) rawSequence(ctx context.Context, source, delivery string, received time.Time) (seq uint64, err error) {
	b, err := t.bus()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, searchPatience)
	defer cancel()
	err = b.Tail(ctx, bus.TailOptions{
		Stream: schemas.StreamRaw, Source: source, Since: received.Add(-clockSkew), HeadersOnly: true,
	}, func(m bus.TailMessage) error {
		if recordOf(m).DeliveryID != delivery {
			return nil
		}
		seq = m.Seq
		return errEnough
	})
	switch {
	case seq != 0:
		return seq, nil
	case err == nil:
		return 0, ops.ErrNotThere
	default:
		return 0, err
	}
}

// rawDelivery opens a delivery of a source, for nobody to see.
func (t *triage) rawDelivery(ctx context.Context, source, delivery string, received time.Time) (handlers.Delivery, error) {
	seq, err := t.rawSequence(ctx, source, delivery, received)
	if err != nil {
		return handlers.Delivery{}, err
	}
	m, err := t.get(ctx, schemas.StreamRaw, seq)
	if err != nil {
		return handlers.Delivery{}, err
	}
	d, err := t.app.keys.OpenDelivery(m.Data)
	if err != nil {
		return handlers.Delivery{}, sealed(err)
	}
	return d, nil
}
