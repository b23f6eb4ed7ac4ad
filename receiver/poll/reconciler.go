package poll

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// What the comparing of a source is called, in leases and events.
const reconcileName = "reconcile"

// settled is how long ago something must be to be compared: before that its
// push may be under way.
const settled = 5 * time.Minute

// ErrNoSource says that no source of that name is configured.
var ErrNoSource = errors.New("there is no such source")

// ReconcilerConfig is what a [Reconciler] needs beyond what pollers do.
type ReconcilerConfig struct {
	Config
	// Normalize has the translation of every platform by its name.
	Normalize map[string]func(handlers.Delivery) (handlers.Output, error)
	Index     Index
	// Retention is how long events are kept; 0: for ever.
	Retention time.Duration
}

// Reconciler compares all sources that have a history with the bus: each as
// often as it says, by one receiver, and when somebody asks. Make it with
// [NewReconciler]. Its methods are safe for concurrent use.
type Reconciler struct {
	cfg  ReconcilerConfig
	news *news

	mu      sync.Mutex
	ctx     context.Context // of Run, nil before
	updated bool            // somebody said what to compare
	running sync.WaitGroup
	sources map[string]*comparing
}

// comparing is a source that is compared.
type comparing struct {
	r    *Reconciler
	p    *poller // whose cursors and news they are
	stop context.CancelFunc

	mu  sync.Mutex
	src handlers.Source
}

// NewReconciler returns one of no source.
func NewReconciler(cfg ReconcilerConfig) *Reconciler {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Log == nil {
		cfg.Log = discard()
	}
	r := &Reconciler{cfg: cfg, sources: map[string]*comparing{}}
	r.news = newNews(&r.cfg.Config)
	return r
}

// Run compares sources, or those that Update named before, and those that it
// names later, until ctx ends, and returns when nobody does any more. It is
// called once.
func (r *Reconciler) Run(ctx context.Context, sources []handlers.Source) error {
	r.mu.Lock()
	if !r.updated {
		r.update(sources)
	}
	r.ctx = ctx
	for _, c := range r.sources {
		r.start(c)
	}
	r.mu.Unlock()
	r.news.run(ctx)
	r.mu.Lock()
	r.mu.Unlock() //nolint:staticcheck // it waits for an Update that is under way
	r.running.Wait()
	return nil
}

// Update makes the compared sources those of sources. Comparisons under way go
// on as they were begun.
func (r *Reconciler) Update(sources []handlers.Source) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.update(sources)
}

// update is Update. mu is held.
func (r *Reconciler) update(sources []handlers.Source) {
	r.updated = true
	wanted := map[string]bool{}
	for _, src := range sources {
		if src.History == nil {
			continue
		}
		wanted[src.Name] = true
		if old := r.sources[src.Name]; old != nil {
			old.mu.Lock()
			same := old.src.Platform == src.Platform && old.src.Reconcile == src.Reconcile
			if same {
				old.src = src
			}
			old.mu.Unlock()
			if same {
				continue
			}
			old.stop()
		}
		c := &comparing{r: r, src: src, stop: func() {}, p: &poller{
			cfg: &r.cfg.Config, metrics: r.cfg.Metrics, news: r.news, source: src.Name, name: reconcileName, platform: src.Platform,
		}}
		r.sources[src.Name] = c
		r.start(c)
	}
	for name, c := range r.sources {
		if !wanted[name] {
			delete(r.sources, name)
			c.stop()
			r.cfg.Metrics.compared.forget(name)
		}
	}
}

