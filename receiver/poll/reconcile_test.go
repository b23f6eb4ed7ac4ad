package poll_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
	"github.com/seed75441868/postern/schemas"
)

var errPlatform = errors.New("the platform broke off")

// ledger is a platform with a history, and the index of what was told of it.
type ledger struct {
	t     *testing.T
	facts []string // "<id> <status>", or anything that isn't usable
	bus   *polltest.Bus
	road  *polltest.Road

	mu      sync.Mutex // guards what follows
	fail    error      // after the facts
	asked   [][2]time.Time
	told    map[string]string // facets by id
	channel map[schemas.Channel]int
}

func newLedger(t *testing.T, facts ...string) *ledger {
	l := &ledger{t: t, facts: facts, bus: polltest.NewBus(), told: map[string]string{}, channel: map[schemas.Channel]int{}}
	l.road = polltest.NewRoad(l.bus, map[string]polltest.Normalize{"test": func(d handlers.Delivery) (handlers.Output, error) {
		out, err := l.normalize(d)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, e := range out.Events {
			l.told[e.ID] = e.Data.Facets().String()
			l.channel[d.Channel]++
		}
		return out, err
	}})
	return l
}

func (l *ledger) normalize(d handlers.Delivery) (handlers.Output, error) {
	words := strings.Fields(string(d.Payload))
	if len(words) != 2 {
		return handlers.Output{}, &handlers.UnusableError{Reason: schemas.ReasonBadJSON, Detail: "not two words"}
	}
	if d.Role != "entry" || d.Source != "src" || d.Platform != "test" || d.View != "granted" {
		l.t.Errorf("the delivery is %+v", d)
	}
	return handlers.Output{Events: []schemas.Event{{
		ID: "src:process:" + words[0], Source: "src", Type: schemas.ProcessSucceeded, Key: words[0],
		Time: "2026-03-01T10:00:00Z", Recorded: d.Received, DeliveryID: "d", Channel: d.Channel,
		Data: schemas.Process{Platform: "test", ProcessID: words[0], NativeStatus: words[1], Affects: map[string][]string{}},
	}}}, nil
}

func (l *ledger) Lookup(id string) (string, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	facets, ok := l.told[id]
	return facets, ok, nil
}

func (l *ledger) history(_ context.Context, from, to time.Time, fn func(handlers.Fact) error) error {
	l.mu.Lock()
	l.asked = append(l.asked, [2]time.Time{from, to})
	fail := l.fail
	l.mu.Unlock()
	for _, text := range l.facts {
		err := fn(handlers.Fact{Role: "entry", View: "granted", TransportID: text, Content: sha256.Sum256([]byte(text)), Payload: []byte(text)})
		if err != nil {
			return err
		}
	}
	return fail
}

func (l *ledger) failing(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// spans returns what was asked for.
func (l *ledger) spans() [][2]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.asked)
}

