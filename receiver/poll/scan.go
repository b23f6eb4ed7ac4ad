package poll

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// Errors of pollers that say what can't be. They hold no value.
var (
	errKey   = errors.New("an entity without a key was seen")
	errState = errors.New("the state of an entity is not JSON")
	errAside = errors.New("a part of another role was seen in a list")
)

// scan is one scan of a poller. It implements [handlers.Scan].
type scan struct {
	ctx      context.Context // the scan's, for Tell
	p        *poller
	number   uint32
	began    time.Time
	previous time.Time
	cause    string // id of the event that is followed up, "" if none is

	sightings int
	otherwise map[string]*sighting
	order     []*sighting // those, as they were seen first
	aside     []*sighting // parts of other roles, which no book of ours has
	placed    []placed    // changes of those that were appended
	evidence  map[string]jsontext.Value
	complete  []string
	completed map[string]bool // the same

	told     int
	cursor   *entry
	advanced jsontext.Value
}

// sighting is an entity that is not as it is known.
type sighting struct {
	key       string
	container string
	role      string
	view      string
	state     jsontext.Value
	sum       digest
	alone     bool // it counts whether its container was completed or not
	dropped   bool // it is as it is known after all
}

// placed is a change that was appended to the journal.
type placed struct {
	key, role string
	base      uint64
	state     jsontext.Value
}

func newScan(ctx context.Context, p *poller, began time.Time) *scan {
	return &scan{
		ctx: ctx, p: p, number: p.book.begin(), began: began, previous: p.previous,
		otherwise: map[string]*sighting{}, completed: map[string]bool{},
	}
}

func (s *scan) Began() time.Time    { return s.began }
func (s *scan) Previous() time.Time { return s.previous }

func (s *scan) Saw(seen handlers.Sighting) error {
	if seen.Key == "" {
		return errKey
	}
	s.sightings++
	if seen.Role != "" && seen.Role != s.p.spec.Role {
		return s.sawAside(seen)
	}
	sum := digestOf(seen.State)
	home, known, same := s.p.book.saw(s.number, s.began, seen, sum)
	o := s.otherwise[seen.Key]
	if same {
		// The last sighting holds: a list that moves while it is read may show
		// one on two pages.
		if o != nil {
			o.dropped = true
			delete(s.otherwise, seen.Key)
		}
		return nil
	}
	if o == nil {
		o = &sighting{key: seen.Key, container: seen.Container, role: s.p.spec.Role}
		s.otherwise[seen.Key] = o
		s.order = append(s.order, o)
	}
	if known && seen.Container == home {
		o.container = home
	}
	o.state, o.sum, o.view = bytes.Clone(seen.State), sum, seen.View
	o.alone = o.alone || seen.Alone
	return nil
}

// sawAside notes what another role's part of an entity is like. It is compared
// with what the bus has, and the last sighting holds.
func (s *scan) sawAside(seen handlers.Sighting) error {
	if !seen.Alone && seen.Container != "" {
		return errAside
	}
	o := &sighting{
		key: seen.Key, container: seen.Container, role: seen.Role, view: seen.View,
		state: bytes.Clone(seen.State), alone: true,
	}
	at := slices.IndexFunc(s.aside, func(a *sighting) bool { return a.key == o.key && a.role == o.role })
	if at < 0 {
		s.aside = append(s.aside, o)
	} else {
		s.aside[at] = o
	}
	return nil
}

func (s *scan) Complete(container string) error {
	if container != "" && !s.completed[container] {
		s.complete, s.completed[container] = append(s.complete, container), true
	}
	return nil
}

func (s *scan) Missing(container string, fn func(key string) error) error {
	for _, key := range s.p.book.missing(container, s.number, s.otherwise) {
		if err := fn(key); err != nil {
			return err
		}
	}
	return nil
}

func (s *scan) Missed(key string, evidence jsontext.Value) error {
	if s.evidence == nil {
		s.evidence = map[string]jsontext.Value{}
	}
	v, err := asStored(evidence)
	if err != nil {
		return err
	}
	s.evidence[key] = v
	return nil
}

func (s *scan) Records(ctx context.Context, role string, fn func(key string, r handlers.Record) error) error {
	return s.p.eachRecord(ctx, func(_ uint64, r handlers.Record) error {
		if r.Parts[role].State == nil {
			return nil
		}
		return fn(r.Key, r)
	})
}

func (s *scan) Record(ctx context.Context, key string) (handlers.Record, error) {
	_, r, err := s.p.loadRecord(ctx, key)
	return r, err
}

func (s *scan) Tell(f handlers.Fact) error {
	d := s.p.delivery(f.Payload)
	d.Role, d.Sent, d.View = f.Role, f.Sent, cmp.Or(f.View, d.View)
	if _, err := s.p.cfg.Journal.Append(s.ctx, d, f.TransportID, f.Content); err != nil {
		return own(fmt.Errorf("journal: %w", err))
	}
	s.told++
	return nil
}

func (s *scan) Cursor(ctx context.Context) (jsontext.Value, error) {
	if s.cursor == nil {
		e, err := s.p.loadCursor(ctx, s.p.cursorKey())
		if err != nil {
			return nil, err
		}
		s.cursor = &e
	}
	return s.cursor.cursor, nil
}

func (s *scan) Advance(cursor jsontext.Value) error {
	v, err := asStored(cursor)
	s.advanced = v
	return err
}

// asStored returns a value as it comes back from where it is stored.
func asStored(v jsontext.Value) (jsontext.Value, error) {
	if len(v) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, errState // the library's errors quote values
	}
	return b, nil
}
