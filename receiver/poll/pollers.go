package poll

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers"
)

// Errors of what operators ask for.
var (
	ErrUnknown = errors.New("there is no such poller")
	// ErrElsewhere says that another receiver has the lease: it polls.
	ErrElsewhere = errors.New("another receiver polls it, or none does yet: ask that one, or wait")
	ErrResting   = errors.New("the platform wants not to be asked")
	// ErrUnsuspected says that there is nothing to accept.
	ErrUnsuspected = errors.New("its last scan was not suspect")
)

// Status says how a poller is doing.
type Status struct {
	Name     string // source, slash, poller
	Platform string
	Interval time.Duration
	Held     bool // this receiver is the one that polls; all below is only known there
	Running  bool // it scans now
	Paused   bool // by an operator, as far as this receiver knows

	Last        time.Time // when the last scan began, zero if there was none
	LastSuccess time.Time
	Next        time.Time // when the next one is due
	Failures    int       // in a row
	Since       time.Time // when the first of them began
	Error       string    // why the last one failed, or what polling waits for
	Suspect     []Suspicion
}

// Pollers are all pollers of all sources. Make them with [New]. Their methods
// are safe for concurrent use.
type Pollers struct {
	cfg  Config
	news *news

	mu      sync.Mutex
	ctx     context.Context // of Run, nil before
	updated bool            // somebody said what to poll
	running sync.WaitGroup
	pollers map[string]*running // by their names: source, slash, poller
	books   map[bookName]*book
	shared  map[string]*shared // by source
}

// running is a poller, and how to stop it.
type running struct {
	*poller
	stop context.CancelFunc
}

type bookName struct{ source, role string }

// New returns pollers of no source.
func New(cfg Config) *Pollers {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Log == nil {
		cfg.Log = discard()
	}
	ps := &Pollers{cfg: cfg, pollers: map[string]*running{}, books: map[bookName]*book{}, shared: map[string]*shared{}}
	ps.news = newNews(&ps.cfg)
	return ps
}

// Run polls sources, or those that Update named before, and those that it names
// later, until ctx ends, and returns when all scans have. It is called once.
func (ps *Pollers) Run(ctx context.Context, sources []handlers.Source) error {
	ps.mu.Lock()
	ps.ctx = ctx
	for _, p := range ps.pollers {
		ps.start(p)
	}
	if !ps.updated {
		ps.update(sources)
	}
	ps.mu.Unlock()
	ps.news.run(ctx)
	<-ctx.Done()
	// Nobody starts one any more: Update looks whether ctx has ended.
	ps.mu.Lock()
	ps.mu.Unlock() //nolint:staticcheck // it waits for an Update that is under way
	ps.running.Wait()
	return nil
}

// start starts a poller. mu is held.
func (ps *Pollers) start(p *running) {
	if ps.ctx == nil || ps.ctx.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(ps.ctx)
	p.stop = stop
	ps.running.Add(1)
	go func() {
		defer ps.running.Done()
		p.run(ctx)
		stop()
		ps.mu.Lock()
		defer ps.mu.Unlock()
		if ps.pollers[p.source+"/"+p.name] == nil {
			p.metrics.forget(p.source, p.name)
		}
	}()
}

// Update makes the pollers those of sources. Those that were there before go
// on as they are, with what they are now asked with. Those that are not there
// any more stop, which is no reason to believe that what they saw is absent.
// That a platform wanted not to be asked holds no more if its pollers are
// others: it may be another platform, or another login.
func (ps *Pollers) Update(sources []handlers.Source) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.update(sources)
}

// update is Update. mu is held.
func (ps *Pollers) update(sources []handlers.Source) {
	ps.updated = true
	wanted := map[string]bool{}
	polling := map[string]bool{}
	books := map[bookName]*book{}
	for _, src := range sources {
		if len(src.Pollers) > 0 {
			if ps.shared[src.Name] == nil {
				ps.shared[src.Name] = &shared{}
			}
			ps.shared[src.Name].open(&src.Pollers[0])
		}
		for _, spec := range src.Pollers {
			name := src.Name + "/" + spec.Name
			wanted[name], polling[src.Name] = true, true
			of := bookName{src.Name, spec.Role}
			if books[of] = ps.books[of]; books[of] == nil {
				books[of] = newBook()
				ps.books[of] = books[of]
			}
			ps.put(name, src, spec, books[of])
		}
		if polling[src.Name] {
			ps.cfg.Metrics.expiry.set(src.Name, src.Expires)
		}
	}
	for name, p := range ps.pollers {
		if !wanted[name] {
			delete(ps.pollers, name)
			p.stop()
			if ps.ctx == nil {
				p.metrics.forget(p.source, p.name)
			}
		}
	}
	for source := range ps.shared {
		if !polling[source] {
			delete(ps.shared, source)
			ps.cfg.Metrics.forgetSource(source)
		}
	}
	ps.books = books
}

