package handlers

import (
	"context"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// FollowUp is what a source asks its platform because of an event that it
// told: a poll at once, for named ids.
type FollowUp struct {
	// Types are the events that are followed up.
	Types []schemas.Type
	// GiveUpAfter is how long after the event an answer is waited for.
	GiveUpAfter time.Duration
	// Answer asks what an event means and tells what the platform said:
	// entities as sightings with Alone, and facts. An error says that the
	// platform doesn't say all of it yet, or can't be asked; then nothing that
	// was told to s counts, and it is asked again later. It may be called
	// again for an event that was answered, and at the same time for others.
	// With last, which is the last try before giving up, what can be told
	// without a full answer counts although it fails.
	Answer func(ctx context.Context, e ToldEvent, s Scan, last bool) error
}

// ToldEvent is an event that is on the bus.
type ToldEvent struct {
	ID   string         `json:"id"`
	Type schemas.Type   `json:"type"`
	Key  string         `json:"key"`
	Time string         `json:"time"`
	Data jsontext.Value `json:"data"` // without a restricted twin's
}

// RoleFollowUp is the role of a delivery that holds a [ToldEvent] whose
// follow-up was given up: it goes to quarantine, and is asked again when it is
// released.
const RoleFollowUp = "follow-up"

// History calls fn with every fact that a platform has of a span of time, the
// oldest first, as pollers tell them. It may be called again at any time.
type History func(ctx context.Context, from, to time.Time, fn func(Fact) error) error

// Reconcile says how often a source's [History] is compared with the bus, and
// what of it.
type Reconcile struct {
	Every  time.Duration // 0: only when an operator asks for it
	Window time.Duration // how far back
	// Since is where the first comparison begins at the earliest, and so all:
	// what was before it is not told unasked. Zero: when this was first on.
	Since time.Time
}
