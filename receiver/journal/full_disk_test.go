package journal_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
)

func TestADiskThatIsFullLosesNothingAndRecoversByItself(t *testing.T) {
	fs := &faultFS{FS: vfs.NewMem()}
	fs.free.Store(1 << 30)
	c := config(t, "journal")
	c.Reserve = 1 << 20
	j, err := journal.OpenFS(c, fs)
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	known, ofKnown := push("zero")
	mustAppend(t, j, known, "id 0", ofKnown)
	if err := j.Trim(1); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		var full atomic.Bool
		full.Store(true)
		met := make(chan struct{}, 100)
		fs.onWrite(func(name string) error {
			if !full.Load() {
				return nil
			}
			if isLog(name) {
				met <- struct{}{}
			}
			return syscall.ENOSPC
		})
		d, content := push(fmt.Sprint("one ", round))
		first := make(chan error, 1)
		go func() {
			_, err := j.Append(backgroundContext, d, fmt.Sprint("first ", round), content)
			first <- err
		}()
		<-met
		fs.free.Store(4096)
		deadline := time.After(5 * time.Second)
		for !errors.Is(j.Ready(), journal.ErrDiskLow) {
			select {
			case <-deadline:
				t.Fatal("a full disk is not noticed")
			case <-time.After(time.Millisecond):
			}
		}
		d2, content2 := push("two")
		if _, err := j.Append(t.Context(), d2, "id 2", content2); !errors.Is(err, journal.ErrDiskLow) {
			t.Errorf("while the disk is full: got %v, want ErrDiskLow", err)
		}
		if got := mustAppend(t, j, known, "id 0", ofKnown).Outcome; got != journal.Duplicate {
			t.Errorf("a repeat of what is safe: got %v, want duplicate", got)
		}
		if _, err := j.Append(t.Context(), d, fmt.Sprint("first ", round), content); !errors.Is(err, journal.ErrDiskLow) {
			t.Errorf("a repeat of what is not yet safe: got %v, want ErrDiskLow", err)
		}
		select {
		case err := <-first:
			t.Errorf("what met the full disk was answered: %v", err)
		case <-time.After(400 * time.Millisecond): // it has looked at the disk again by now
		}
		// A quota lets nothing be written although the disk has room.
		fs.free.Store(1 << 30)
		select {
		case err := <-first:
			t.Errorf("what met the full disk was answered: %v", err)
		case <-time.After(400 * time.Millisecond):
		}
		full.Store(false)
		if err := <-first; err != nil {
			t.Errorf("what met the full disk: %v", err)
		}
		deadline = time.After(5 * time.Second)
		for j.Ready() != nil {
			select {
			case <-deadline:
				t.Fatal("it never recovered")
			case <-time.After(time.Millisecond):
			}
		}
		fs.onWrite(nil)
		if got := readAll(t, j); len(got) != round+1 || got[0].Err != nil {
			t.Errorf("got %d entries", len(got))
		}
	}
}
