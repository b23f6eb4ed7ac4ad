package poll

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// errStored says that an entry can't be read. It wraps nothing: what opens
// and decodes may quote values.
var errStored = errors.New("an entry on the bus is not what was written there")

// entry is one of the bucket for cursors.
type entry struct {
	revision uint64
	cursor   jsontext.Value // nil: there is none
}

// Entries of a poller in the bucket for cursors.
func (p *poller) cursorKey() string { return p.entryKey("cursor") }
func (p *poller) pausedKey() string { return p.entryKey("paused") }
func (p *poller) markerKey(container string) string {
	return p.entryKey("seen." + schemas.Token(container))
}
func (p *poller) entryKey(name string) string { return p.lease() + "." + name }

// lease is the name of the poller's lease.
func (p *poller) lease() string { return p.source + "." + p.name }

func (p *poller) stateKey(key string) string { return p.source + "." + schemas.Token(key) }

func (p *poller) open(e schemas.Entry) (handlers.Stored, error) {
	plain, err := p.cfg.Open(handlers.StoredContext(e.Key), e.Value)
	if err != nil {
		return handlers.Stored{}, fmt.Errorf("%w: %w", errStored, err)
	}
	s, err := handlers.DecodeStored(plain)
	if err != nil {
		return handlers.Stored{}, errStored
	}
	return s, nil
}

// loadRecord returns what the bus has of an entity and the revision of that.
func (p *poller) loadRecord(ctx context.Context, key string) (uint64, handlers.Record, error) {
	e, err := p.cfg.Bus.Load(ctx, schemas.BucketState, p.stateKey(key))
	if err != nil || e.Revision == 0 {
		return 0, handlers.Record{}, own(err)
	}
	s, err := p.open(e)
	return e.Revision, s.Record, own(err)
}

// eachRecord calls fn with all that the bus has of the source.
func (p *poller) eachRecord(ctx context.Context, fn func(revision uint64, r handlers.Record) error) error {
	return p.tellRecords(func(each func(schemas.Entry) error) error {
		return p.cfg.Bus.Each(ctx, schemas.BucketState, p.source+".", each)
	}, fn)
}

// tellRecords calls fn with the records in the entries that each tells. It
// fails as fn does, with errDeleted, or with a failure of ours.
func (p *poller) tellRecords(each func(func(schemas.Entry) error) error, fn func(revision uint64, r handlers.Record) error) error {
	var failure error // of fn
	err := each(func(e schemas.Entry) error {
		if e.Revision == 0 {
			failure = errDeleted
			return failure
		}
		s, err := p.open(e)
		if err != nil {
			return err
		}
		failure = fn(e.Revision, s.Record)
		return failure
	})
	if failure != nil {
		return failure
	}
	return own(err)
}

func (p *poller) loadCursor(ctx context.Context, key string) (entry, error) {
	e, err := p.cfg.Bus.Load(ctx, schemas.BucketCursors, key)
	if err != nil || e.Revision == 0 {
		return entry{}, own(err)
	}
	s, err := p.open(e)
	return entry{revision: e.Revision, cursor: s.Cursor}, own(err)
}

// marker is what is noted of a container that was seen completely.
type marker struct {
	// Generation is that of the bucket for states: with another one, nothing
	// is known of the container's entities.
	Generation string `json:"generation"`
	Began      int64  `json:"began"` // when the first such scan did, Unix milliseconds
}

func (m marker) encode() (jsontext.Value, error) { return json.Marshal(m, json.Deterministic(true)) }

// refresh brings the book up to date with the bus: all of it when the poller
// has just begun, and afterwards what is newer there, whoever wrote it. Others
// do: follow-ups, and a receiver that had the lease before and tells late what
// it saw then.
func (p *poller) refresh(ctx context.Context) error {
	created, last, err := p.cfg.Bus.BucketState(ctx, schemas.BucketState)
	if err != nil {
		return own(err)
	}
	generation := strconv.FormatInt(created.UnixMilli(), 36)
	p.book.renew(generation)
	if p.loaded == generation && last >= p.read {
		err := p.newer(ctx, last)
		if err == nil || !errors.Is(err, errDeleted) {
			return err
		}
	}
	if err := p.load(ctx); err != nil {
		return err
	}
	p.loaded, p.settled, p.read = generation, last, last
	return nil
}

// atOnce is how many questions to the bus there are.
const atOnce = 16

// errDeleted says that an entry was deleted. Whose it was only a reading of
// everything tells.
var errDeleted = errors.New("an entry was deleted")

// newer reads what is newer than at the scan before the last one: what is read
// may come from a server that is a little behind the one that said how far the
// bucket is, so everything is read at two scans. If nothing is newer nothing is
// asked.
func (p *poller) newer(ctx context.Context, last uint64) error {
	if p.settled < last {
		err := p.tellRecords(func(fn func(schemas.Entry) error) error {
			return p.cfg.Bus.Newer(ctx, schemas.BucketState, p.source+".", p.settled, fn)
		}, p.takeRecord)
		if err != nil {
			return err
		}
	}
	p.settled, p.read = p.read, last
	return nil
}

func (p *poller) load(ctx context.Context) error {
	p.book.loading.Lock()
	defer p.book.loading.Unlock()
	p.book.reading()
	if err := p.eachRecord(ctx, p.takeRecord); err != nil {
		return err
	}
	p.book.swept()
	return nil
}

func (p *poller) takeRecord(revision uint64, r handlers.Record) error {
	p.took(r.Key, revision, r.Parts[p.spec.Role])
	return nil
}

// took takes over what the bus has of an entity.
func (p *poller) took(key string, revision uint64, part handlers.Part) {
	if a := p.appended[key]; a != nil && a.base != revision {
		delete(p.appended, key)
	}
	if revision == 0 {
		p.book.gone(key)
		return
	}
	p.book.learn(key, revision, part)
}
