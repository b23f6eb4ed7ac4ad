package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/bus"
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
	b, err := f.bus()
	if err != nil {
		return ops.Record{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, searchPatience)
	defer cancel()
	var found *ops.Record
	err = b.Tail(ctx, bus.TailOptions{
		Stream: schemas.StreamRaw, Source: sourceOfRecord(e.Subject), Since: said.Recorded.Add(-clockSkew), HeadersOnly: true,
	}, func(m bus.TailMessage) error {
		if r := recordOf(m); r.DeliveryID == said.Delivery {
			found = &r
			return errEnough
		}
		return nil
	})
	switch {
	case found != nil:
		return f.openDelivery(ctx, actor, schemas.StreamRaw, found.Sequence)
	case err == nil || errors.Is(err, errEnough):
		return ops.Record{}, ops.ErrNotThere
	default:
		return ops.Record{}, err
	}
}
