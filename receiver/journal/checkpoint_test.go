package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/journal"
)

// noted returns the files that the notes in dir are about.
func noted(t *testing.T, dir string) []string {
	t.Helper()
	notes, err := os.ReadFile(filepath.Join(dir, "synced"))
	must(t, err)
	var names []string
	for at := 0; at+64 <= len(notes); at += 64 {
		names = append(names, strings.TrimRight(string(notes[at:at+40]), "\x00"))
	}
	return names
}

// A checkpoint taken amid a load has all that was acknowledged before it, and
// takes nothing from the journal: least of all its notes of what was synced.
func TestACheckpointHasAllThatWasAcknowledgedBefore(t *testing.T) {
	dir := t.TempDir()
	c := config(t, filepath.Join(dir, "journal"))
	j := openJournal(t, c)
	for i := range 200 {
		d, content := push(fmt.Sprint("early ", i))
		mustAppend(t, j, d, fmt.Sprint("m", i), content)
	}
	must(t, j.Trim(1, 2, 3))
	must(t, j.Flush())
	before := noted(t, c.Dir)

	stop := make(chan struct{})
	var load sync.WaitGroup
	load.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			d, content := push(fmt.Sprint("late ", i))
			if _, err := j.Append(t.Context(), d, fmt.Sprint("l", i), content); err != nil {
				t.Error(err)
				return
			}
		}
	})
	at := filepath.Join(dir, "copy")
	must(t, j.Checkpoint(at))
	close(stop)
	load.Wait()
	if diff := cmp.Diff(before, noted(t, c.Dir)); diff != "" {
		t.Errorf("the notes of the journal are about other files (-before +after):\n%s", diff)
	}
	if err := j.Checkpoint(at); err == nil {
		t.Error("a second one to the same place did not fail")
	}
	closeJournal(t, j)
	if err := j.Checkpoint(at + "2"); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("of a closed journal: %v, want ErrClosed", err)
	}

	c.Dir = at
	copied := openJournal(t, c)
	defer closeJournal(t, copied)
	early := map[string]bool{}
	for _, e := range readAll(t, copied) {
		must(t, e.Err)
		if strings.HasPrefix(string(e.Delivery.Payload), "early ") {
			early[string(e.Delivery.Payload)] = true
		}
	}
	if len(early) != 197 {
		t.Errorf("it has %d of 197 entries", len(early))
	}
	d, content := push("early 7")
	if r := mustAppend(t, copied, d, "m7", content); r.Outcome != journal.Duplicate {
		t.Errorf("a repeat is %v, want a duplicate", r.Outcome)
	}
	c.Dir = filepath.Join(dir, "journal")
	closeJournal(t, openJournal(t, c))
}
