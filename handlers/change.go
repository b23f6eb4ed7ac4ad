package handlers

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// Change is the payload of a delivery that a poller made: what is different of
// an entity. Its relay publishes what Normalize makes of it only if the entry
// on the bus still has the revision Base, and writes Current there afterwards.
type Change struct {
	// Entry is the key of the entry, in the bucket for cursors if Cursor is
	// set and in that for states otherwise; Base is the revision that it had,
	// 0 if there was none.
	Entry string `json:"entry"`
	Base  uint64 `json:"base"`

	// Cursor is how far a poller is, or that a container was seen completely.
	// It is written and nothing is told of it; nothing below is set then.
	Cursor jsontext.Value `json:"cursor,omitempty"`

	Key  string `json:"key,omitempty"`  // the entity's
	Role string `json:"role,omitempty"` // whose part changed

	Previous Record `json:"previous,omitzero"`
	Current  Record `json:"current,omitzero"`
	// From and To are when the scans began that saw Previous and Current: it
	// changed between them. From is zero if there was no scan before.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
	// Bootstrap says that this is the first complete scan of the container.
	Bootstrap bool `json:"bootstrap,omitempty"`

	// Generation sets the records of one bucket apart from those of another
	// that was made later: revisions begin anew in each.
	Generation string `json:"generation,omitempty"`
	// Digest is a pseudonym of Current.
	Digest string `json:"digest,omitempty"`
	// Cause is the id of the event whose follow-up found it, "" if none did.
	Cause string `json:"cause,omitempty"`
}

// ErrNoChange says that a payload is no [Change].
var ErrNoChange = errors.New("the payload is no change")

// Encode returns the payload of a delivery.
func (c Change) Encode() ([]byte, error) {
	b, err := json.Marshal(c, json.Deterministic(true))
	if err != nil {
		return nil, ErrNoChange // the library's errors quote values
	}
	return b, nil
}

// DecodeChange reads what Encode wrote. It fails with [ErrNoChange].
func DecodeChange(payload []byte) (Change, error) {
	var c Change
	if err := json.Unmarshal(payload, &c); err != nil || c.Entry == "" {
		return Change{}, ErrNoChange
	}
	return c, nil
}

// Content returns a hash of what makes it another change than others of its
// source, for the id of its delivery.
func (c Change) Content() [32]byte {
	h := sha256.New()
	for _, s := range []string{c.Entry, c.Role, c.Generation, c.Digest, string(c.Cursor)} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.AppendUvarint(binary.AppendUvarint(nil, c.Base), c.Current.Revision))
	return [32]byte(h.Sum(nil))
}

// Before returns the part that changed as it was, and After as it is.
func (c Change) Before() Part { return c.Previous.Parts[c.Role] }

// After returns the part that changed as it is now.
func (c Change) After() Part { return c.Current.Parts[c.Role] }

// Observed returns what the data of the events of this change have in common.
func (c Change) Observed() schemas.Observed {
	o := schemas.Observed{Revision: int64(c.Current.Revision), Bootstrap: c.Bootstrap} //nolint:gosec // one a scan
	if !c.From.IsZero() {
		o.ChangedBetween = []string{schemas.FormatTime(c.From), schemas.FormatTime(c.To)}
	}
	return o
}

// Event returns an event of this change, of an entity with a key. Its time is
// the observation's: set Time if the platform says one. Events of one change
// have different types.
func (c Change) Event(d Delivery, t schemas.Type, key string, data schemas.Data) schemas.Event {
	revision := fmt.Sprintf("%d", c.Current.Revision)
	return schemas.Event{
		ID: strings.Join([]string{
			d.Source, t.Entity(), schemas.IDPart(key), c.Generation + "." + revision, t.Event(), c.Digest,
		}, ":"),
		Source:     d.Source,
		Type:       t,
		Key:        key,
		Time:       schemas.FormatTime(c.To),
		Recorded:   d.Received,
		Sequence:   fmt.Sprintf("%016d", c.Current.Revision),
		DeliveryID: d.ID,
		Channel:    d.Channel,
		Data:       data,

		CausationID: c.Cause,
	}
}

// Stored is the value of an entry of the buckets for states and cursors, as it
// is before it is sealed.
type Stored struct {
	// Delivery is the id of the change that wrote it. Claimed says that it is
	// being told, and Record is still the one before it: another change of the
	// same entry doesn't hold any more.
	Delivery string         `json:"delivery"`
	Claimed  bool           `json:"claimed,omitzero"`
	Record   Record         `json:"record,omitzero"`
	Cursor   jsontext.Value `json:"cursor,omitempty"`
}

// StoredContext is what the value of an entry is sealed for.
func StoredContext(entry string) string { return "postern entry " + entry }

// Encode returns the value, not sealed yet.
func (s Stored) Encode() ([]byte, error) {
	b, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		return nil, ErrNoChange
	}
	return b, nil
}

// DecodeStored reads what Encode wrote. It fails with [ErrNoChange].
func DecodeStored(value []byte) (Stored, error) {
	var s Stored
	if err := json.Unmarshal(value, &s); err != nil || s.Delivery == "" {
		return Stored{}, ErrNoChange
	}
	return s, nil
}
