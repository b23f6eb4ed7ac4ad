package poll

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seed75441868/postern/handlers"
)

// ErrUnknown says that there is no poller of a name.
var ErrUnknown = errors.New("there is no such poller")

// Pollers are all pollers of all sources. Make them with [New]. Their methods
// are safe for concurrent use.
type Pollers struct {
	cfg Config

	mu      sync.Mutex
	pollers map[string]*poller // by their names: source, slash, poller
	books   map[bookName]*book
}

type bookName struct{ source, role string }

// New returns pollers of no source.
func New(cfg Config) *Pollers {
	return &Pollers{cfg: cfg, pollers: map[string]*poller{}, books: map[bookName]*book{}}
}

// Update makes the pollers those of sources.
func (ps *Pollers) Update(sources []handlers.Source) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, src := range sources {
		for _, spec := range src.Pollers {
			name := src.Name + "/" + spec.Name
			if ps.pollers[name] != nil {
				continue
			}
			of := bookName{src.Name, spec.Role}
			if ps.books[of] == nil {
				ps.books[of] = newBook()
			}
			ps.pollers[name] = &poller{
				cfg: &ps.cfg, source: src.Name, platform: src.Platform, spec: spec, book: ps.books[of],
				appended: map[string]*attempt{},
			}
		}
	}
}

// Once makes one scan of a poller when everything in the journal was told. It
// asks neither for its lease nor whether it is paused, and doesn't run while
// the poller does: it is for tests of platforms.
func (ps *Pollers) Once(ctx context.Context, name string) error {
	ps.mu.Lock()
	p := ps.pollers[name]
	ps.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	if err := ps.cfg.Relay.Drain(ctx); err != nil {
		return err
	}
	_, err := p.scan(ctx)
	return err
}
