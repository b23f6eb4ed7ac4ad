package journal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/journal"
)

func seqs(entries []journal.Entry) []uint64 {
	list := make([]uint64, len(entries))
	for i, e := range entries {
		list[i] = e.Seq
	}
	return list
}

func TestReadingWhileOthersAppendLeavesNothingOut(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	const writers, each = 16, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				d, content := push(fmt.Sprint(w, " ", i))
				d.Source = fmt.Sprint("source-", w)
				if _, err := j.Append(t.Context(), d, fmt.Sprint(i), content); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var after uint64
	next := make(map[string]int)
	for n := 0; n < writers*each; {
		entries, err := j.Read(t.Context(), after, 7, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Seq != after+1 || e.Err != nil {
				t.Fatalf("after %d came %d, %v", after, e.Seq, e.Err)
			}
			after = e.Seq
			var w, i int
			fmt.Sscan(string(e.Delivery.Payload), &w, &i)
			if next[e.Delivery.Source] != i {
				t.Errorf("%s: got its delivery %d, want %d", e.Delivery.Source, i, next[e.Delivery.Source])
			}
			next[e.Delivery.Source]++
		}
		n += len(entries)
	}
	wg.Wait()
}

func TestWhatIsNotYetDurableIsNotRead(t *testing.T) {
	fs := &faultFS{FS: vfs.NewMem()}
	j := memJournal(t, fs)
	d, content := push("one")
	mustAppend(t, j, d, "id 1", content)
	waiting, release := fs.hold()
	defer release()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d, content := push("two")
		if _, err := j.Append(context.WithoutCancel(t.Context()), d, "id 2", content); err != nil {
			t.Error(err)
		}
	}()
	<-waiting
	if diff := cmp.Diff([]uint64{1}, seqs(readAll(t, j))); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if entries, err := j.Read(ctx, 1, 10, 1<<20); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, %v, want to wait until the context ends", seqs(entries), err)
	}
	release()
	<-done
	if diff := cmp.Diff([]uint64{1, 2}, seqs(readAll(t, j))); diff != "" {
		t.Error(diff)
	}
}

func TestReadWaitsUntilThereIsSomething(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	got := make(chan []journal.Entry)
	go func() {
		entries, err := j.Read(t.Context(), 0, 10, 1<<20)
		if err != nil {
			t.Error(err)
		}
		got <- entries
	}()
	d, content := push("one")
	mustAppend(t, j, d, "id 1", content)
	if entries := <-got; len(entries) != 1 || string(entries[0].Delivery.Payload) != "one" {
		t.Errorf("got %+v", entries)
	}
}

func TestReadWaitsBehindWhatIsTrimmed(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d, content := push("one")
	mustAppend(t, j, d, "id 1", content)
	if err := j.Trim(1); err != nil {
		t.Fatal(err)
	}
	got := make(chan []journal.Entry)
	go func() {
		entries, err := j.Read(t.Context(), 0, 10, 1<<20)
		if err != nil {
			t.Error(err)
		}
		got <- entries
	}()
	d, content = push("two")
	mustAppend(t, j, d, "id 2", content)
	if diff := cmp.Diff([]uint64{2}, seqs(<-got)); diff != "" {
		t.Error(diff)
	}
}

func TestReadEndsWhenTheJournalIsClosed(t *testing.T) {
	j, err := journal.OpenFS(config(t, "journal"), vfs.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		_, err := j.Read(context.Background(), 0, 10, 1<<20)
		got <- err
	}()
	closeJournal(t, j)
	if err := <-got; !errors.Is(err, journal.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

func TestReadKeepsToItsLimits(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	for i := range 10 {
		d, content := push(fmt.Sprintf("%01000d", i))
		mustAppend(t, j, d, fmt.Sprint(i), content)
	}
	for _, tt := range []struct {
		after      uint64
		maxEntries int
		maxBytes   int
		want       []uint64
	}{
		{0, 3, 1 << 20, []uint64{1, 2, 3}},
		{3, 100, 2500, []uint64{4, 5}},
		{3, 100, 1, []uint64{4}}, // one always fits
		{8, 100, 1 << 20, []uint64{9, 10}},
		{9, 0, 0, []uint64{10}},
	} {
		entries, err := j.Read(t.Context(), tt.after, tt.maxEntries, tt.maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, seqs(entries)); diff != "" {
			t.Errorf("Read(%d, %d, %d): %s", tt.after, tt.maxEntries, tt.maxBytes, diff)
		}
	}
}

func TestAnEntryWhoseKeyIsGoneComesWithAnError(t *testing.T) {
	c := config(t, t.TempDir())
	j := openJournal(t, c)
	d, content := push("one")
	mustAppend(t, j, d, "id 1", content)
	closeJournal(t, j)
	c.Keys = keyring(t)
	j = openJournal(t, c)
	defer closeJournal(t, j)
	entries := readAll(t, j)
	if len(entries) != 1 || !errors.Is(entries[0].Err, journal.ErrUnknownKey) || len(entries[0].Sealed) == 0 {
		t.Errorf("got %+v, want the sealed entry with ErrUnknownKey", entries)
	}
}
