package poll_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

func TestTheFirstCompleteScanOfAListIsBootstrap(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`}
	s.lists["empty"] = map[string]string{}
	s.lists[""] = map[string]string{"loose": `1`}
	s.expect("+loose +a*")
	s.lists["n"]["b"] = `1`
	s.lists["empty"]["c"] = `1`
	s.lists["o"] = map[string]string{"d": `1`}
	s.expect("+c +b +d*")
	s.restart()
	s.lists["o"]["e"] = `1`
	s.expect("+e")
}

// What is lost on the way before it is told is found again, and is bootstrap
// as long as not everything was told.
func TestABootstrapThatBreaksOffGoesOn(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`, "b": `1`}
	s.now = s.now.Add(time.Minute)
	if err := s.pollers.Once(t.Context(), "src/list"); err != nil {
		t.Fatal(err)
	}
	s.road.Forget()
	s.restart()
	s.expect("+a* +b*")
	s.lists["n"]["c"] = `1`
	s.expect("+c")
}

func TestALostBucketIsTheBeginningOfAnotherGeneration(t *testing.T) {
	for name, lost := range map[string][]string{"both": nil, "states": {schemas.BucketState}} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.lists["n"] = map[string]string{"a": `1`}
			s.round()
			s.round()
			generations := map[string]bool{}
			for range 2 {
				s.now = s.now.Add(time.Minute)
				s.bus.Lose(s.now, lost...)
				if err := errors.Join(s.pollers.Once(t.Context(), "src/list"), s.road.Drain(t.Context())); err != nil {
					t.Fatal(err)
				}
				if len(s.changes) != 1 || !s.changes[0].Bootstrap || s.changes[0].Current.Revision != 1 {
					t.Fatalf("told %+v", s.changes)
				}
				generations[s.changes[0].Generation] = true
				s.changes = nil
			}
			if len(generations) != 2 || generations[""] {
				t.Errorf("the generations are %v", generations)
			}
		})
	}
}

// A change that went into quarantine is not put there again every minute.
func TestWhatCanNotBeToldIsTriedAgainAfterAnHour(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`}
	s.refuse = true
	for range 30 {
		s.round()
	}
	_, _, refused := s.road.Take()
	if len(refused) != 1 {
		t.Errorf("it was tried %d times in half an hour", len(refused))
	}
	for range 40 {
		s.round()
	}
	if _, _, refused = s.road.Take(); len(refused) != 1 {
		t.Errorf("it was tried %d times in the next 40 minutes", len(refused))
	}
	// What is different by now is told at once.
	s.refuse = false
	s.expect("")
	s.lists["n"]["a"] = `2`
	s.expect("+a")
}

func TestACursorAdvancesBehindWhatWasToldAndNotIfTheScanFails(t *testing.T) {
	s := newStage(t)
	var had []string
	failure, next := error(nil), `{"at":1}`
	s.during = func(scan handlers.Scan) error {
		c, err := scan.Cursor(t.Context())
		if err != nil {
			return err
		}
		had = append(had, string(c))
		fact := handlers.Fact{Role: "row", TransportID: next, Content: [32]byte{1}, Payload: []byte(next)}
		if err := scan.Tell(fact); err != nil {
			return err
		}
		if err := scan.Advance(jsontext.Value(next)); err != nil {
			return err
		}
		waiting := s.road.Waiting()
		if n := len(waiting); n > 0 && waiting[n-1].Changes {
			t.Error("the cursor is appended before the scan has ended")
		}
		return failure
	}
	s.round()
	failure, next = errors.New("cut"), `{"at":2}`
	if _, err := s.try(); err == nil {
		t.Error("a scan that failed did not")
	}
	failure, next = nil, `{"at":3}`
	s.round()
	s.restart()
	_, stores := s.bus.Counts()
	s.round()
	if _, now := s.bus.Counts(); now != stores {
		t.Error("a cursor was written that was there")
	}
	if diff := cmp.Diff([]string{"", `{"at":1}`, `{"at":1}`, `{"at":3}`}, had); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{`row {"at":1}`, `row {"at":2}`, `row {"at":3}`}, s.facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}

func TestAListThatMovesShowsAnEntityTwice(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`, "b": `1`}
	s.round()
	saw := func(state string) func(handlers.Scan) error {
		return func(scan handlers.Scan) error {
			return scan.Saw(handlers.Sighting{Key: "a", Container: "n", State: jsontext.Value(state)})
		}
	}
	s.during = saw(`1`)
	s.expect("")
	s.during = saw(`2`)
	s.expect("~a")
	s.lists["n"]["a"] = `3`
	s.expect("")
	s.during = nil
	s.expect("~a")
}

func TestAnEntityInTwoListsStaysWhereItIsKnown(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`}
	s.lists["m"] = map[string]string{"a": `1`}
	s.expect("+a*")
	for range 3 {
		s.expect("")
	}
	delete(s.lists["m"], "a")
	s.expect("~a") // it is in the other list now
	s.expect("")
	s.expect("")
}

func TestAStateThatIsNoJSONFailsTheScan(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `{"secret"`}
	if _, err := s.try(); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got the error %v", err)
	}
}

func TestABusThatIsAwayChangesNothing(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`}
	s.round()
	s.lists["n"]["a"] = `2`
	away := errors.New("away")
	s.bus.Fail(away)
	s.now = s.now.Add(time.Minute)
	if err := s.pollers.Once(t.Context(), "src/list"); !errors.Is(err, away) {
		t.Errorf("got the error %v", err)
	}
	s.bus.Fail(nil)
	s.road.Fail(away)
	if _, err := s.try(); !errors.Is(err, away) {
		t.Errorf("got the error %v", err)
	}
	s.road.Fail(nil)
	s.expect("~a")
}

// What couldn't be appended when it was first seen was not there before that
// scan, and isn't said to be newer when it can be.
func TestAChangeThatWaitedBeganBeforeItWasSeen(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`}
	s.round()
	s.expect("")
	before := s.now
	s.lists["n"]["b"] = `1`
	s.road.Fail(errors.New("full"))
	if _, err := s.try(); err == nil {
		t.Fatal("it was appended")
	}
	s.road.Fail(nil)
	s.now = s.now.Add(time.Minute)
	if err := s.pollers.Once(t.Context(), "src/list"); err != nil {
		t.Fatal(err)
	}
	if err := s.road.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.changes) != 1 || !s.changes[0].From.Equal(before) || !s.changes[0].To.Equal(s.now) {
		t.Errorf("told %+v, want from %s to %s", s.changes, before, s.now)
	}
}
