package relay

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// viewGranted is the view of a delivery whose facts we were entitled to see only
// later; platforms set it in [handlers.Fact].
const viewGranted = "granted"

// facts are those of a polled delivery that a push could have told.
type facts struct {
	pushed  int // a push, or an earlier poll, had told them
	missed  int // none had
	granted int // none had, and we were entitled to see them only later
}

// Completeness says how much of what a source could push it did push, since the
// start.
type Completeness struct {
	// Pushed are facts that were told when they were polled, and Missed those
	// that were not; Granted those of them that we were entitled to see only
	// later.
	Pushed, Missed, Granted uint64
	// Late is how long pushes took on average, from the platform's time of what
	// they tell to their arrival, and Latest the longest; of so many as Timed.
	Late, Latest time.Duration
	Timed        uint64
}

// Completeness returns how completely sources push that push and are polled.
func (r *Relay) Completeness() map[string]Completeness { return r.metrics.gaps.snapshot() }

// count notes whether an event of a polled fact was told before. What a
// follow-up found would never be pushed.
func (r *Relay) count(b *batch, pending map[string]schemas.Facets, it *item, t telling) error {
	d := &it.entry.Delivery
	polled := d.Channel == schemas.ChannelPoll || d.Channel == schemas.ChannelBackfill
	e := &t.event
	if !polled || d.Changes || d.Release != nil || e.CausationID != "" || e.Type.Stream() != schemas.StreamEvents ||
		r.cfg.Pushes == nil || !r.cfg.Pushes(d.Source) {
		return nil
	}
	_, told, err := r.told(pending, e.ID)
	switch {
	case err != nil:
		return err
	case !told || b.stored[e.ID] == it:
		if d.View == viewGranted {
			it.facts.granted++
		} else {
			it.facts.missed++
		}
	case d.View != viewGranted: // that one is asked for once more whoever told it
		it.facts.pushed++
	}
	return nil
}

// gaps counts what pushes told and what they missed.
type gaps struct {
	repaired *prometheus.CounterVec
	facts    *prometheus.CounterVec
	late     *prometheus.HistogramVec

	mu  sync.Mutex
	all map[string]Completeness
}

func newGaps(reg prometheus.Registerer) *gaps {
	g := &gaps{
		all: map[string]Completeness{},
		repaired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "postern", Name: "reconcile_repaired_total",
			Help: "Facts that no push had told when they were polled: missed, or granted to us only later.",
		}, []string{"source", "reason"}),
		facts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "postern", Name: "poll_facts_total",
			Help: "Polled facts that a push could have told, by how they came: pushed, missed or granted.",
		}, []string{"source", "how"}),
		late: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "postern", Name: "push_delay_seconds",
			Help:    "Time from when the platform says that something happened until its push arrived.",
			Buckets: []float64{.1, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600},
		}, []string{"source"}),
	}
	reg.MustRegister(g.repaired, g.facts, g.late)
	return g
}

// begin has the counters of a source begin at 0.
func (g *gaps) begin(source string) {
	for _, reason := range []string{"missed", "granted"} {
		g.repaired.WithLabelValues(source, reason)
		g.facts.WithLabelValues(source, reason)
	}
	g.facts.WithLabelValues(source, "pushed")
}

// count counts an item that is dealt with.
func (g *gaps) count(it *item) {
	d := &it.entry.Delivery
	var late []time.Duration
	if d.Channel == schemas.ChannelPush && it.published && it.release() == nil {
		late = lateness(it.tell, d)
	}
	if it.facts == (facts{}) && len(late) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.all[d.Source]
	for _, l := range late {
		g.late.WithLabelValues(d.Source).Observe(l.Seconds())
		c.Timed++
		c.Late += (l - c.Late) / time.Duration(c.Timed) //nolint:gosec // far fewer
		c.Latest = max(c.Latest, l)
	}
	for _, n := range []struct {
		how string
		n   int
		sum *uint64
	}{{"pushed", it.facts.pushed, &c.Pushed}, {"missed", it.facts.missed, &c.Missed}, {"granted", it.facts.granted, &c.Granted}} {
		if n.n == 0 {
			continue
		}
		g.facts.WithLabelValues(d.Source, n.how).Add(float64(n.n))
		*n.sum += uint64(n.n)
		if n.how != "pushed" {
			g.repaired.WithLabelValues(d.Source, n.how).Add(float64(n.n))
		}
	}
	g.all[d.Source] = c
}

// lateness returns how long ago what a push told was when it arrived.
func lateness(told []telling, d *handlers.Delivery) (late []time.Duration) {
	for _, t := range told {
		if t.event.Type.Stream() != schemas.StreamEvents {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, t.event.Time); err == nil {
			late = append(late, max(0, d.Received.Sub(at)))
		}
	}
	return late
}

func (g *gaps) snapshot() map[string]Completeness {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.all)
}
