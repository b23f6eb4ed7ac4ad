package poll

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// An Index knows which events are on the bus.
type Index interface {
	// Lookup returns the facets of the event with an id, and whether it was
	// told.
	Lookup(id string) (facets string, ok bool, err error)
}

// Normalize translates a delivery, as [handlers.Platform] has it.
type Normalize func(handlers.Delivery) (handlers.Output, error)

// ReconcileConfig says what is compared.
type ReconcileConfig struct {
	Source   handlers.Source
	From, To time.Time
	// DryRun has what is missing only counted.
	DryRun bool
	// Retention is how long events are kept: what is older is no longer known
	// to have been told. 0: for ever. AcceptRepeats has it told again.
	Retention     time.Duration
	AcceptRepeats bool

	Normalize Normalize
	Index     Index
	Journal   Journal
	Relay     Relay
	// Progress, if it is not nil, is called now and then with the report as it
	// is by then.
	Progress func(Report)
	// Now tells the time of deliveries. Nil: time.Now.
	Now func() time.Time
}

// Report is what a comparison found. Events are counted once, however often the
// platform tells them.
type Report struct {
	From, To time.Time
	Facts    int // that the platform told
	Events   map[schemas.Type]Tally
	// Unusable are facts that can't become events. Pollers put them into
	// quarantine.
	Unusable int
	// Told are deliveries that were made of what is missing.
	Told int
	// Missing and Disagreeing are the ids of the first such events.
	Missing     []string
	Disagreeing []string
	// At is how far it is by the time of the facts that say one.
	At time.Time
	// Complete says that all of the time was compared, and that what was
	// missing is on the bus.
	Complete bool
}

// Tally counts events.
type Tally struct {
	Present     int // on the bus
	Missing     int // not there
	Disagreeing int // there, and something else is said of them
}

// Sum returns the tally of all types.
func (r Report) Sum() (t Tally) {
	for _, one := range r.Events {
		t.Present += one.Present
		t.Missing += one.Missing
		t.Disagreeing += one.Disagreeing
	}
	return t
}

// Errors of comparisons that can't be made.
var (
	ErrNoHistory = errors.New("its platform keeps no history that could be compared")
	ErrNoSpan    = errors.New("the time to compare ends before it begins")
	// ErrForgotten says that it would be told again what was told.
	ErrForgotten = errors.New("it begins before what the bus keeps: what was told and is forgotten would be told again; begin later, or accept repeats")
)

const (
	mostListed   = 100  // ids in a report
	appendFacts  = 256  // deliveries at once
	progressEach = 1000 // facts
)

// Reconcile compares what a source's platform says of a span of time with what
// is on the bus, and has told what is missing. It returns what it found by then
// also when it fails, or ctx ends. It is safe to repeat. It fails with
// [ErrNoHistory], [ErrNoSpan] or [ErrForgotten] before it asks anything.
func Reconcile(ctx context.Context, cfg ReconcileConfig) (Report, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &reconciling{
		cfg: cfg, seen: map[[16]byte]bool{},
		report: Report{From: cfg.From, To: cfg.To, Events: map[schemas.Type]Tally{}},
	}
	switch {
	case cfg.Source.History == nil:
		return r.report, ErrNoHistory
	case !cfg.To.After(cfg.From):
		return r.report, ErrNoSpan
	case cfg.Retention > 0 && !cfg.AcceptRepeats && cfg.From.Before(cfg.Now().Add(-cfg.Retention)):
		return r.report, ErrForgotten
	}
	// What is in the journal is about to be told, and isn't missing.
	if err := cfg.Relay.Drain(ctx); err != nil {
		return r.report, own(err)
	}
	err := cfg.Source.History(ctx, cfg.From, cfg.To, func(f handlers.Fact) error { return r.compare(ctx, f) })
	// What was found before it failed is as missing as if it had not.
	err = errors.Join(err, r.tell(ctx))
	if err == nil && r.report.Told > 0 {
		err = own(cfg.Relay.Drain(ctx))
	}
	r.report.Complete = err == nil
	return r.report, err
}

// reconciling is a comparison under way.
type reconciling struct {
	cfg    ReconcileConfig
	report Report
	seen   map[[16]byte]bool // ids of events

	deliveries []handlers.Delivery
	contents   [][32]byte
}

// compare looks whether what a fact says is on the bus.
func (r *reconciling) compare(ctx context.Context, f handlers.Fact) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.report.Facts++
	d := handlers.Delivery{
		Source: r.cfg.Source.Name, Platform: r.cfg.Source.Platform, Channel: schemas.ChannelBackfill,
		Role: f.Role, View: f.View, Received: r.cfg.Now(), Sent: f.Sent, Payload: append([]byte(nil), f.Payload...),
	}
	missing := false
	events, err := r.events(d)
	if err != nil {
		r.report.Unusable++
	}
	for _, e := range events {
		m, err := r.lookUp(e)
		if err != nil {
			return err
		}
		missing = missing || m
	}
	if missing && !r.cfg.DryRun {
		r.deliveries, r.contents = append(r.deliveries, d), append(r.contents, f.Content)
	}
	if r.cfg.Progress != nil && r.report.Facts%progressEach == 0 {
		sofar := r.report
		sofar.Events = maps.Clone(sofar.Events)
		r.cfg.Progress(sofar)
	}
	if len(r.deliveries) >= appendFacts {
		return r.tell(ctx)
	}
	return nil
}

var errTranslation = errors.New("it can't be translated")

// events translates a fact. A platform's panic is a failure.
func (r *reconciling) events(d handlers.Delivery) (events []schemas.Event, err error) {
	defer func() {
		if recover() != nil { // the relay says where, when it is polled
			err = errTranslation
		}
	}()
	out, err := r.cfg.Normalize(d)
	return out.Events, err
}

// lookUp counts an event, and reports whether it is missing.
func (r *reconciling) lookUp(e schemas.Event) (missing bool, err error) {
	sum := sha256.Sum256([]byte(e.ID))
	id := [16]byte(sum[:16])
	if r.seen[id] {
		return false, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, e.Time); err == nil && at.After(r.report.At) {
		r.report.At = at.UTC()
	}
	told, ok, err := r.cfg.Index.Lookup(e.ID)
	if err != nil {
		return false, own(err)
	}
	r.seen[id] = true
	tally := r.report.Events[e.Type]
	conflicts, _ := schemas.ParseFacets(told).Compare(e.Data.Facets())
	switch {
	case !ok:
		tally.Missing++
		r.report.Missing = listed(r.report.Missing, e.ID)
	case len(conflicts) > 0:
		tally.Disagreeing++
		r.report.Disagreeing = listed(r.report.Disagreeing, e.ID)
	default:
		tally.Present++
	}
	r.report.Events[e.Type] = tally
	return !ok, nil
}

func listed(ids []string, id string) []string {
	if len(ids) < mostListed {
		ids = append(ids, id)
	}
	return ids
}

// tell appends what is missing. It claims nothing: the poller may have told it,
// and the bus lost it.
func (r *reconciling) tell(ctx context.Context) error {
	if len(r.deliveries) == 0 || ctx.Err() != nil {
		return nil // History or the caller says that it ended
	}
	if err := r.cfg.Journal.AppendAll(ctx, r.deliveries, r.contents); err != nil {
		return own(fmt.Errorf("journal: %w", err))
	}
	r.report.Told += len(r.deliveries)
	r.deliveries, r.contents = nil, nil
	return nil
}
