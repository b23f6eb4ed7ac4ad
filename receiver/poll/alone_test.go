package poll_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
)

func TestWhatIsSeenAloneCountsAndKeepsItsContainer(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`, "b": `1`}
	s.expect("+a* +b*")
	all := s.lists
	s.lists = map[string]map[string]string{}
	s.during = func(scan handlers.Scan) error {
		return errors.Join(
			scan.Saw(handlers.Sighting{Key: "a", Container: "other", Alone: true, State: jsontext.Value(`2`)}),
			scan.Saw(handlers.Sighting{Key: "c", Container: "n", Alone: true, State: jsontext.Value(`1`)}),
			scan.Saw(handlers.Sighting{Key: "d", Container: "n", State: jsontext.Value(`1`)}), // in a list that was not complete
		)
	}
	s.expect("~a +c")
	s.expect("")
	// They are members of the list as others are.
	s.during, s.lists = nil, all
	s.lists["n"] = map[string]string{"b": `1`}
	s.expect("")
	s.expect("-a -c")
}

// sides are two pollers of different roles, and notes of what they told: whose
// part of which entity became what, and the view.
type sides struct {
	t       *testing.T
	now     time.Time
	bus     *polltest.Bus
	road    *polltest.Road
	pollers *poll.Pollers
	scans   map[string]func(handlers.Scan) error
	told    []string
}

func newSides(t *testing.T) *sides {
	s := &sides{
		t: t, bus: polltest.NewBus(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		scans: map[string]func(handlers.Scan) error{},
	}
	s.road = polltest.NewRoad(s.bus, map[string]polltest.Normalize{"test": func(d handlers.Delivery) (handlers.Output, error) {
		c, err := handlers.DecodeChange(d.Payload)
		if err == nil && d.Role != c.Role {
			t.Errorf("the delivery is of %s and the change of %s", d.Role, c.Role)
		}
		s.told = append(s.told, d.Role+":"+c.Key+"="+string(c.After().State)+" "+d.View)
		return handlers.Output{}, err
	}})
	s.pollers = poll.New(poll.Config{
		Journal: s.road, Relay: s.road, Bus: s.bus, Seal: polltest.Seal, Open: polltest.Open,
		Pseudonym: func(v string) string { return v }, Now: func() time.Time { return s.now },
	})
	var specs []handlers.Poller
	for _, role := range []string{"one", "two"} {
		scan := func(_ context.Context, scan handlers.Scan) error { return s.scans[role](scan) }
		specs = append(specs, handlers.Poller{Name: role, Role: role, View: "plain", Interval: time.Hour, Scan: scan})
	}
	s.pollers.Update([]handlers.Source{{Name: "src", Platform: "test", Pollers: specs}})
	return s
}

func (s *sides) round(role string) []string {
	s.t.Helper()
	s.now = s.now.Add(time.Minute)
	if err := errors.Join(s.pollers.Once(s.t.Context(), "src/"+role), s.road.Drain(s.t.Context())); err != nil {
		s.t.Fatal(err)
	}
	told := s.told
	s.told = nil
	return told
}

func TestASightingIsOfTheRoleAndViewThatItSays(t *testing.T) {
	s := newSides(t)
	s.scans["one"] = func(scan handlers.Scan) error {
		return errors.Join(
			scan.Saw(handlers.Sighting{Key: "a", Role: "two", View: "special", Alone: true, State: jsontext.Value(`1`)}),
			scan.Saw(handlers.Sighting{Key: "a", State: jsontext.Value(`5`)}),
		)
	}
	if diff := cmp.Diff([]string{"one:a=5 plain"}, s.round("one")); diff != "" {
		t.Errorf("two changes of one entity hold at once (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"two:a=1 special"}, s.round("one")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if told := s.round("one"); told != nil {
		t.Errorf("told again: %v", told)
	}
	// Who has that role knows it.
	s.scans["two"] = func(scan handlers.Scan) error {
		return scan.Saw(handlers.Sighting{Key: "a", State: jsontext.Value(`1`)})
	}
	if told := s.round("two"); told != nil {
		t.Errorf("told again: %v", told)
	}
	s.scans["two"] = func(scan handlers.Scan) error {
		return scan.Saw(handlers.Sighting{Key: "a", Role: "one", Container: "n", State: jsontext.Value(`1`)})
	}
	if err := s.pollers.Once(t.Context(), "src/two"); err == nil {
		t.Error("a list of another role can be completed by nobody")
	}
}

// A scan that takes long may have seen an entity before somebody else did.
func TestWhatOthersSawMeanwhileIsNotToldBack(t *testing.T) {
	s := newSides(t)
	say := func(state string) func(handlers.Scan) error {
		return func(scan handlers.Scan) error {
			return scan.Saw(handlers.Sighting{Key: "a", State: jsontext.Value(state)})
		}
	}
	s.scans["one"] = say(`1`)
	s.round("one")
	s.scans["one"] = func(scan handlers.Scan) error {
		err := say(`1`)(scan)
		// It is seen as 2, while the scan goes on and sees it as it was.
		s.scans["two"] = func(scan handlers.Scan) error {
			return scan.Saw(handlers.Sighting{Key: "a", Role: "one", Alone: true, State: jsontext.Value(`2`)})
		}
		if diff := cmp.Diff([]string{"one:a=2 plain"}, s.round("two")); diff != "" {
			t.Error(diff)
		}
		return errors.Join(err, say(`3`)(scan))
	}
	if told := s.round("one"); told != nil {
		t.Errorf("told: %v", told)
	}
	s.scans["one"] = say(`3`)
	if diff := cmp.Diff([]string{"one:a=3 plain"}, s.round("one")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A book that was filled before others changed the entry doesn't mislead.
	s.round("one")
	s.scans["two"] = func(scan handlers.Scan) error {
		return scan.Saw(handlers.Sighting{Key: "a", Role: "one", Alone: true, State: jsontext.Value(`4`)})
	}
	s.round("two")
	if diff := cmp.Diff([]string{"one:a=3 plain"}, s.round("one")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
