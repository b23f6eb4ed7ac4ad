// Package poll asks platforms that don't push what is new, and what became of
// what they pushed. One loop runs all pollers; a platform only says what it
// sees, and this package what of it is different from what was told.
//
// What was told is on the bus: an entry for each entity. A scan begins when
// everything in the journal was told; each entity that it shows otherwise than
// its entry does becomes a delivery with both, which is told only if the entry
// is still the same. So what isn't told, for whatever reason, is still
// different at the next scan.
package poll

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

// A Journal keeps deliveries until they are told.
type Journal interface {
	// AppendAll stores deliveries that claim nothing, in their order, all or
	// none, and returns when they are durable.
	AppendAll(ctx context.Context, ds []handlers.Delivery, contents [][32]byte) error
	// Append stores a delivery, once for a transport id and content, and
	// returns when it is durable.
	Append(ctx context.Context, d handlers.Delivery, transportID string, content [32]byte) (journal.Receipt, error)
	// Ready says why nothing could be appended now, nil: it could.
	Ready() error
}

// A Relay tells what is in the journal.
type Relay interface {
	// Drain returns when everything that is in the journal now has been told,
	// or when ctx ends.
	Drain(ctx context.Context) error
}

// A Bus keeps what was told. All its errors may pass.
type Bus interface {
	// Load returns what a bucket has under a key, with the revision 0 if that
	// is nothing.
	Load(ctx context.Context, bucket, key string) (schemas.Entry, error)
	// Each calls fn with every entry of a bucket whose key begins with whole
	// tokens, and ends when fn fails.
	Each(ctx context.Context, bucket, prefix string, fn func(schemas.Entry) error) error
	// Newer is Each for those entries only whose revision is above after. A
	// key that was deleted since is told with the revision 0.
	Newer(ctx context.Context, bucket, prefix string, after uint64, fn func(schemas.Entry) error) error
	// Store makes changes that still hold, and returns the new revision of
	// each, or 0 if it didn't hold any more.
	Store(ctx context.Context, bucket string, puts []schemas.Put) ([]uint64, error)
	// BucketState returns when a bucket was made and the last revision in it.
	BucketState(ctx context.Context, bucket string) (created time.Time, last uint64, err error)
	// Hold runs fn while it has the lease of a name, and reports whether it
	// got it. The context of fn ends when the lease is lost.
	Hold(ctx context.Context, name, holder string, fn func(ctx context.Context) error) (bool, error)
	// Publish stores messages. One that is there already is harmless.
	Publish(ctx context.Context, stream schemas.Stream, msgs []schemas.Message) ([]uint64, error)
}

// Config is what pollers need.
type Config struct {
	Journal Journal
	Relay   Relay
	Bus     Bus
	// Seal and Open encrypt and decrypt entries of the bus, each in a context
	// that must be the same for both.
	Seal func(context string, plain []byte) []byte
	Open func(context string, sealed []byte) ([]byte, error)
	// Pseudonym replaces a value, as [handlers.Means] has it.
	Pseudonym func(value string) string
	// Holder says whose the leases are: who runs here.
	Holder string
	// Metrics and Log may be nil.
	Metrics *Metrics
	Log     *slog.Logger
	// Now tells the time of scans and deliveries. Nil: time.Now.
	Now func() time.Time
}

func (c *Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}
