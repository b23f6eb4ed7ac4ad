package corastone

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// What is polled, and how often, if nothing else is said.
const (
	defaultInterval = time.Minute
	defaultOverlap  = 10 * time.Minute
)

// openAPI adds to a source what it asks the node's API.
func (s *Settings) openAPI(source *handlers.Source, means handlers.Means) (warnings []string, err error) {
	if s.API == nil {
		for _, section := range []struct {
			name string
			set  bool
		}{{"poll", s.Poll != nil}, {"follow_up", s.FollowUp != nil}, {"reconcile", s.Reconcile != nil}} {
			if section.set {
				warnings = append(warnings, section.name+" has no effect without api: nothing is asked")
			}
		}
		return warnings, nil
	}
	var poll Poll
	if s.Poll != nil {
		poll = *s.Poll
	}
	q := &sequencer{
		interval: cmp.Or(poll.Interval.Std(), defaultInterval),
		overlap:  cmp.Or(poll.Overlap.Std(), defaultOverlap),
	}
	if q.from, err = poll.from(); err != nil {
		return nil, err
	}
	if q.client, err = s.API.newClient(means, scopesOf(readSequencer, readTransactions)); err != nil {
		return nil, err
	}
	source.Expires = q.client.session.Expires
	source.History = q.history
	source.Pollers = append(source.Pollers, handlers.Poller{
		Name: "sequencer", Role: RoleEntry, Interval: q.interval, Scan: q.scan,
	})
	return nil, nil
}

// from returns where the first read begins; zero: when it is made.
func (p Poll) from() (time.Time, error) {
	if p.From == "" || p.From == "now" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, p.From); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("poll.from must be now, or a time like 2026-03-01T00:00:00Z")
}

// scopesOf returns what a token needs for reads.
func scopesOf(reads ...endpoint) []string {
	var scopes []string
	for _, e := range reads {
		if e.scope != "" && !slices.Contains(scopes, e.scope) {
			scopes = append(scopes, e.scope)
		}
	}
	return scopes
}
