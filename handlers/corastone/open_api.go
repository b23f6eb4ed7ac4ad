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
	defaultGiveUp   = 72 * time.Hour
	defaultEvery    = 24 * time.Hour
	defaultWindow   = 72 * time.Hour
	// visibleInterval is how often all that we may see is read; follow-ups read
	// what changed at once.
	visibleInterval = 6 * time.Hour
	visibleTimeout  = time.Hour
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
	scopes := scopesOf(readSequencer, readTransactions, readAssets, readSecurities, readExclusivity)
	if s.FollowUp.enabled() {
		scopes = scopesOf(allEndpoints...)
	}
	if q.client, err = s.API.newClient(means, scopes); err != nil {
		return nil, err
	}
	if s.API.OrgID == "" {
		return nil, errors.New("api.org_id is missing: assignments are told by organisation")
	}
	v := &visible{client: q.client, orgID: s.API.OrgID, follows: s.FollowUp.enabled()}
	source.Expires = q.client.session.Expires
	if len(s.API.Scopes) > 0 {
		scopes = s.API.Scopes
	}
	source.Probe = q.client.probe(means, s.API.ClientID, s.API.ClientSecret.Value(), scopes)
	source.History = q.history
	source.Reconcile = s.Reconcile.settings(q.from)
	source.Pollers = []handlers.Poller{
		{Name: "sequencer", Role: RoleEntry, Interval: q.interval, Scan: q.scan},
		{Name: RoleAssets, Role: RoleAssets, Interval: visibleInterval, Timeout: visibleTimeout, Scan: v.scanAssets},
		{Name: RoleSecurities, Role: RoleSecurities, Interval: visibleInterval, Timeout: visibleTimeout, Scan: v.scanSecurities},
		{Name: RoleExclusivity, Role: RoleExclusivity, Interval: visibleInterval, Timeout: visibleTimeout, Scan: v.scanExclusivity},
	}
	if s.FollowUp.enabled() {
		source.FollowUp = &handlers.FollowUp{Types: followed, GiveUpAfter: s.FollowUp.giveUp(), Answer: v.answer}
	}
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

// enabled reports whether events are followed up: unless it says no.
func (f *FollowUp) enabled() bool { return f == nil || f.Enabled == nil || *f.Enabled }

func (f *FollowUp) giveUp() time.Duration {
	if f == nil {
		return defaultGiveUp
	}
	return cmp.Or(f.GiveUpAfter.Std(), defaultGiveUp)
}

func (r *Reconcile) settings(since time.Time) handlers.Reconcile {
	if r == nil {
		r = &Reconcile{}
	}
	return handlers.Reconcile{
		Every: cmp.Or(r.Every.Std(), defaultEvery), Window: cmp.Or(r.Window.Std(), defaultWindow), Since: since,
	}
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
