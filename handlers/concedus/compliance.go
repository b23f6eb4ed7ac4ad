package concedus

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/seed75441868/postern/handlers"
)

const (
	endpointStatus = "compliance-status"
	// askAgain is how long a listed contract is not asked for again.
	askAgain = 15 * time.Minute
	// A scan asks as much as fits into the time until the next one, within
	// these bounds; the rest is for the next one.
	fewestAsks, mostAsks = 10, 120
	// asksFailed is after how many questions in a row without an answer a scan
	// gives up.
	asksFailed = 3
	// askFor is how much time a scan must have left to ask once more.
	askFor = 15 * time.Second
)

// compliance asks for the compliance status of contracts, one by one because
// there is no list of them, and finds out what became of those that left. It
// remembers answers: what it told of one is told again until the bus has it.
type compliance struct {
	session    *handlers.Session // the agent's, nil if there is none
	base       string
	interval   time.Duration
	resolveFor time.Duration
	pace       *rate.Limiter
	answers    map[string]answer // by the pseudonyms of contracts
	lists      map[string]*list  // the issuers', by their owners
	shown      map[string]shown  // what was read of them here, by their owners
}

// answer is what is remembered of asking for a contract.
type answer struct {
	status  status
	at      time.Time // when that was answered, zero: never
	tried   time.Time // when it was asked for last
	refused bool      // the last time it was refused, this contract alone
}

func newCompliance(session *handlers.Session, base string, interval, resolveFor time.Duration, lists map[string]*list) *compliance {
	return &compliance{
		session: session, base: base, interval: interval, resolveFor: resolveFor,
		pace: rate.NewLimiter(rate.Every(time.Second), 1), answers: map[string]answer{},
		lists: lists, shown: map[string]shown{},
	}
}

// scan asks for what is due and tells what it knows.
func (c *compliance) scan(ctx context.Context, s handlers.Scan) error {
	cases, err := c.cases(ctx, s)
	if err != nil {
		return err
	}
	failure := c.ask(ctx, cases, s.Began())
	for _, k := range cases {
		if err := c.tell(s, k); err != nil {
			return err
		}
	}
	return failure
}

// inquiry is a contract that may be asked for, with its entries on lists.
type inquiry struct {
	pseudonym string
	key       string // Concedus' own
	entries   []entry
	tried     bool // it was asked for in this scan, or can't be
	answered  bool // in this scan
}

// entry is an entity: a contract on a list, or that was on it.
type entry struct {
	key  string
	role string
	own  string // the owner of the list, "" for the agent's
	part handlers.Part
	was  standing
	// is is what there is to say of it now.
	is standing
}

// open reports whether it isn't known what became of it.
func (e entry) open() bool {
	return e.part.Absent && (e.is.Outcome == nil || !e.is.Outcome.Absence.Equal(e.part.Since))
}

