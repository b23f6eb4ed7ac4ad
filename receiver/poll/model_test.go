package poll_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
)

// shown is how a platform shows an entity.
type shown struct{ container, state string }

// history is a platform, two receivers that poll it at their own times, and
// what they told.
type history struct {
	rt *rapid.T
	t  *testing.T

	truth     map[string]shown
	bus       *polltest.Bus
	receivers [2]*receiver
	now       time.Time

	told map[string][]handlers.Change // by entity
	ids  map[string]bool
}

// receiver is one that can be started again.
type receiver struct {
	road    *polltest.Road
	pollers *poll.Pollers
	hidden  map[string]bool // keys on a page that is lost in this scan
	fails   bool            // this scan ends before its last container
	missed  map[string]int  // complete scans in a row that didn't show a key that others have shown
}

var containers = []string{"north", "south"}

func newHistory(t *testing.T, rt *rapid.T) *history {
	h := &history{
		rt: rt, t: t, truth: map[string]shown{}, bus: polltest.NewBus(),
		now:  time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC),
		told: map[string][]handlers.Change{}, ids: map[string]bool{},
	}
	for i := range h.receivers {
		r := &receiver{}
		r.road = polltest.NewRoad(h.bus, map[string]polltest.Normalize{"test": h.normalize})
		h.receivers[i] = r
		h.start(r)
	}
	return h
}

// start starts a receiver, or starts it again: its journal and the bus are as
// they were.
func (h *history) start(r *receiver) {
	r.missed = map[string]int{}
	r.pollers = poll.New(poll.Config{
		Journal: r.road, Relay: r.road, Bus: h.bus, Seal: polltest.Seal, Open: polltest.Open,
		Pseudonym: func(s string) string { return fmt.Sprintf("%x", s) },
		Now:       func() time.Time { return h.now },
	})
	r.pollers.Update([]handlers.Source{{Name: "src", Platform: "test", Pollers: []handlers.Poller{{
		Name: "list", Role: "list", Interval: time.Minute,
		Scan: func(_ context.Context, s handlers.Scan) error { return h.scan(r, s) },
	}}}})
}

var errCut = errors.New("the answer was cut")

func (h *history) scan(r *receiver, s handlers.Scan) error {
	for i, container := range containers {
		for _, key := range slices.Sorted(maps.Keys(h.truth)) {
			if e := h.truth[key]; e.container == container && !r.hidden[key] {
				sighting := handlers.Sighting{Key: key, Container: container, State: jsontext.Value(e.state)}
				if err := s.Saw(sighting); err != nil {
					return err
				}
			}
		}
		if r.fails && i == len(containers)-1 {
			return errCut
		}
		if err := s.Complete(container); err != nil {
			return err
		}
	}
	return nil
}

// normalize notes what is told, and that it is told once, without a gap, and
// only if something is different.
func (h *history) normalize(d handlers.Delivery) (handlers.Output, error) {
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, err
	}
	id := fmt.Sprintf("%s:%s.%d:%s", c.Key, c.Generation, c.Current.Revision, c.Digest)
	if h.ids[id] {
		h.rt.Fatalf("%s is told twice", id)
	}
	h.ids[id] = true
	before, after := c.Before(), c.After()
	if before.Present() == after.Present() && string(before.State) == string(after.State) && before.Container == after.Container {
		h.rt.Fatalf("%s is told to be as it was", c.Key)
	}
	list := h.told[c.Key]
	if c.Current.Revision != uint64(len(list)+1) {
		h.rt.Fatalf("%s has revision %d after %d changes", c.Key, c.Current.Revision, len(list))
	}
	if len(list) > 0 {
		if diff := cmp.Diff(list[len(list)-1].Current, c.Previous); diff != "" {
			h.rt.Fatalf("a change of %s does not begin where the last one ended:\n%s", c.Key, diff)
		}
		if !c.From.Before(c.To) || c.From.IsZero() {
			h.rt.Fatalf("%s changed between %s and %s", c.Key, c.From, c.To)
		}
	}
	h.told[c.Key] = append(list, c)
	return handlers.Output{}, nil
}

