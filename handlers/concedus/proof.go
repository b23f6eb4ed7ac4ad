package concedus

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// steadyGap is how many intervals there may be between two scans of a list
	// that is read steadily: an absence is believed after two scans.
	steadyGap = 2
	// believed is how many scans of a list there must be until an absence from
	// it is surely believed, also if many left at once.
	believed = 3
)

// reads is when a list was read completely. It is safe for concurrent use: a
// list's own poller writes it, and that of compliance statuses reads it.
type reads struct {
	mu    sync.Mutex
	last  [believed]time.Time // when the last scans began, the oldest first; zero: never by this receiver
	first time.Time           // since when there was no gap between scans
}

func (r *reads) note(began time.Time, interval time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last[believed-1]
	if gap := began.Sub(last); last.IsZero() || gap < 0 || gap > steadyGap*interval {
		r.first = began
	}
	copy(r.last[:], r.last[1:])
	r.last[believed-1] = began
}

// since reports whether what is still known to be on the list was seen there at
// a time or later.
func (r *reads) since(at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.last[0].IsZero() && !r.last[0].Before(at)
}

// steady reports whether it was read without a gap between two times.
func (r *reads) steady(from, to time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.first.IsZero() && r.first.Before(from) && !r.last[believed-1].Before(to)
}

// shown is what an issuer's list showed when it was read to find a proof.
type shown struct {
	at        time.Time
	contracts map[string]bool // by their pseudonyms
}

// prove notes for a contract that left the agent's list and is on an issuer's,
// or was since, that the agent approved it. One that left both at about the
// same time was on the issuer's later: both absences are believed after two
// scans. What is known of a list proves nothing that nobody has read since.
func (c *compliance) prove(ctx context.Context, k *inquiry, began time.Time) {
	for i := range k.entries {
		e := &k.entries[i]
		if e.role != RoleAgentList || !e.open() {
			continue
		}
		since := e.part.Since.Add(-2 * c.interval)
		var owners []string
		for _, other := range k.entries {
			if other.role == RoleIssuerList && c.wasListed(ctx, k, other, since, began) {
				owners = append(owners, other.own)
			}
		}
		if len(owners) > 0 {
			e.is.Outcome = &outcome{Absence: e.part.Since, Type: approvedByAgent, By: byIssuerList, Owner: slices.Min(owners)}
		}
	}
}

// wasListed reports whether a contract was on an issuer's list at some time or
// later, as far as anybody has seen.
func (c *compliance) wasListed(ctx context.Context, k *inquiry, e entry, since, began time.Time) bool {
	later := !e.part.Since.Before(since)
	l := c.lists[e.own]
	switch {
	case !e.part.Absent && later:
		return true // it was seen then
	case l == nil:
		return false // nobody reads the list any more
	case e.part.Absent:
		// It was there before the two scans that missed it, if the list was
		// read all the time.
		return later && l.reads.steady(e.part.Since.Add(-2*c.interval), e.part.Since)
	}
	return l.reads.since(since) || c.shows(ctx, l, k.pseudonym, since, began)
}

// shows reads an issuer's list that its own poller has not read since, or that
// another receiver reads. One that can't be read proves nothing, as its poller
// tells whom it concerns.
func (c *compliance) shows(ctx context.Context, l *list, pseudonym string, since, began time.Time) bool {
	was := c.shown[l.owner]
	if age := began.Sub(was.at); was.at.Before(since) || age < 0 || age >= askAgain {
		was = shown{at: began, contracts: map[string]bool{}}
		if contracts, err := l.read(ctx); err == nil {
			for _, contract := range contracts {
				was.contracts[contract.Pseudonym] = true
			}
		}
		c.shown[l.owner] = was
	}
	return was.contracts[pseudonym]
}
