package poll_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a platform with lists that a test writes, a bus, and one receiver
// whose scans the test makes.
type stage struct {
	t       *testing.T
	lists   map[string]map[string]string // state by container and key
	during  func(s handlers.Scan) error  // what a scan does besides, at its end
	bus     *polltest.Bus
	road    *polltest.Road
	pollers *poll.Pollers
	now     time.Time

	refuse  bool // what is appended goes into quarantine
	changes []handlers.Change
	facts   []string
}

func newStage(t *testing.T) *stage {
	s := &stage{
		t: t, lists: map[string]map[string]string{}, bus: polltest.NewBus(),
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
	s.road = polltest.NewRoad(s.bus, map[string]polltest.Normalize{"test": s.normalize})
	s.restart()
	return s
}

// share gives s the bus of another one.
func (s *stage) share(with *stage) {
	s.bus, s.now = with.bus, with.now
	s.road = polltest.NewRoad(s.bus, map[string]polltest.Normalize{"test": s.normalize})
	s.restart()
}

func (s *stage) restart() { s.over(s.bus) }

// over has a new receiver reach the bus over b.
func (s *stage) over(b poll.Bus) {
	s.pollers = poll.New(poll.Config{
		Journal: s.road, Relay: s.road, Bus: b, Seal: polltest.Seal, Open: polltest.Open,
		Pseudonym: func(v string) string { return fmt.Sprintf("%x", v) },
		Now:       func() time.Time { return s.now },
	})
	s.pollers.Update([]handlers.Source{{Name: "src", Platform: "test", Pollers: []handlers.Poller{
		{Name: "list", Role: "list", Owner: "me", View: "mine", Interval: time.Minute, Scan: s.scan},
	}}})
}

func (s *stage) scan(_ context.Context, scan handlers.Scan) error {
	for _, container := range slices.Sorted(maps.Keys(s.lists)) {
		for _, key := range slices.Sorted(maps.Keys(s.lists[container])) {
			state := jsontext.Value(s.lists[container][key])
			if err := scan.Saw(handlers.Sighting{Key: key, Container: container, State: state}); err != nil {
				return err
			}
		}
		if err := scan.Complete(container); err != nil {
			return err
		}
	}
	if s.during != nil {
		return s.during(scan)
	}
	return nil
}

func (s *stage) normalize(d handlers.Delivery) (handlers.Output, error) {
	if s.refuse {
		return handlers.Output{}, &handlers.UnusableError{Detail: "refused by the test"}
	}
	if !d.Changes {
		s.facts = append(s.facts, d.Role+" "+string(d.Payload))
		return handlers.Output{}, nil
	}
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, err
	}
	if d.Role != "list" || d.Owner != "me" || d.View != "mine" || d.Platform != "test" || d.Source != "src" {
		s.t.Errorf("the delivery isn't of its poller: %+v", d)
	}
	s.changes = append(s.changes, c)
	return handlers.Output{}, nil
}

// round makes a scan a minute later and returns what it told: the key with a
// sign for what became of it, and a * in bootstrap.
func (s *stage) round() string {
	s.t.Helper()
	told, err := s.try()
	if err != nil {
		s.t.Fatal(err)
	}
	return told
}

func (s *stage) try() (string, error) {
	s.t.Helper()
	s.now = s.now.Add(time.Minute)
	err := s.pollers.Once(s.t.Context(), "src/list")
	if err := s.road.Drain(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	var told []string
	for _, c := range s.changes {
		sign := "~"
		switch {
		case c.After().Absent:
			sign = "-"
		case !c.Before().Present():
			sign = "+"
		}
		text := sign + c.Key
		if c.Bootstrap {
			text += "*"
		}
		told = append(told, text)
	}
	s.changes = nil
	return strings.Join(told, " "), err
}

// expect makes a scan and compares what it told.
func (s *stage) expect(want string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.round()); diff != "" {
		s.t.Errorf("told (-want +got):\n%s", diff)
	}
}

// many fills a list with so many entities.
func (s *stage) many(container string, n int) {
	s.lists[container] = map[string]string{}
	for i := range n {
		s.lists[container][fmt.Sprintf("%s%03d", container, i)] = `1`
	}
}

// few deletes entities from a list.
func (s *stage) few(container string, from, to int) {
	for i := from; i < to; i++ {
		delete(s.lists[container], fmt.Sprintf("%s%03d", container, i))
	}
}