// cases returns all contracts that are on a list or of which it isn't known
// what became of them, with what their issuers' lists prove.
func (c *compliance) cases(ctx context.Context, s handlers.Scan) ([]*inquiry, error) {
	all := map[string]*inquiry{}
	for _, role := range []string{RoleAgentList, RoleIssuerList} {
		err := s.Records(ctx, role, func(key string, r handlers.Record) error {
			part := r.Parts[role]
			known, ok := decodeContract(part.State)
			was, okToo := decodeStanding(r.Parts[RoleCompliance].State)
			if !ok || !okToo {
				return nil // nothing can be told of it, and that holds up nobody
			}
			k := all[known.Pseudonym]
			if k == nil {
				k = &inquiry{pseudonym: known.Pseudonym, key: known.Key}
				all[known.Pseudonym] = k
			}
			part.State, part.Evidence = nil, nil // there may be very many
			k.entries = append(k.entries, entry{key: key, role: role, own: known.Owner, part: part, was: was, is: was})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	var cases []*inquiry
	for _, k := range all {
		c.prove(ctx, k, s.Began())
		if k.asks() || k.proven() {
			cases = append(cases, k)
		}
	}
	for pseudonym := range c.answers {
		if k := all[pseudonym]; k == nil || !k.asks() {
			delete(c.answers, pseudonym)
		}
	}
	slices.SortFunc(cases, func(a, b *inquiry) int { return strings.Compare(a.pseudonym, b.pseudonym) })
	return cases, nil
}

// asks reports whether its compliance status matters: it is on a list, or it
// isn't known what became of it.
func (k *inquiry) asks() bool {
	return slices.ContainsFunc(k.entries, func(e entry) bool { return !e.part.Absent || e.open() })
}

// proven reports whether a list proved what became of it.
func (k *inquiry) proven() bool {
	return slices.ContainsFunc(k.entries, func(e entry) bool { return e.is.Outcome != e.was.Outcome })
}

// ask asks for what is due, that which waits the longest first. Its error is
// the first one; what was answered all the same is noted.
func (c *compliance) ask(ctx context.Context, cases []*inquiry, began time.Time) error {
	start := time.Now()
	due := c.due(cases, began)
	if c.session == nil {
		for _, k := range cases {
			k.tried = true
		}
		return nil
	}
	var failure error
	failed := 0
	for _, k := range due[:min(len(due), c.asks())] {
		if end, ok := ctx.Deadline(); ok && time.Until(end) < askFor {
			break
		}
		if err := c.pace.Wait(ctx); err != nil {
			return errors.Join(failure, ctx.Err())
		}
		st, err := c.read(ctx, k.key)
		now := began.Add(time.Since(start))
		k.tried, k.answered = true, err == nil
		if err == nil {
			failed = 0
			c.answers[k.pseudonym] = answer{status: st, at: now, tried: now}
			continue
		}
		last := c.answers[k.pseudonym]
		last.tried, last.refused = now, refused(err)
		c.answers[k.pseudonym] = last
		if failure == nil {
			failure = err
		}
		if last.refused {
			continue // others may be answered
		}
		if failed++; failed == asksFailed || final(err) {
			// Nobody else would be answered.
			for _, k := range due {
				k.tried = true
			}
			break
		}
	}
	return failure
}

// asks returns how often a scan may ask.
func (c *compliance) asks() int {
	return int(min(max(c.interval/time.Second, fewestAsks), mostAsks))
}

// final reports whether an error is about all contracts: the login, or that
// the platform wants to be left alone.
func final(err error) bool {
	var login *handlers.AuthError
	var answered *handlers.UpstreamError
	return errors.As(err, &login) || errors.As(err, &answered) && (answered.Code == http.StatusTooManyRequests || answered.RetryAfter > 0) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// refused reports whether an error is about one contract alone.
func refused(err error) bool {
	var answered *handlers.UpstreamError
	if !errors.As(err, &answered) {
		return false
	}
	switch answered.Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusGone, http.StatusUnprocessableEntity:
		return answered.RetryAfter == 0
	}
	return false
}

// due returns the contracts to ask for: those of which it isn't known what
// became of them, at once and then in every scan, and the listed ones, and
// those that are refused, every fifteen minutes.
func (c *compliance) due(cases []*inquiry, began time.Time) []*inquiry {
	var due []*inquiry
	waits := map[*inquiry]time.Time{} // since when, zero: it just left, or was never asked for
	for _, k := range cases {
		if !k.asks() {
			continue
		}
		last := c.answers[k.pseudonym]
		recent := began.Sub(last.at) < askAgain
		waits[k] = last.tried
		for _, e := range k.entries {
			if e.open() {
				recent = false
				if last.tried.Before(e.part.Since) {
					last.refused, waits[k] = false, time.Time{}
				}
			}
		}
		if last.refused {
			recent = began.Sub(last.tried) < askAgain
		}
		if !recent {
			due = append(due, k)
		}
	}
	slices.SortStableFunc(due, func(a, b *inquiry) int { return waits[a].Compare(waits[b]) })
	return due
}

// read asks for the compliance status of a contract.
func (c *compliance) read(ctx context.Context, key string) (status, error) {
	segment := url.PathEscape(key)
	if strings.Trim(key, ".") == "" {
		segment = strings.ReplaceAll(key, ".", "%2E") // not a way to another path
	}
	answer, err := c.session.Do(ctx, handlers.Call{
		Endpoint: endpointStatus, URL: c.base + "/v2/compliance/status/contracts/" + segment, Accept: []int{http.StatusNotFound},
	})
	if err != nil {
		return status{}, err
	}
	return readStatus(answer)
}

// tell tells what is new of the entries of a contract.
func (c *compliance) tell(s handlers.Scan, k *inquiry) error {
	for _, e := range k.entries {
		settled := e.part.Absent && !e.open() && e.is.Outcome == e.was.Outcome
		e.is = c.conclude(k, e, s.Began())
		same := e.is.Status.same(e.was.Status) && e.is.Outcome == e.was.Outcome
		if settled || same && !k.answered {
			continue // it is as it was, as far as anybody knows
		}
		state, err := e.is.state()
		if err != nil {
			return err
		}
		if err := s.Saw(handlers.Sighting{Key: e.key, State: state}); err != nil {
			return err
		}
	}
	return nil
}

// conclude returns what there is to say of an entry.
func (c *compliance) conclude(k *inquiry, e entry, began time.Time) standing {
	is := e.is
	if e.part.Absent && !e.open() {
		return is // what is proven or told stays as it is
	}
	last := c.answers[k.pseudonym]
	answered := !last.at.IsZero()
	if answered && !last.status.same(is.Status) {
		is.Status = &last.status
	}
	if !e.open() {
		return is
	}
	bucket := is.Status.bucket()
	switch fresh := answered && !last.at.Before(e.part.Since); {
	case fresh && bucket != nil && *bucket == rejected:
		is.Outcome = &outcome{Absence: e.part.Since, Type: rejectedContract, By: byCompliance}
	case k.tried && began.Sub(e.part.Since) >= c.resolveFor:
		is.Outcome = &outcome{Absence: e.part.Since, Type: undetermined, By: byDeadline}
	}
	return is
}
