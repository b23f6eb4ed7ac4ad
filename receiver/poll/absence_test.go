package poll_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
)

func TestAbsenceIsBelievedAfterTwoCompleteScans(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`, "b": `1`}
	s.expect("+a* +b*")
	delete(s.lists["n"], "b")
	s.expect("")
	s.lists["n"]["b"] = `1`
	s.expect("")
	delete(s.lists["n"], "b")
	s.expect("")
	// A list that was not complete says nothing.
	all := s.lists
	s.lists = map[string]map[string]string{}
	s.expect("")
	s.expect("")
	s.lists = all
	s.expect("-b")
	s.expect("")
	s.lists["n"]["b"] = `1`
	s.expect("+b")
	s.expect("")
}

func TestWhatIsNotAskedForIsNotAbsent(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`}
	s.lists["o"] = map[string]string{"b": `1`}
	s.expect("+a* +b*")
	delete(s.lists, "o")
	for range 4 {
		s.expect("")
	}
	s.restart()
	for range 4 {
		s.expect("")
	}
}

func TestAChangeSaysWhenItWas(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`}
	var told []handlers.Change
	round := func() {
		t.Helper()
		s.now = s.now.Add(time.Minute)
		if err := errors.Join(s.pollers.Once(t.Context(), "src/list"), s.road.Drain(t.Context())); err != nil {
			t.Fatal(err)
		}
		told, s.changes = s.changes, nil
	}
	between := func(from, to time.Time) {
		t.Helper()
		if len(told) != 1 {
			t.Fatalf("%d changes were told", len(told))
		}
		if got := told[0]; !got.From.Equal(from) || !got.To.Equal(to) {
			t.Errorf("told between %s and %s, want %s and %s", got.From, got.To, from, to)
		}
	}
	start := s.now
	minute := func(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }
	round()
	between(time.Time{}, minute(1))
	round()
	round()
	s.lists["n"]["a"] = `2`
	round()
	between(minute(3), minute(4))
	// After a start nobody knows when it was seen last, but when it was first.
	round()
	s.restart()
	s.lists["n"]["a"] = `3`
	round()
	between(minute(4), minute(6))
	delete(s.lists["n"], "a")
	round()
	round()
	between(minute(6), minute(8))
	s.lists["n"]["b"] = `1`
	round()
	between(minute(8), minute(9))
}

func TestAListThatShrankIsBelievedAfterThreeThatAgree(t *testing.T) {
	s := newStage(t)
	s.many("n", 60)
	s.round()
	s.few("n", 0, 15)
	s.expect("")
	s.expect("")
	s.lists["n"]["n030"] = `2` // what it shows is believed all the same
	s.expect("~n030 " + minus("n", 15))
	s.expect("")

	// Another answer begins anew, and the whole list ends it.
	s.many("m", 60)
	s.round()
	s.few("m", 0, 15)
	s.expect("")
	s.expect("")
	s.few("m", 15, 16)
	s.expect("")
	s.expect("")
	s.many("m", 60)
	s.expect("")
	s.few("m", 0, 16)
	s.expect("")
	s.expect("")
	s.expect(minus("m", 16))
}

func TestASmallerShrinkIsBelievedAfterTwo(t *testing.T) {
	s := newStage(t)
	s.many("n", 60)
	s.many("m", 50)
	s.round()
	s.few("n", 0, 12) // 20 %
	s.few("m", 0, 50) // of no more than 50
	s.expect("")
	s.expect(minus("m", 50) + " " + minus("n", 12))
}

// minus is what is told when the first n entities of a list are absent.
func minus(container string, n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, "-"+container+string([]byte{'0', byte('0' + i/10), byte('0' + i%10)}))
	}
	return strings.Join(keys, " ")
}

func TestAPollerHearsWhatIsMissingAndSaysWhy(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`, "b": `1`, "c": `1`}
	s.round()
	delete(s.lists["n"], "b")
	s.lists["n"]["c"] = `2`
	var missing []string
	s.during = func(scan handlers.Scan) error {
		missing = nil
		return scan.Missing("n", func(key string) error {
			missing = append(missing, key)
			return scan.Missed(key, jsontext.Value(`{"status": 404}`))
		})
	}
	s.expect("~c")
	if diff := cmp.Diff([]string{"b"}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	s.expect("-b")
	s.during = func(scan handlers.Scan) error {
		r, err := scan.Record(t.Context(), "b")
		if err != nil {
			return err
		}
		if p := r.Parts["list"]; !p.Absent || string(p.Evidence) != `{"status":404}` || string(p.State) != `1` || r.Revision != 2 || r.Key != "b" {
			t.Errorf("the record is %+v", r)
		}
		keys := map[string]bool{}
		err = scan.Records(t.Context(), "list", func(key string, _ handlers.Record) error {
			keys[key] = true
			return nil
		})
		if diff := cmp.Diff(map[string]bool{"a": true, "b": true, "c": true}, keys); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		return errors.Join(err, scan.Missing("n", func(key string) error {
			t.Errorf("%s is missing, though it is known to be absent", key)
			return nil
		}))
	}
	s.expect("")
}

// What was shown in a list that was not read to its end doesn't count, but it
// was not missed either.
func TestWhatIsShownInAnUnfinishedListIsNotMissed(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`, "b": `1`}
	s.round()
	delete(s.lists["n"], "b")
	s.expect("")
	all := s.lists
	for _, state := range []string{`1`, `2`} {
		s.lists = map[string]map[string]string{}
		s.during = func(scan handlers.Scan) error {
			return scan.Saw(handlers.Sighting{Key: "b", Container: "n", State: jsontext.Value(state)})
		}
		s.expect("")
		s.lists, s.during = all, nil
		s.expect("")
	}
	s.expect("-b")
}

// Who missed an entity that somebody else has told of since misses it anew.
func TestAbsenceIsOfWhatTheBusHas(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `1`, "b": `1`}
	s.round()
	s.round()
	other := newStage(t)
	other.share(s)
	other.lists["n"] = map[string]string{"a": `1`, "b": `2`}
	delete(s.lists["n"], "b")
	s.expect("")
	other.expect("~b")
	s.expect("")
	s.expect("-b")
}
