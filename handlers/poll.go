package handlers

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Poller is something that a source asks its platform again and again.
type Poller struct {
	// Name is unique within the source: "agent-list", "candidates-<token>". It
	// has the characters of a subject token.
	Name string
	// Role says what it asks for: it is the role of its deliveries, and the
	// name of its part of each record. Pollers of one role, like those of
	// several tokens, see different entities.
	Role  string
	Owner string // whose login it uses, if that matters
	View  string // which view of the platform it has, if there are several

	// Interval is the time between the beginnings of two scans.
	Interval time.Duration
	// Timeout is how long a scan may take. 0: five minutes.
	Timeout time.Duration

	// Scan asks the platform once and tells what it said. It returns nil only
	// if everything was asked and answered; what it saw in containers that
	// were complete before an error counts all the same. It may be called
	// again at once, and never while it runs. It does no I/O but by the means
	// that its source was opened with.
	Scan func(ctx context.Context, s Scan) error
}

// A Scan hears what a poller sees. What changed since the last scan is made a
// delivery for each entity when Scan returns. Its methods are for one
// goroutine, and keep nothing of what they are given.
type Scan interface {
	// Saw notes what an entity is like.
	Saw(Sighting) error
	// Missing calls fn with the keys of the entities that were in a container
	// at the last scan and were not seen there yet in this one.
	Missing(container string, fn func(key string) error) error
	// Missed notes why an entity was not seen, for the part's Evidence: what
	// the platform answered when it was asked for it alone. It is not seen by
	// that: one that is missed often enough is absent.
	Missed(key string, evidence jsontext.Value) error
	// Complete says that everything in a container was seen. Only what was
	// seen in complete containers counts, and only there can be absent what was
	// seen before. Containers that are not completed are as they were.
	Complete(container string) error

	// Records calls fn with all records of the source that have a part,
	// whichever poller wrote it, as they are on the bus.
	Records(ctx context.Context, role string, fn func(key string, r Record) error) error
	// Record returns what is known of an entity, the zero Record if nothing.
	Record(ctx context.Context, key string) (Record, error)

	// Tell hands on what the platform said of something that is no entity's
	// state but a fact of its own, as a push does. It is durable when the scan
	// has returned. The same transport id with the same content is told once
	// in 31 days.
	Tell(Fact) error
	// Cursor returns what the last Advance noted, nil if there was none.
	Cursor(ctx context.Context) (jsontext.Value, error)
	// Advance notes how far the poller is. It holds when all that was told
	// before it is on the bus, and not if the scan fails.
	Advance(cursor jsontext.Value) error

	// Began is when this scan began, and Previous when the last one did that
	// was complete: what is different now has changed after that. It is zero
	// if there was none.
	Began() time.Time
	Previous() time.Time
}

// Sighting is what a platform shows of an entity.
type Sighting struct {
	// Key is the entity's, unique within the source, with nothing personal in
	// it: it is a part of subjects and ids.
	Key string
	// Container is the list, token, tranche or deal that it was seen in. One
	// without a container is never absent, and nothing of it is bootstrap.
	Container string
	// Alone says that it was asked for by its key: it counts whether its
	// container is completed or not.
	Alone bool
	// Role is whose part of the record it is, and View that of the delivery
	// that becomes of it; "" for the poller's.
	Role string
	View string
	// State is the tracked projection: what of the entity matters. Equal states
	// have equal bytes. It is sealed wherever it is kept, and goes as it is to
	// Normalize: values that nobody may see are not in it.
	State jsontext.Value
}

// Fact is what a platform said of something that is no entity's state.
type Fact struct {
	Role        string
	View        string // sets apart how it was found, for metrics: "" or granted
	TransportID string
	Content     [32]byte
	Sent        time.Time // zero if the platform doesn't say
	Payload     []byte
}

// Record is what is known of an entity. Each poller that sees it writes a part
// of its own.
type Record struct {
	// Key is the entity's, "" if nothing is known of it.
	Key string `json:"key,omitempty"`
	// Revision is how often it changed, 0 if it is not known.
	Revision uint64 `json:"revision"`
	// Parts are what pollers saw, by their role.
	Parts map[string]Part `json:"parts,omitempty"`
}

// Part is what pollers of one role saw of an entity.
type Part struct {
	Container string `json:"container,omitempty"`
	// State is how it was when it was seen last.
	State jsontext.Value `json:"state,omitzero"`
	// Absent says that the platform doesn't show it any more, and Evidence
	// what it answered when it was asked.
	Absent   bool           `json:"absent,omitempty"`
	Evidence jsontext.Value `json:"evidence,omitzero"`
	// Since is when this was seen first.
	Since time.Time `json:"since,omitzero"`
}

// Present reports whether the platform shows it.
func (p Part) Present() bool { return p.State != nil && !p.Absent }
