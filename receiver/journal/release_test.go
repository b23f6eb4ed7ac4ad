package journal_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

var release = handlers.Release{Record: 300, Reason: schemas.ReasonStale, Actor: "alice", Action: "ABC", Time: arrived}

func TestReadmittedDeliveryIsTheSameAndSaysWhoReleasedIt(t *testing.T) {
	c := config(t, t.TempDir())
	j := openJournal(t, c)
	d, content := push("signed")
	d.Stale = true
	first, err := j.Append(t.Context(), d, "m-1", content)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.Read(t.Context(), 0, 10, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	for range 2 {
		if err := j.Readmit(t.Context(), entries[0].Delivery, release); err != nil {
			t.Fatal(err)
		}
	}
	if entries[0].Delivery.Release != nil {
		t.Error("the caller's delivery was changed")
	}
	if err := j.Trim(entries[0].Seq); err != nil {
		t.Fatal(err)
	}
	if oldest := j.Stats().Oldest; oldest.Before(before.Truncate(time.Millisecond)) {
		t.Errorf("it waits since %v, before it was readmitted", oldest)
	}
	closeJournal(t, j)

	j = openJournal(t, c)
	defer closeJournal(t, j)
	got, err := j.Read(t.Context(), entries[0].Seq, 10, 1<<20)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d entries, %v", len(got), err)
	}
	want := d
	want.ID, want.Release = first.ID, &release
	for _, e := range got {
		if diff := cmp.Diff(want, e.Delivery); diff != "" || e.Err != nil {
			t.Errorf("%v (-want +got):\n%s", e.Err, diff)
		}
		opened, err := c.Keys.OpenDelivery(e.Sealed)
		if diff := cmp.Diff(want, opened); diff != "" || err != nil {
			t.Errorf("sealed: %v (-want +got):\n%s", err, diff)
		}
	}
}

func TestReadmittedDeliveryClaimsNothing(t *testing.T) {
	j := openJournal(t, config(t, t.TempDir()))
	defer closeJournal(t, j)
	d, content := push("signed")
	if err := j.Readmit(t.Context(), d, release); err != nil {
		t.Fatal(err)
	}
	if r, err := j.Append(t.Context(), d, "m-1", content); err != nil || r.Outcome != journal.Accepted {
		t.Errorf("the same as a push: %v, %v", r.Outcome, err)
	}
}

func TestReadmitKeepsTheJournalsLimits(t *testing.T) {
	c := config(t, t.TempDir())
	c.MaxBytes = 200
	j := openJournal(t, c)
	d, _ := push("signed")
	var err error
	for n := 0; err == nil; n++ {
		if n > 10 {
			t.Fatal("it never gets full")
		}
		err = j.Readmit(t.Context(), d, release)
	}
	if !errors.Is(err, journal.ErrFull) {
		t.Error(err)
	}
	closeJournal(t, j)
	if err := j.Readmit(t.Context(), d, release); !errors.Is(err, journal.ErrClosed) {
		t.Error(err)
	}
}
