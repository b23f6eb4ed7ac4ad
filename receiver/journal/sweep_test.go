package journal_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
)

// claims counts what is kept of claims and conflicts.
func claims(t *testing.T, j *journal.Journal) int {
	t.Helper()
	it, err := j.Engine().NewIter(&pebble.IterOptions{LowerBound: []byte("c"), UpperBound: []byte("e")})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}

func TestAClaimHolds31Days(t *testing.T) {
	for _, filled := range []bool{false, true} {
		m := newMortal(t, 0)
		d, content := push("one")
		other, otherContent := push("two")
		mustAppend(t, m.Journal, d, "id 1", content)
		mustAppend(t, m.Journal, other, "id 1", otherContent)
		if filled {
			m.WaitForFilters()
		}
		d.Received, other.Received = arrived.Add(journal.ClaimLife), arrived.Add(journal.ClaimLife)
		if got := mustAppend(t, m.Journal, d, "id 1", content).Outcome; got != journal.Duplicate {
			t.Errorf("on its last day: %v", got)
		}
		if got := mustAppend(t, m.Journal, other, "id 1", otherContent).Outcome; got != journal.Duplicate {
			t.Errorf("a conflict on its last day: %v", got)
		}
		d.Received = d.Received.Add(time.Second)
		if got := mustAppend(t, m.Journal, d, "id 1", content).Outcome; got != journal.Accepted {
			t.Errorf("afterwards: %v", got)
		}
		if got := mustAppend(t, m.Journal, d, "id 1", content).Outcome; got != journal.Duplicate {
			t.Errorf("claimed again: %v", got)
		}
		d.Received = arrived.Add(-time.Hour) // a clock that goes back
		if got := mustAppend(t, m.Journal, d, "id 1", content).Outcome; got != journal.Duplicate {
			t.Errorf("an hour earlier: %v", got)
		}
		closeJournal(t, m.Journal)
	}
}

func TestOldClaimsAreSweptAFewAtATime(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	const old, young = 40, 25
	for i := range old + young {
		d, content := push(fmt.Sprint(i))
		if i >= old {
			d.Received = arrived.Add(24 * time.Hour)
		}
		mustAppend(t, j, d, fmt.Sprint("id ", i/2), content) // every second one is a conflict
	}
	now := arrived.Add(journal.ClaimLife + time.Hour)
	before := claims(t, j)
	must(t, j.Sweep(now, 10))
	if after := claims(t, j); before != old+young || after < before-10 {
		t.Errorf("%d claims, %d after looking at 10", before, after)
	}
	for range 10 {
		must(t, j.Sweep(now, 10))
	}
	if got := claims(t, j); got != young {
		t.Errorf("%d claims are left, want %d", got, young)
	}
	for i := old; i < old+young; i++ {
		d, content := push(fmt.Sprint(i))
		d.Received = now
		if got := mustAppend(t, j, d, fmt.Sprint("id ", i/2), content).Outcome; got != journal.Duplicate {
			t.Errorf("delivery %d: %v", i, got)
		}
	}
}

func TestSweepingNeverTakesAClaimThatIsMadeAnew(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	const ids = 30
	d, content := push("one")
	for i := range ids {
		mustAppend(t, j, d, fmt.Sprint(i), content)
	}
	now := arrived.Add(journal.ClaimLife + time.Hour)
	d.Received = now
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 50 {
			// Each round begins an hour later, when the next may begin.
			if err := j.Sweep(now.Add(time.Duration(i)*time.Hour), 1000); err != nil {
				t.Error(err)
			}
		}
	})
	for _, i := range rand.Perm(ids) {
		if got := mustAppend(t, j, d, fmt.Sprint(i), content).Outcome; got != journal.Accepted {
			t.Errorf("id %d: %v", i, got)
		}
	}
	wg.Wait()
	for i := range ids {
		if got := mustAppend(t, j, d, fmt.Sprint(i), content).Outcome; got != journal.Duplicate {
			t.Errorf("id %d again: %v", i, got)
		}
	}
}

func TestSweepingLeavesAClaimThatWasJustMadeAnew(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d, content := push("one")
	mustAppend(t, j, d, "id 1", content)
	mustAppend(t, j, d, "id 2", content)
	now := arrived.Add(journal.ClaimLife + time.Hour)
	d.Received = now
	must(t, j.SweepAround(now, func() { mustAppend(t, j, d, "id 1", content) }))
	if got := claims(t, j); got != 1 {
		t.Errorf("%d claims are left, want 1", got)
	}
	if got := mustAppend(t, j, d, "id 1", content).Outcome; got != journal.Duplicate {
		t.Errorf("got %v, want duplicate", got)
	}
}