// put changes a poller, or makes it. mu is held.
func (ps *Pollers) put(name string, src handlers.Source, spec handlers.Poller, b *book) {
	ps.cfg.Metrics.interval.WithLabelValues(src.Name, spec.Name).Set(spec.Interval.Seconds())
	if old := ps.pollers[name]; old != nil {
		if old.role == spec.Role && old.platform == src.Platform {
			old.mu.Lock()
			old.next, old.status.Interval = &spec, spec.Interval
			old.mu.Unlock()
			old.nudge()
			return
		}
		old.stop()
	}
	p := &running{stop: func() {}, poller: &poller{
		cfg: &ps.cfg, metrics: ps.cfg.Metrics, news: ps.news,
		source: src.Name, name: spec.Name, role: spec.Role, platform: src.Platform,
		book: b, shared: ps.shared[src.Name], spec: spec,
		asks: make(chan chan error), changed: make(chan struct{}, 1),
		appended: map[string]*attempt{}, suspects: map[string]bool{},
		status: Status{Name: name, Platform: src.Platform, Interval: spec.Interval},
	}}
	ps.pollers[name] = p
	ps.cfg.Metrics.begin(src.Name, spec.Name)
	ps.start(p)
}

// List returns how all pollers are doing, sorted by name.
func (ps *Pollers) List() []Status {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := make([]Status, 0, len(ps.pollers))
	for _, p := range ps.pollers {
		p.mu.Lock()
		s := p.status
		p.mu.Unlock()
		s.Suspect = slices.Clone(s.Suspect)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (ps *Pollers) find(name string) (*poller, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.pollers[name]
	if p == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return p.poller, nil
}

// RunNow makes a scan at once, also of a poller that is paused, and returns
// when it has ended, with its error. A scan that is under way ends before. It
// fails with [ErrUnknown], [ErrElsewhere] or [ErrResting].
func (ps *Pollers) RunNow(ctx context.Context, name string) error {
	p, err := ps.find(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	lost := p.lost
	p.mu.Unlock()
	if lost == nil {
		return ErrElsewhere
	}
	answer := make(chan error, 1)
	select {
	case p.asks <- answer:
	case <-lost:
		return ErrElsewhere
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pauseFlag is what the bus has of a poller that is or was paused.
type pauseFlag struct {
	Paused bool `json:"paused"`
}

// Pause has all receivers make no more scans of a poller until Resume. One
// that is under way ends well. It is safe to repeat. It fails with
// [ErrUnknown]; other errors may pass.
func (ps *Pollers) Pause(ctx context.Context, name string) error { return ps.pause(ctx, name, true) }

// Resume undoes what Pause did: scans go on within seconds, here at once.
func (ps *Pollers) Resume(ctx context.Context, name string) error {
	return ps.pause(ctx, name, false)
}

func (ps *Pollers) pause(ctx context.Context, name string, paused bool) error {
	p, err := ps.find(name)
	if err != nil {
		return err
	}
	v, err := json.Marshal(pauseFlag{paused})
	if err != nil {
		return err
	}
	if err := p.write(ctx, p.pausedKey(), v); err != nil {
		return err
	}
	p.paused(paused)
	if !paused {
		p.mu.Lock()
		p.resumed = true
		p.mu.Unlock()
		p.nudge()
	}
	return nil
}

// Accept believes a poller's suspect scans: what they missed is absent if the
// next scan misses it too, which is made soon. It returns how many lists that
// is about, and fails with [ErrUnknown], [ErrElsewhere] or [ErrUnsuspected].
func (ps *Pollers) Accept(name string) (int, error) {
	p, err := ps.find(name)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	held, suspect := p.status.Held, p.status.Suspect
	p.mu.Unlock()
	if !held {
		return 0, ErrElsewhere
	}
	n := p.book.accept(func(container string) bool {
		return slices.ContainsFunc(suspect, func(s Suspicion) bool { return s.Container == container })
	})
	if n == 0 {
		return 0, ErrUnsuspected
	}
	p.mu.Lock()
	p.resumed = true
	p.mu.Unlock()
	p.nudge()
	return n, nil
}

// Once makes one scan of a poller when everything in the journal was told. It
// asks neither for its lease nor whether it is paused, and isn't called while
// Run runs: it is for tests of platforms.
func (ps *Pollers) Once(ctx context.Context, name string) error {
	p, err := ps.find(name)
	if err != nil {
		return err
	}
	p.adopt()
	if err := ps.cfg.Relay.Drain(ctx); err != nil {
		return err
	}
	_, err = p.scan(ctx)
	return err
}
