package journal_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func changes(n int) (ds []handlers.Delivery, contents [][32]byte) {
	for i := range n {
		ds = append(ds, handlers.Delivery{
			Source: "feed", Platform: "test", Channel: schemas.ChannelPoll, Role: "list",
			Received: time.Now(), Changes: true, Payload: fmt.Appendf(nil, "change %d", i),
		})
		contents = append(contents, sha256.Sum256(ds[i].Payload))
	}
	return ds, contents
}

func TestAppendAllStoresAllInOrder(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c := config(t, "journal")
	j, err := journal.OpenFS(c, fs)
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	ds, contents := changes(300)
	if err := j.AppendAll(t.Context(), ds, contents); err != nil {
		t.Fatal(err)
	}
	// What a power cut leaves is all of it.
	after, err := journal.OpenFS(c, fs.CrashClone(vfs.CrashCloneCfg{}))
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, after)
	for name, j := range map[string]*journal.Journal{"running": j, "after a power cut": after} {
		entries := readAll(t, j)
		if len(entries) != len(ds) {
			t.Fatalf("%s: there are %d entries, want %d", name, len(entries), len(ds))
		}
		seen := map[string]bool{}
		for i, e := range entries {
			if string(e.Delivery.Payload) != string(ds[i].Payload) || !e.Delivery.Changes || e.Err != nil {
				t.Fatalf("%s: entry %d is %q, changes %v, %v", name, i, e.Delivery.Payload, e.Delivery.Changes, e.Err)
			}
			if e.Delivery.ID == "" || seen[e.Delivery.ID] {
				t.Fatalf("%s: the id %q of entry %d is none of its own", name, e.Delivery.ID, i)
			}
			seen[e.Delivery.ID] = true
		}
		if got := j.Stats(); got.Entries != int64(len(ds)) || got.Bytes <= 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAppendAllTakesAllOrNothing(t *testing.T) {
	c := config(t, "journal")
	c.MaxBytes = 4 << 10
	j, err := journal.OpenFS(c, vfs.NewMem())
	if err != nil {
		t.Fatal(err)
	}
	defer closeJournal(t, j)
	ds, contents := changes(100)
	if err := j.AppendAll(t.Context(), ds, contents); !errors.Is(err, journal.ErrFull) {
		t.Fatalf("more than fits: %v, want ErrFull", err)
	}
	if got := j.Stats(); got.Entries != 0 {
		t.Errorf("%d entries are there of what was refused", got.Entries)
	}
	if err := j.AppendAll(t.Context(), ds[:3], contents); err != nil {
		t.Errorf("what fits: %v", err)
	}
	if err := j.AppendAll(t.Context(), nil, nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
}