// start starts to compare a source. mu is held.
func (r *Reconciler) start(c *comparing) {
	r.cfg.Metrics.compared.begin(c.src.Name)
	if r.ctx == nil || r.ctx.Err() != nil || c.src.Reconcile.Every <= 0 {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	c.stop = stop
	r.running.Go(func() {
		defer stop()
		c.run(ctx)
	})
}

// Ask is what somebody wants compared.
type Ask struct {
	Source        string
	From          time.Time
	To            time.Time // zero: a few minutes ago
	DryRun        bool
	AcceptRepeats bool
	Progress      func(Report)
}

// Reconcile compares what somebody asks for at once, whoever else does. It fails
// with [ErrNoSource], or as [Reconcile] does.
func (r *Reconciler) Reconcile(ctx context.Context, a Ask) (Report, error) {
	r.mu.Lock()
	c := r.sources[a.Source]
	r.mu.Unlock()
	if c == nil {
		return Report{}, ErrNoSource
	}
	if a.To.IsZero() {
		a.To = r.cfg.now().Add(-settled)
	}
	return c.compare(ctx, a)
}

// compare compares, and has told that something was missing.
func (c *comparing) compare(ctx context.Context, a Ask) (Report, error) {
	c.mu.Lock()
	src := c.src
	c.mu.Unlock()
	normalize := c.r.cfg.Normalize[src.Platform]
	if normalize == nil {
		return Report{}, ErrNoHistory
	}
	began := c.r.cfg.now()
	report, err := Reconcile(ctx, ReconcileConfig{
		Source: src, From: a.From.UTC(), To: a.To.UTC(), DryRun: a.DryRun,
		Retention: c.r.cfg.Retention, AcceptRepeats: a.AcceptRepeats,
		Normalize: normalize, Index: c.r.cfg.Index, Journal: c.r.cfg.Journal, Relay: c.r.cfg.Relay,
		Progress: a.Progress, Now: c.r.cfg.now,
	})
	sum := report.Sum()
	c.r.cfg.Log.Info("a platform and the bus were compared", "source", src.Name, "entries", report.Facts, "count", sum.Missing, "error", err)
	if report.Told > 0 {
		c.r.news.tell(c.p, schemas.PlatformRepaired, began, "", schemas.Repair{
			Platform: src.Platform, From: schemas.FormatTime(report.From), To: schemas.FormatTime(report.To),
			Facts: int64(report.Facts), Missing: int64(sum.Missing), Disagreeing: int64(sum.Disagreeing),
		}, nil)
	}
	return report, err
}

// compared is what the bus has of a source's comparisons.
type compared struct {
	Since time.Time `json:"since"`         // when this was first on: nothing before that is told unasked
	Last  time.Time `json:"last,omitzero"` // when the last one ended well
}

// run compares whenever it is time and this receiver has the lease.
func (c *comparing) run(ctx context.Context) {
	complained := false
	for ctx.Err() == nil {
		_, err := c.r.cfg.Bus.Hold(ctx, c.p.lease(), c.r.cfg.Holder, c.hold)
		if err != nil && ctx.Err() == nil && !complained {
			c.r.cfg.Log.Warn("comparing waits for its lease", "source", c.p.source, "error", err)
		}
		complained = err != nil
		if !sleep(ctx, jittered(leaseRetry)) {
			return
		}
	}
}

// hold compares as long as the lease is held.
func (c *comparing) hold(ctx context.Context) error {
	wait := growing(time.Minute, longestWait)
	for {
		due, err := c.due(ctx)
		if err == nil && !due.After(c.r.cfg.now()) {
			err = c.round(ctx)
			c.r.cfg.Metrics.compared.counted(c.p.source, err)
			if err == nil {
				continue
			}
		}
		pause := due.Sub(c.r.cfg.now())
		if err != nil {
			pause = wait.NextBackOff()
			c.r.cfg.Log.Warn("a platform and the bus can't be compared", "source", c.p.source, "error", err, "retry_in", pause.Round(time.Second))
		} else {
			wait.Reset()
		}
		if !sleep(ctx, pause) {
			return context.Cause(ctx)
		}
	}
}

// due returns when the next comparison is due. The first one is when there was
// time for something to be missed.
func (c *comparing) due(ctx context.Context) (time.Time, error) {
	was, err := c.load(ctx)
	if err != nil {
		return time.Time{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	last := was.Last
	if last.IsZero() {
		last = was.Since
	}
	return last.Add(c.src.Reconcile.Every), nil
}

// load returns what the bus has, and writes it if that is nothing.
func (c *comparing) load(ctx context.Context) (compared, error) {
	e, err := c.p.loadCursor(ctx, c.p.cursorKey())
	if err != nil {
		return compared{}, err
	}
	var was compared
	if e.cursor != nil && json.Unmarshal(e.cursor, &was) == nil && !was.Since.IsZero() {
		return was, nil
	}
	was = compared{Since: c.r.cfg.now().UTC()}
	return was, c.save(ctx, was)
}

func (c *comparing) save(ctx context.Context, now compared) error {
	v, err := json.Marshal(now, json.Deterministic(true))
	if err != nil {
		return err
	}
	return own(c.p.write(ctx, c.p.cursorKey(), v))
}

// round compares what is due.
func (c *comparing) round(ctx context.Context) error {
	was, err := c.load(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	spec := c.src.Reconcile
	c.mu.Unlock()
	now := c.r.cfg.now().UTC()
	a := Ask{From: now.Add(-spec.Window), To: now.Add(-settled)}
	first := was.Since
	if !spec.Since.IsZero() {
		first = spec.Since
	}
	if kept := now.Add(-c.r.cfg.Retention + settled); c.r.cfg.Retention > 0 && kept.After(first) {
		first = kept
	}
	if first.After(a.From) {
		a.From = first
	}
	if a.To.After(a.From) {
		if _, err := c.compare(ctx, a); err != nil {
			return err
		}
	}
	was.Last = now
	return c.save(ctx, was)
}

// compareMetrics are those of comparisons by schedule.
type compareMetrics struct {
	runs *prometheus.CounterVec
	last *prometheus.GaugeVec
}

func newCompareMetrics() *compareMetrics {
	return &compareMetrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_reconcile_runs_total",
			Help: "Comparisons of a platform with the bus that were due, by how they ended.",
		}, []string{"source", "result"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postern_reconcile_last_success_timestamp_seconds",
			Help: "When the last of them ended well; absent until one does.",
		}, []string{"source"}),
	}
}

func (m *compareMetrics) begin(source string) {
	for _, r := range []string{resultSuccess, resultFailed} {
		m.runs.WithLabelValues(source, r)
	}
}

func (m *compareMetrics) forget(source string) {
	m.runs.DeletePartialMatch(prometheus.Labels{"source": source})
	m.last.DeleteLabelValues(source)
}

func (m *compareMetrics) counted(source string, err error) {
	if err != nil {
		m.runs.WithLabelValues(source, resultFailed).Inc()
		return
	}
	m.runs.WithLabelValues(source, resultSuccess).Inc()
	m.last.WithLabelValues(source).Set(seconds(time.Now()))
}
