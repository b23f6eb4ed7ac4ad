package poll

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// want is a change that a scan found, before what the bus has was looked at.
type want struct {
	key       string
	container string
	role      string
	view      string         // of the delivery, "": the poller's
	alone     bool           // it keeps the container that it is known in
	state     jsontext.Value // nil: it is absent
	sum       digest         // of state
	revision  uint64         // of the entry that the absence is about
	evidence  jsontext.Value
	bootstrap bool
	from      time.Time // when it was seen last as it was before
}

// attempt is a change that was appended to the journal.
type attempt struct {
	base    uint64
	content [32]byte
	at      time.Time
}

// again is how long a change that was appended and not told, because it went
// into quarantine, is not appended once more.
const again = time.Hour

// result is what came of a scan.
type result struct {
	seen, changed, absent, told int
	newer                       int // what others have seen since is not told of
	suspect                     []Suspicion
}

// settle appends what a scan found different, and after that that containers
// were seen. failed says that the scan did not end well.
func (s *scan) settle(ctx context.Context, failed bool) (result, error) {
	r := result{seen: s.sightings, told: s.told}
	if err := s.marked(ctx); err != nil {
		return r, err
	}
	wants := s.wants(&r)
	for len(wants) > 0 {
		n := min(len(wants), 256)
		if err := s.append(ctx, wants[:n], &r); err != nil {
			return r, err
		}
		wants = wants[n:]
	}
	// Only now: what couldn't be appended is found again, and is no newer then.
	s.p.book.scanned(s.complete, s.began)
	return r, s.appendCursors(ctx, failed)
}

// marked looks which of the complete containers were seen completely before.
func (s *scan) marked(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, name := range s.p.book.unmarked(s.complete) {
		g.Go(func() error {
			e, err := s.p.loadCursor(ctx, s.p.markerKey(name))
			if err != nil {
				return err
			}
			var m marker
			if json.Unmarshal(e.cursor, &m) == nil && m.Generation == s.p.loaded {
				s.p.book.mark(name, time.UnixMilli(m.Began).UTC())
			}
			return nil
		})
	}
	return g.Wait()
}

// wants returns what is different: first of what has no container, then
// container by container, the absent ones last, and in the end what was asked
// for alone.
func (s *scan) wants(r *result) []want {
	b := s.p.book
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string][]want{}
	fresh := map[string]int{} // others than those that are known there
	for _, o := range s.order {
		if o.dropped {
			continue
		}
		w := o.want()
		e := b.entities[o.key]
		if e != nil {
			// It is not missed, even if what it looks like doesn't count.
			e.missed, e.doubted = 0, false
			if e.seen != 0 {
				w.from = time.Unix(0, e.seen).UTC()
			}
		}
		if e == nil || e.absent || e.home.name != o.container {
			fresh[o.container]++
		}
		found[o.container] = append(found[o.container], w)
	}
	wants := found[""]
	for _, name := range s.complete {
		c := b.container(name)
		for _, w := range found[name] {
			if b.entities[w.key] == nil {
				w.from = c.last
			}
			w.bootstrap = !c.marked
			wants = append(wants, w)
		}
		missing, present := c.missing(s.number, s.otherwise)
		absent, suspicion := c.judge(missing, present, present-len(missing)+fresh[name])
		if suspicion != nil {
			r.suspect = append(r.suspect, *suspicion)
		}
		slices.SortFunc(absent, func(a, b *entity) int { return strings.Compare(a.key, b.key) })
		for _, e := range absent {
			w := want{key: e.key, container: name, role: s.p.spec.Role, revision: e.revision, evidence: s.evidence[e.key]}
			if e.seen != 0 {
				w.from = time.Unix(0, e.seen).UTC()
			}
			wants = append(wants, w)
		}
		c.by = s.p.name
	}
	for _, o := range s.order {
		if o.alone && !o.dropped && o.container != "" && !s.completed[o.container] {
			wants = append(wants, o.want())
		}
	}
	for _, o := range s.aside {
		wants = append(wants, o.want())
	}
	return wants
}

func (o *sighting) want() want {
	return want{key: o.key, container: o.container, role: o.role, view: o.view, alone: o.alone, state: o.state, sum: o.sum}
}

