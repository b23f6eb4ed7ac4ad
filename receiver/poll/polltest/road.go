package polltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// Normalize translates a delivery, as [handlers.Platform] has it.
type Normalize func(handlers.Delivery) (handlers.Output, error)

// Road is a receiver's journal and relay: what is appended is told at the next
// Drain, in order. It is safe for concurrent use.
type Road struct {
	bus       *Bus
	normalize map[string]Normalize

	mu         sync.Mutex
	fail       error
	entries    []handlers.Delivery
	claims     map[string]bool
	told       map[string]bool
	events     []schemas.Event
	drift      []schemas.Drift
	refused    []error
	superseded int
	appended   int
}

// NewRoad returns a road to a bus, with the translations of platforms by name.
func NewRoad(b *Bus, normalize map[string]Normalize) *Road {
	return &Road{bus: b, normalize: normalize, claims: map[string]bool{}, told: map[string]bool{}}
}

// Fail makes appending fail with err, until it is nil.
func (r *Road) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// Ready implements the pollers' journal.
func (r *Road) Ready() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fail
}

// AppendAll implements the pollers' journal.
func (r *Road) AppendAll(ctx context.Context, ds []handlers.Delivery, contents [][32]byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(ctx.Err(), r.fail); err != nil && len(ds) > 0 {
		return err
	}
	for i, d := range ds {
		r.add(d, "", contents[i])
	}
	return nil
}

// Append implements the pollers' journal.
func (r *Road) Append(ctx context.Context, d handlers.Delivery, transportID string, content [32]byte) (journal.Receipt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := errors.Join(ctx.Err(), r.fail); err != nil {
		return journal.Receipt{}, err
	}
	claim := transportID + "\x00" + string(content[:])
	receipt := journal.Receipt{ID: deliveryID(d.Source, transportID, content), Outcome: journal.Duplicate}
	if transportID == "" || !r.claims[claim] {
		r.claims[claim] = true
		receipt.Outcome = journal.Accepted
		r.add(d, transportID, content)
	}
	return receipt, nil
}

func (r *Road) add(d handlers.Delivery, transportID string, content [32]byte) {
	d.ID = deliveryID(d.Source, transportID, content)
	r.entries = append(r.entries, d)
	r.appended++
}

func deliveryID(source, transportID string, content [32]byte) string {
	sum := sha256.Sum256(slices.Concat([]byte(source+"\x00"+transportID+"\x00"), content[:]))
	return hex.EncodeToString(sum[:16])
}

// Drain implements the pollers' relay: it tells everything.
func (r *Road) Drain(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.entries) > 0 {
		if err := r.tell(ctx, r.entries[0]); err != nil {
			return err
		}
		r.entries = r.entries[1:]
	}
	return ctx.Err()
}

// Forget drops what is not told yet, as if each had been superseded.
func (r *Road) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = nil
}

// tell publishes a delivery's events if it still holds, and writes the state
// behind them.
func (r *Road) tell(ctx context.Context, d handlers.Delivery) error {
	if !d.Changes {
		r.publish(d)
		return nil
	}
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return err
	}
	bucket, stored := schemas.BucketState, handlers.Stored{Delivery: d.ID, Record: c.Current}
	if c.Cursor != nil {
		bucket, stored = schemas.BucketCursors, handlers.Stored{Delivery: d.ID, Cursor: c.Cursor}
	}
	e, err := r.bus.Load(ctx, bucket, c.Entry)
	if err != nil {
		return err
	}
	if e.Revision != c.Base {
		r.superseded++
		return nil
	}
	if c.Cursor == nil && !r.publish(d) {
		return nil // it is in quarantine, and the state is as it was
	}
	value, err := stored.Encode()
	if err != nil {
		return err
	}
	_, err = r.bus.Store(ctx, bucket, []schemas.Put{{Key: c.Entry, Value: Seal(handlers.StoredContext(c.Entry), value), Base: c.Base}})
	return err
}

// publish notes the events of a delivery, each once, and reports whether it
// could be translated.
func (r *Road) publish(d handlers.Delivery) bool {
	translate := r.normalize[d.Platform]
	if translate == nil {
		r.refused = append(r.refused, fmt.Errorf("nobody translates for %q", d.Platform))
		return false
	}
	out, err := translate(d)
	for _, e := range out.Events {
		err = errors.Join(err, e.Validate())
	}
	if err != nil {
		r.refused = append(r.refused, err)
		return false
	}
	for _, e := range out.Events {
		if !r.told[e.ID] {
			r.told[e.ID] = true
			r.events = append(r.events, e)
		}
	}
	r.drift = append(r.drift, out.Drift...)
	return true
}

// Take returns what was told since the last call: events in order, what the
// vocabulary doesn't know, and why deliveries could not be told.
func (r *Road) Take() ([]schemas.Event, []schemas.Drift, []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, drift, refused := r.events, r.drift, r.refused
	r.events, r.drift, r.refused = nil, nil, nil
	return events, drift, refused
}

// Counts returns how many deliveries were appended, and how many of them were
// superseded.
func (r *Road) Counts() (appended, superseded int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.appended, r.superseded
}

// Waiting returns what is appended and not told.
func (r *Road) Waiting() []handlers.Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.entries)
}

// Seal puts plain where only Open with the same context finds it. It hides
// nothing.
func Seal(context string, plain []byte) []byte {
	return append([]byte(context+"\x00"), plain...)
}

// Open returns what Seal sealed in a context.
func Open(context string, sealed []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte(context+"\x00"))
	if !ok {
		return nil, errors.New("sealed in another context")
	}
	return plain, nil
}