// poll has a receiver scan once. What it appends is told now or before its
// next scan.
func (h *history) poll(r *receiver, drain bool) {
	h.now = h.now.Add(time.Minute)
	if err := r.road.Drain(h.t.Context()); err != nil {
		h.rt.Fatal(err)
	}
	complete := containers
	if r.fails {
		complete = complete[:1]
	}
	home := map[string]string{}
	for key, list := range h.told {
		if p := list[len(list)-1].After(); p.Present() {
			home[key] = p.Container
		}
	}
	if err := r.pollers.Once(h.t.Context(), "src/list"); (err != nil) != r.fails || r.fails && !errors.Is(err, errCut) {
		h.rt.Fatal(err)
	}
	for key, container := range home {
		if now, ok := h.truth[key]; ok && !r.hidden[key] {
			if now.container == container || slices.Contains(complete, now.container) {
				r.missed[key] = 0
			}
		} else if slices.Contains(complete, container) {
			r.missed[key]++
		}
	}
	for _, d := range r.road.Waiting() {
		if c, err := handlers.DecodeChange(d.Payload); err == nil && c.Key != "" && c.After().Absent && r.missed[c.Key] < 2 {
			h.rt.Fatalf("%s is believed to be absent, and was not missed twice", c.Key)
		}
	}
	r.hidden, r.fails = nil, false
	if drain {
		if err := r.road.Drain(h.t.Context()); err != nil {
			h.rt.Fatal(err)
		}
	}
}

func (h *history) check() {
	known := map[string]shown{}
	for key, list := range h.told {
		if p := list[len(list)-1].After(); p.Present() {
			known[key] = shown{p.Container, string(p.State)}
		}
	}
	if diff := cmp.Diff(h.truth, known, cmp.AllowUnexported(shown{})); diff != "" {
		h.rt.Fatalf("what was told is not what is (-is +told):\n%s", diff)
	}
}

// Whatever a platform shows, however often receivers are started again, take
// over from each other or tell late what they found: each change is told once,
// in an unbroken chain, and in the end everything is told.
func TestEachChangeIsToldOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, rt)
		keys := rapid.SampledFrom([]string{"a", "b", "c", "d/e", "f", "g"})
		states := rapid.SampledFrom([]string{`1`, `{"x":[1,"ü"]}`, `"<&>"`, `{ "spaced" : true }`, `"\u00fc"`})
		one := rapid.IntRange(0, 1)
		rt.Repeat(map[string]func(*rapid.T){
			"show": func(rt *rapid.T) {
				h.truth[keys.Draw(rt, "key")] = shown{containers[one.Draw(rt, "container")], states.Draw(rt, "state")}
			},
			"hide": func(rt *rapid.T) { delete(h.truth, keys.Draw(rt, "key")) },
			"scan": func(rt *rapid.T) {
				h.poll(h.receivers[one.Draw(rt, "receiver")], rapid.Bool().Draw(rt, "drain"))
			},
			"scan with a page lost": func(rt *rapid.T) {
				r := h.receivers[one.Draw(rt, "receiver")]
				r.hidden = map[string]bool{keys.Draw(rt, "key"): true, keys.Draw(rt, "other"): true}
				h.poll(r, rapid.Bool().Draw(rt, "drain"))
			},
			"scan that fails": func(rt *rapid.T) {
				r := h.receivers[one.Draw(rt, "receiver")]
				r.fails = true
				h.poll(r, rapid.Bool().Draw(rt, "drain"))
			},
			"restart": func(rt *rapid.T) { h.start(h.receivers[one.Draw(rt, "receiver")]) },
		})
		// One of them takes over for good, as with a lease.
		for _, r := range h.receivers {
			if err := r.road.Drain(t.Context()); err != nil {
				rt.Fatal(err)
			}
		}
		last := h.receivers[one.Draw(rt, "last")]
		h.start(last)
		for range 4 {
			h.poll(last, true)
		}
		for key, e := range h.truth {
			h.truth[key] = shown{e.container, normal(rt, e.state)}
		}
		h.check()
		_, stores := h.bus.Counts()
		appended, _ := last.road.Counts()
		for range 3 {
			h.poll(last, true)
		}
		if _, now := h.bus.Counts(); now != stores {
			rt.Fatalf("%d entries were written though nothing changed", now-stores)
		}
		if now, _ := last.road.Counts(); now != appended {
			rt.Fatalf("%d deliveries were appended though nothing changed", now-appended)
		}
	})
}

// normal is a state as it is stored.
func normal(rt *rapid.T, state string) string {
	v := jsontext.Value(state)
	if err := v.Compact(); err != nil {
		rt.Fatal(err)
	}
	if state == `"\u00fc"` {
		return `"ü"`
	}
	return string(v)
}