// append looks what the bus has of the entities, and appends what is different
// from that.
func (s *scan) append(ctx context.Context, wants []want, r *result) error {
	type now struct {
		revision uint64
		record   handlers.Record
	}
	found := make([]now, len(wants))
	g, loading := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, w := range wants {
		g.Go(func() (err error) {
			found[i].revision, found[i].record, err = s.p.loadRecord(loading, w.key)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var deliveries []handlers.Delivery
	var contents [][32]byte
	attempts := map[string]*attempt{}
	for i, w := range wants {
		c, different, err := s.change(w, found[i].revision, found[i].record)
		switch {
		case errors.Is(err, errNewer):
			r.newer++
			continue
		case err != nil:
			return err
		case !different:
			continue
		}
		own := w.role == s.p.spec.Role
		a := &attempt{base: c.Base, content: c.Content(), at: s.p.cfg.now()}
		if old := s.p.appended[w.key]; own && old != nil && old.base == a.base && old.content == a.content && a.at.Sub(old.at) < again {
			continue
		}
		payload, err := c.Encode()
		if err != nil {
			return err
		}
		d := s.p.change(payload)
		d.Role, d.View = w.role, cmp.Or(w.view, d.View)
		deliveries = append(deliveries, d)
		contents = append(contents, a.content)
		if own {
			attempts[w.key] = a
		} else {
			s.placed = append(s.placed, placed{w.key, w.role, c.Base, c.After().State})
		}
		if w.state == nil {
			r.absent++
		} else {
			r.changed++
		}
	}
	if err := s.p.cfg.Journal.AppendAll(ctx, deliveries, contents); err != nil {
		return own(fmt.Errorf("journal: %w", err))
	}
	maps.Copy(s.p.appended, attempts)
	return nil
}

// errNewer says that somebody has seen an entity since a scan began, and
// otherwise: which of the two is how it is now isn't known.
var errNewer = errors.New("it was seen by others meanwhile")

// change makes of what is wanted the change of what the bus has, if that
// isn't so already.
func (s *scan) change(w want, base uint64, previous handlers.Record) (handlers.Change, bool, error) {
	role, own := w.role, w.role == s.p.spec.Role
	was := previous.Parts[role]
	is := handlers.Part{Container: w.container, Since: s.began}
	if w.state == nil {
		if base != w.revision || !was.Present() {
			// Somebody wrote since: whether it is still missed is for the next scan.
			s.p.took(w.key, base, was)
			return handlers.Change{}, false, nil
		}
		is.State, is.Absent, is.Evidence = was.State, true, w.evidence
	} else {
		state, err := asStored(w.state)
		if err != nil || state == nil {
			return handlers.Change{}, false, errState
		}
		is.State = state
		if w.alone && was.State != nil {
			is.Container = was.Container
		}
		if was.Present() && was.Container == is.Container && bytes.Equal(was.State, state) {
			if own {
				s.p.took(w.key, base, was)
				s.p.book.looks(w.key, s.number, s.began, w.sum)
			}
			return handlers.Change{}, false, nil
		}
		// A clock that went back has seen nothing.
		if was.Since.After(s.began) && !was.Since.After(s.p.cfg.now()) {
			return handlers.Change{}, false, errNewer
		}
	}
	current := handlers.Record{Key: w.key, Revision: previous.Revision + 1, Parts: maps.Clone(previous.Parts)}
	if current.Parts == nil {
		current.Parts = map[string]handlers.Part{}
	}
	current.Parts[role] = is
	sum, err := s.p.digest(current)
	if err != nil {
		return handlers.Change{}, false, err
	}
	from := w.from
	if was.Since.After(from) {
		from = was.Since
	}
	return handlers.Change{
		Entry: s.p.stateKey(w.key), Base: base, Key: w.key, Role: role,
		Previous: previous, Current: current, From: from, To: s.began,
		Bootstrap: w.bootstrap, Generation: s.p.loaded, Digest: sum, Cause: s.cause,
	}, true, nil
}

// digest returns a pseudonym of a record, as two receivers would make it that
// saw the same: without when they did, and what they were answered when they
// asked for what was absent.
func (p *poller) digest(r handlers.Record) (string, error) {
	parts := map[string]handlers.Part{}
	for role, part := range r.Parts {
		part.Since, part.Evidence = time.Time{}, nil
		parts[role] = part
	}
	b, err := json.Marshal(parts, json.Deterministic(true))
	if err != nil {
		return "", errState
	}
	return p.cfg.Pseudonym(string(b)), nil
}

// appendCursors appends that containers were seen completely for the first
// time and, unless the scan failed, how far the poller is.
func (s *scan) appendCursors(ctx context.Context, failed bool) error {
	var deliveries []handlers.Delivery
	var contents [][32]byte
	add := func(key string, base uint64, cursor jsontext.Value) error {
		c := handlers.Change{Entry: key, Base: base, Cursor: cursor}
		payload, err := c.Encode()
		if err != nil {
			return err
		}
		deliveries = append(deliveries, s.p.change(payload))
		contents = append(contents, c.Content())
		return nil
	}
	for _, name := range s.p.book.unmarked(s.complete) {
		key := s.p.markerKey(name)
		e, err := s.p.loadCursor(ctx, key)
		if err != nil {
			return err
		}
		m, err := marker{Generation: s.p.loaded, Began: s.began.UnixMilli()}.encode()
		if err != nil {
			return err
		}
		if err := add(key, e.revision, m); err != nil {
			return err
		}
	}
	if s.advanced != nil && !failed {
		if _, err := s.Cursor(ctx); err != nil {
			return err
		}
		if !bytes.Equal(s.cursor.cursor, s.advanced) {
			if err := add(s.p.cursorKey(), s.cursor.revision, s.advanced); err != nil {
				return err
			}
		}
	}
	if err := s.p.cfg.Journal.AppendAll(ctx, deliveries, contents); err != nil {
		return own(fmt.Errorf("journal: %w", err))
	}
	return nil
}

// delivery returns one of this poller.
func (p *poller) delivery(payload []byte) handlers.Delivery {
	return handlers.Delivery{
		Source: p.source, Platform: p.platform, Channel: schemas.ChannelPoll,
		Role: p.spec.Role, Owner: p.spec.Owner, View: p.spec.View,
		Received: p.cfg.now(), Payload: payload,
	}
}

// change returns a delivery of a change.
func (p *poller) change(payload []byte) handlers.Delivery {
	d := p.delivery(payload)
	d.Changes = true
	return d
}
