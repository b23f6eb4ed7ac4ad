package poll

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

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
	var failure error // of fn
	err := p.cfg.Bus.Each(ctx, schemas.BucketState, p.source+".", func(e schemas.Entry) error {
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
// has just begun, and afterwards what it had changed.
func (p *poller) refresh(ctx context.Context) error {
	created, err := p.cfg.Bus.BucketCreated(ctx, schemas.BucketState)
	if err != nil {
		return own(err)
	}
	generation := strconv.FormatInt(created.UnixMilli(), 36)
	p.book.renew(generation)
	if p.loaded != generation || len(p.appended) > manyAppended || p.spec.Interval >= seldom {
		if err := p.load(ctx); err != nil {
			return err
		}
		p.loaded = generation
		return nil
	}
	return p.reread(ctx)
}

const (
	// manyAppended is above how many changes it is quicker to read everything
	// again than one after the other.
	manyAppended = 1000
	// seldom is how rarely a poller scans that reads everything again each time:
	// between its scans follow-ups change the same entries.
	seldom = time.Hour
	atOnce = 16 // questions to the bus
)

func (p *poller) load(ctx context.Context) error {
	p.book.loading.Lock()
	defer p.book.loading.Unlock()
	p.book.reading()
	err := p.eachRecord(ctx, func(revision uint64, r handlers.Record) error {
		p.took(r.Key, revision, r.Parts[p.spec.Role])
		return nil
	})
	if err != nil {
		return err
	}
	p.book.swept()
	return nil
}

// reread reads what this poller had changed since the last scan.
func (p *poller) reread(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for key, a := range p.appended {
		if a.read {
			continue
		}
		g.Go(func() error {
			revision, r, err := p.loadRecord(ctx, key)
			if err != nil {
				return err
			}
			a.now, a.part = revision, r.Parts[p.spec.Role]
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for key, a := range p.appended {
		if !a.read {
			a.read = true
			p.took(key, a.now, a.part)
			a.part = handlers.Part{}
		}
	}
	return nil
}

// took takes over what the bus has of an entity.
func (p *poller) took(key string, revision uint64, part handlers.Part) {
	if a := p.appended[key]; a != nil {
		if a.base != revision {
			delete(p.appended, key)
		}
		a.read = true
	}
	if revision == 0 {
		p.book.gone(key)
		return
	}
	p.book.learn(key, revision, part)
}
