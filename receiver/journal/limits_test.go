package journal_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func TestAFullJournalRefusesUntilItIsTrimmed(t *testing.T) {
	c := config(t, "journal")
	c.MaxBytes = 1000
	j, err := journal.OpenFS(c, vfs.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	accepted := 0
	for i := range 100 {
		d, content := push(fmt.Sprintf("%0150d", i))
		_, err := j.Append(t.Context(), d, fmt.Sprint(i), content)
		if errors.Is(err, journal.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		accepted++
	}
	if s := j.Stats(); accepted < 3 || accepted > 6 || s.Bytes > c.MaxBytes || s.Entries != int64(accepted) {
		t.Errorf("%d were accepted: %+v", accepted, s)
	}
	if err := j.Ready(); !errors.Is(err, journal.ErrFull) {
		t.Errorf("when one was refused: ready says %v, want ErrFull", err)
	}
	small, ofSmall := push("x")
	mustAppend(t, j, small, "small", ofSmall)
	if err := j.Ready(); err != nil {
		t.Errorf("when a smaller one was taken: %v", err)
	}
	first, ofFirst := push(fmt.Sprintf("%0150d", 0))
	for range 2 {
		if got := mustAppend(t, j, first, "0", ofFirst).Outcome; got != journal.Duplicate {
			t.Errorf("a repeat without room for it: got %v, want duplicate", got)
		}
	}
	other, ofOther := push(fmt.Sprintf("%0150d", 7))
	if _, err := j.Append(t.Context(), other, "0", ofOther); !errors.Is(err, journal.ErrFull) {
		t.Errorf("a known id with other content: got %v, want ErrFull", err)
	}
	if s := j.Stats(); s.Entries != int64(accepted)+1 {
		t.Errorf("repeats were stored: %+v", s)
	}
	if err := j.Trim(1, 2); err != nil {
		t.Fatal(err)
	}
	if err := j.Ready(); err != nil {
		t.Errorf("after a trim: %v", err)
	}
	for i := range 2 {
		d, content := push(fmt.Sprintf("%0150d", 100+i))
		mustAppend(t, j, d, fmt.Sprint(100+i), content)
	}
	d, content := push(fmt.Sprintf("%0150d", 102))
	if _, err := j.Append(t.Context(), d, "102", content); !errors.Is(err, journal.ErrFull) {
		t.Errorf("full again: got %v, want ErrFull", err)
	}
}

func TestALowDiskRefusesUntilThereIsRoom(t *testing.T) {
	fs := &faultFS{FS: vfs.NewMem()}
	fs.free.Store(1 << 30)
	c := config(t, "journal")
	c.Reserve = 1 << 20
	j, err := journal.OpenFS(c, fs)
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	d, content := push("one")
	mustAppend(t, j, d, "id 1", content)
	fs.free.Store(c.Reserve - 1)
	j.LookAtDisk()
	if err := j.Ready(); !errors.Is(err, journal.ErrDiskLow) {
		t.Errorf("Ready: got %v, want ErrDiskLow", err)
	}
	if got := mustAppend(t, j, d, "id 1", content).Outcome; got != journal.Duplicate {
		t.Errorf("a repeat: got %v, want duplicate", got)
	}
	if _, err := j.Append(t.Context(), d, "", content); !errors.Is(err, journal.ErrDiskLow) {
		t.Errorf("the same content under no id: got %v, want ErrDiskLow", err)
	}
	d, content = push("two")
	if _, err := j.Append(t.Context(), d, "id 2", content); !errors.Is(err, journal.ErrDiskLow) {
		t.Errorf("Append: got %v, want ErrDiskLow", err)
	}
	fs.free.Store(1 << 30)
	j.LookAtDisk()
	if err := j.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	if got := mustAppend(t, j, d, "id 2", content).Outcome; got != journal.Accepted {
		t.Errorf("got %v, want accepted", got)
	}
}

func TestTheReserveHoldsBetweenTwoLooksAtTheDisk(t *testing.T) {
	fs := &faultFS{FS: vfs.NewMem()}
	c := config(t, "journal")
	c.Reserve = 1 << 20
	fs.free.Store(c.Reserve + 100<<10)
	j, err := journal.OpenFS(c, fs)
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	// The disk never says that it got less, so only reckoning can stop this.
	written := 0
	for i := 0; ; i++ {
		d, content := push(string(make([]byte, 1<<10)))
		_, err := j.Append(t.Context(), d, fmt.Sprint(i), content)
		if errors.Is(err, journal.ErrDiskLow) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if written += 1 << 10; written > 2<<20 {
			t.Fatal("the reserve was used up")
		}
	}
}

func TestNothingIsTakenAfterClose(t *testing.T) {
	j, err := journal.OpenFS(config(t, "journal"), vfs.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	d, content := push("one")
	_, appendErr := j.Append(t.Context(), d, "id 1", content)
	_, readErr := j.Read(t.Context(), 0, 1, 1)
	_, _, lookupErr := j.Index().Lookup("id")
	for name, err := range map[string]error{
		"Append": appendErr, "Read": readErr, "Lookup": lookupErr, "Trim": j.Trim(1), "Ready": j.Ready(),
		"Guard": j.Guard(1, 1), "Unguard": j.Unguard(), "Close": j.Close(),
		"Apply": j.Index().Apply(schemas.StreamEvents, nil, 1),
	} {
		if !errors.Is(err, journal.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
	if s := j.Stats(); s != (journal.Stats{}) {
		t.Errorf("Stats: got %+v", s)
	}
}