// push tells facts as pushes do; in a journal they wait to be told.
func (l *ledger) push(facts ...string) {
	l.t.Helper()
	for _, text := range facts {
		d := handlers.Delivery{
			Source: "src", Platform: "test", Channel: schemas.ChannelPush, Role: "entry", View: "granted",
			Received: time.Now(), Payload: []byte(text),
		}
		if _, err := l.road.Append(l.t.Context(), d, text, sha256.Sum256([]byte(text))); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *ledger) config() poll.ReconcileConfig {
	return poll.ReconcileConfig{
		Source: handlers.Source{Name: "src", Platform: "test", History: l.history},
		From:   time.Now().Add(-time.Hour), To: time.Now(), Retention: 30 * 24 * time.Hour,
		Normalize: l.normalize, Index: l, Journal: l.road, Relay: l.road,
	}
}

func TestReconcileFindsAndTellsWhatIsMissing(t *testing.T) {
	l := newLedger(t, "p1 ok", "p2 ok", "p3 other", "p4 ok", "p4 ok", "not a fact", "p5 ok")
	l.push("p1 ok", "p3 ok", "p5 ok") // p5 is still in the journal
	cfg := l.config()
	cfg.DryRun = true
	want := poll.Report{
		From: cfg.From, To: cfg.To, Facts: 7, Unusable: 1, Complete: true, At: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		Events:  map[schemas.Type]poll.Tally{schemas.ProcessSucceeded: {Present: 2, Missing: 2, Disagreeing: 1}},
		Missing: []string{"src:process:p2", "src:process:p4"}, Disagreeing: []string{"src:process:p3"},
	}
	for range 2 {
		report, err := poll.Reconcile(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, report); diff != "" {
			t.Fatalf("a dry run (-want +got):\n%s", diff)
		}
	}
	cfg.DryRun = false
	want.Told = 2
	report, err := poll.Reconcile(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[schemas.Channel]int{schemas.ChannelPush: 3, schemas.ChannelBackfill: 2}, l.channel); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	want.Told, want.Missing = 0, nil
	want.Events = map[schemas.Type]poll.Tally{schemas.ProcessSucceeded: {Present: 4, Disagreeing: 1}}
	if report, err = poll.Reconcile(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("once more (-want +got):\n%s", diff)
	}
}

// The journal may have claimed what the bus lost.
func TestReconcileTellsAgainWhatTheBusLost(t *testing.T) {
	l := newLedger(t, "p1 ok")
	l.push("p1 ok")
	if err := l.road.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	clear(l.told)
	report, err := poll.Reconcile(t.Context(), l.config())
	if err != nil || report.Told != 1 || len(l.told) != 1 {
		t.Errorf("told again is %+v, %v", report, err)
	}
}

func TestReconcileThatBreaksOffKeepsWhatItFound(t *testing.T) {
	l := newLedger(t, "p1 ok", "p2 ok")
	l.failing(errPlatform)
	report, err := poll.Reconcile(t.Context(), l.config())
	if !errors.Is(err, errPlatform) || report.Complete || report.Told != 2 {
		t.Errorf("it ends with %+v, %v", report, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := l.config()
	cfg.Source.History = func(ctx context.Context, _, _ time.Time, fn func(handlers.Fact) error) error {
		cancel()
		return fn(handlers.Fact{})
	}
	if report, err := poll.Reconcile(ctx, cfg); !errors.Is(err, context.Canceled) || report.Complete {
		t.Errorf("interrupted it ends with %+v, %v", report, err)
	}
}

func TestReconcileRefusesWhatItCantKnow(t *testing.T) {
	l := newLedger(t, "p1 ok")
	for name, c := range map[string]struct {
		change func(*poll.ReconcileConfig)
		want   error
	}{
		"older than what is kept": {func(c *poll.ReconcileConfig) { c.From = time.Now().Add(-31 * 24 * time.Hour) }, poll.ErrForgotten},
		"that, accepted": {func(c *poll.ReconcileConfig) {
			c.From, c.AcceptRepeats = time.Now().Add(-31*24*time.Hour), true
		}, nil},
		"that, kept for ever": {func(c *poll.ReconcileConfig) { c.From, c.Retention = time.Now().Add(-1000*time.Hour), 0 }, nil},
		"no span":             {func(c *poll.ReconcileConfig) { c.To = c.From }, poll.ErrNoSpan},
		"no history":          {func(c *poll.ReconcileConfig) { c.Source.History = nil }, poll.ErrNoHistory},
	} {
		cfg := l.config()
		c.change(&cfg)
		if _, err := poll.Reconcile(t.Context(), cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// reconciler runs comparisons of l's source, in a bubble.
func (l *ledger) reconciler(spec handlers.Reconcile, retention time.Duration) (*poll.Reconciler, func()) {
	r := poll.NewReconciler(poll.ReconcilerConfig{
		Config: poll.Config{
			Journal: l.road, Relay: l.road, Bus: l.bus, Seal: polltest.Seal, Open: polltest.Open, Holder: "me",
		},
		Normalize: map[string]func(handlers.Delivery) (handlers.Output, error){"test": l.normalize},
		Index:     l, Retention: retention,
	})
	ctx, cancel := context.WithCancel(l.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx, []handlers.Source{
			{Name: "src", Platform: "test", History: l.history, Reconcile: spec}, {Name: "none", Platform: "test"},
		}); err != nil {
			l.t.Error(err)
		}
	}()
	return r, func() { cancel(); <-ended }
}

func TestASourceIsComparedAsOftenAsItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		l := newLedger(t, "p1 ok")
		began := time.Now()
		_, stop := l.reconciler(handlers.Reconcile{Every: day, Window: 3 * day}, 0)
		pass(day - time.Minute)
		if len(l.spans()) != 0 {
			t.Fatal("it is compared before there was anything to miss")
		}
		pass(day)
		stop()
		_, stop = l.reconciler(handlers.Reconcile{Every: day, Window: 3 * day}, 2*day) // it knows when it was compared last
		pass(3 * day)
		stop()
		at := func(days int) time.Time { return began.Add(time.Duration(days) * day).UTC() }
		want := [][2]time.Time{
			{at(0), at(1).Add(-5 * time.Minute)}, // never before it was switched on
			{at(0).Add(5 * time.Minute), at(2).Add(-5 * time.Minute)},
			{at(1).Add(5 * time.Minute), at(3).Add(-5 * time.Minute)},
			{at(2).Add(5 * time.Minute), at(4).Add(-5 * time.Minute)},
		}
		if len(l.spans()) != len(want) {
			t.Fatalf("compared was %v", l.spans())
		}
		for i, span := range l.spans() {
			for j := range span {
				if d := span[j].Sub(want[i][j]); d < -time.Minute || d > time.Minute {
					t.Errorf("comparison %d is of %v, want %v", i, span, want[i])
				}
			}
		}
		ops := l.bus.Published(schemas.StreamOps)
		if len(ops) != 1 || !strings.HasPrefix(ops[0], "src:platform:repaired:reconcile:") {
			t.Errorf("told of repairs is %q", ops)
		}
	})
}

func TestAComparisonThatFailsIsMadeAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t)
		l.failing(errPlatform)
		_, stop := l.reconciler(handlers.Reconcile{Every: time.Hour, Window: time.Hour}, 0)
		defer stop()
		pass(time.Hour + 10*time.Minute)
		if n := len(l.spans()); n < 3 || n > 6 {
			t.Errorf("it was tried %d times", n)
		}
		l.failing(nil)
		pass(10 * time.Minute)
		n := len(l.spans())
		pass(40 * time.Minute)
		if len(l.spans()) != n {
			t.Error("it is tried again though it went well")
		}
	})
}

func TestAnybodyCanAskForAComparison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(t, "p1 ok")
		r, stop := l.reconciler(handlers.Reconcile{}, 30*24*time.Hour)
		defer stop()
		synctest.Wait()
		if _, err := r.Reconcile(t.Context(), poll.Ask{Source: "none"}); !errors.Is(err, poll.ErrNoSource) {
			t.Errorf("a source without a history: %v", err)
		}
		report, err := r.Reconcile(t.Context(), poll.Ask{Source: "src", From: time.Now().Add(-time.Hour)})
		if err != nil || report.Sum() != (poll.Tally{Missing: 1}) || report.Told != 1 {
			t.Errorf("the report is %+v, %v", report, err)
		}
		if got := time.Since(report.To); got != 5*time.Minute {
			t.Errorf("it ends %s ago", got)
		}
		synctest.Wait()
		if ops := l.bus.Published(schemas.StreamOps); len(ops) != 1 {
			t.Errorf("told of repairs is %q", ops)
		}
		pass(48 * time.Hour)
		if len(l.spans()) != 1 {
			t.Error("it is compared though nobody asked for that")
		}
	})
}
