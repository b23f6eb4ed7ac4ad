package journal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

var backgroundContext = context.Background()

// memJournal opens a journal in memory, which is closed with the test.
func memJournal(t *testing.T, fs vfs.FS) *journal.Journal {
	t.Helper()
	j, err := journal.OpenFS(config(t, "journal"), fs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeJournal(t, j) })
	return j
}

func mustAppend(t *testing.T, j *journal.Journal, d handlers.Delivery, transportID string, content [32]byte) journal.Receipt {
	t.Helper()
	r, err := j.Append(t.Context(), d, transportID, content)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// readAll returns what is in the journal, which must not be empty.
func readAll(t *testing.T, j *journal.Journal) []journal.Entry {
	t.Helper()
	var all []journal.Entry
	for int64(len(all)) < j.Stats().Entries {
		var after uint64
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		entries, err := j.Read(t.Context(), after, 100, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entries...)
	}
	return all
}

func TestAnEntryHoldsTheWholeDelivery(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d := handlers.Delivery{
		Source: "alpha", Platform: "corastone", Channel: schemas.ChannelPush, Role: "notification",
		Owner: "17", View: "full", Received: arrived, Sent: arrived.Add(-time.Minute), Stale: true,
		Payload: []byte(`{"a":1}`),
		ID:      "overwritten", Conflict: true,
	}
	r := mustAppend(t, j, d, "id 1", sha256.Sum256(d.Payload))
	want := d
	want.ID, want.Conflict = r.ID, false
	got := readAll(t, j)
	if len(got) != 1 || got[0].Err != nil {
		t.Fatalf("got %+v", got)
	}
	if diff := cmp.Diff(want, got[0].Delivery); diff != "" {
		t.Error(diff)
	}
}

func TestARepeatIsADuplicateAndStoredOnce(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d, content := push("one")
	first := mustAppend(t, j, d, "id 1", content)
	if first.Outcome != journal.Accepted || len(first.ID) != 32 {
		t.Errorf("got %+v, want an id of 32 digits, accepted", first)
	}
	d.Received = d.Received.Add(time.Hour)
	d.Payload = []byte("the same, as far as it is authenticated")
	want := journal.Receipt{ID: first.ID, Outcome: journal.Duplicate}
	if got := mustAppend(t, j, d, "id 1", content); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := readAll(t, j); len(got) != 1 || string(got[0].Delivery.Payload) != "one" {
		t.Errorf("got %+v, want the first alone", got)
	}
}

func TestARepeatIsADuplicateAfterItWasTrimmedAndTheJournalReopened(t *testing.T) {
	c := config(t, t.TempDir())
	j := openJournal(t, c)
	d, content := push("one")
	first := mustAppend(t, j, d, "id 1", content)
	if err := j.Trim(1); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	j = openJournal(t, c)
	defer closeJournal(t, j)
	want := journal.Receipt{ID: first.ID, Outcome: journal.Duplicate}
	if got := mustAppend(t, j, d, "id 1", content); got != want {
		t.Errorf("before the filters are filled: got %+v, want %+v", got, want)
	}
	j.WaitForFilters()
	if got := mustAppend(t, j, d, "id 1", content); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOtherContentUnderAKnownTransportIDIsAConflictAndStoredOnce(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d1, c1 := push("one")
	d2, c2 := push("two")
	d3, c3 := push("three")
	first := mustAppend(t, j, d1, "id 1", c1)
	second := mustAppend(t, j, d2, "id 1", c2)
	third := mustAppend(t, j, d3, "id 1", c3)
	if second.Outcome != journal.Conflict || third.Outcome != journal.Conflict {
		t.Errorf("got %v and %v, want conflicts", second.Outcome, third.Outcome)
	}
	if second.ID == first.ID || third.ID == first.ID || third.ID == second.ID {
		t.Error("deliveries share an id")
	}
	for _, r := range []struct {
		d    handlers.Delivery
		c    [32]byte
		want string
	}{{d1, c1, first.ID}, {d2, c2, second.ID}, {d3, c3, third.ID}} {
		want := journal.Receipt{ID: r.want, Outcome: journal.Duplicate}
		if got := mustAppend(t, j, r.d, "id 1", r.c); got != want {
			t.Errorf("repeat: got %+v, want %+v", got, want)
		}
	}
	var flags []bool
	for _, e := range readAll(t, j) {
		flags = append(flags, e.Delivery.Conflict)
	}
	if diff := cmp.Diff([]bool{false, true, true}, flags); diff != "" {
		t.Errorf("conflict flags: %s", diff)
	}
}

func TestSourcesDontShareClaims(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d, content := push("one")
	a := mustAppend(t, j, d, "id 1", content)
	d.Source = "beta"
	b := mustAppend(t, j, d, "id 1", content)
	if a.Outcome != journal.Accepted || b.Outcome != journal.Accepted || a.ID == b.ID {
		t.Errorf("got %+v and %+v, want two accepted", a, b)
	}
}

func TestTheIDIsTheSameOnEveryReceiver(t *testing.T) {
	d, content := push("one")
	a := mustAppend(t, memJournal(t, vfs.NewMem()), d, "id 1", content)
	other, _ := push("another body with the same authenticated part")
	other.Received = arrived.Add(time.Minute)
	b := mustAppend(t, memJournal(t, vfs.NewMem()), other, "id 1", content)
	if a.ID != b.ID {
		t.Errorf("got %s and %s", a.ID, b.ID)
	}
	if a.ID != "08cb867e9a3bc3cba474be01540925e7" {
		t.Errorf("got %s: an id that changes between versions makes every repeat new", a.ID)
	}
}

func TestAPushWithoutTransportIDClaimsItsContent(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d1, c1 := push("one")
	d2, c2 := push("two")
	var got []journal.Outcome
	got = append(got, mustAppend(t, j, d1, "", c1).Outcome, mustAppend(t, j, d2, "", c2).Outcome, mustAppend(t, j, d1, "", c1).Outcome)
	want := []journal.Outcome{journal.Accepted, journal.Accepted, journal.Duplicate}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPolledDeliveryWithoutTransportIDClaimsNothing(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d, content := push("one")
	d.Channel = schemas.ChannelPoll
	for range 3 {
		if got := mustAppend(t, j, d, "", content).Outcome; got != journal.Accepted {
			t.Errorf("got %v, want accepted", got)
		}
	}
	if n := j.Stats().Entries; n != 3 {
		t.Errorf("%d entries, want 3", n)
	}
}

func TestAPolledDeliveryIsNeverAConflict(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	d1, c1 := push("one")
	d2, c2 := push("two")
	d1.Channel, d2.Channel = schemas.ChannelPoll, schemas.ChannelPoll
	var got []journal.Outcome
	for _, r := range []struct {
		d handlers.Delivery
		c [32]byte
	}{{d1, c1}, {d1, c1}, {d2, c2}, {d2, c2}} {
		got = append(got, mustAppend(t, j, r.d, "row 1", r.c).Outcome)
	}
	want := []journal.Outcome{journal.Accepted, journal.Duplicate, journal.Accepted, journal.Duplicate}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, e := range readAll(t, j) {
		if e.Delivery.Conflict {
			t.Errorf("entry %d is marked as a conflict", e.Seq)
		}
	}
}

func TestConcurrentRepeatsStoreOne(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	const ids, repeats = 20, 16
	outcomes := make([][]journal.Outcome, ids)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range repeats {
		for i := range ids {
			wg.Go(func() {
				d, content := push(fmt.Sprint("payload ", i))
				r, err := j.Append(t.Context(), d, fmt.Sprint("id ", i), content)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				outcomes[i] = append(outcomes[i], r.Outcome)
			})
		}
	}
	wg.Wait()
	for i, got := range outcomes {
		accepted := 0
		for _, o := range got {
			switch o {
			case journal.Accepted:
				accepted++
			case journal.Duplicate:
			default:
				t.Errorf("id %d: %v", i, o)
			}
		}
		if accepted != 1 {
			t.Errorf("id %d was accepted %d times", i, accepted)
		}
	}
	if n := j.Stats().Entries; n != ids {
		t.Errorf("%d entries, want %d", n, ids)
	}
}

func TestARepeatIsNotAnsweredBeforeTheFirstIsDurable(t *testing.T) {
	fs := &faultFS{FS: vfs.NewMem()}
	j := memJournal(t, fs)
	waiting, release := fs.hold()
	defer release()
	d, content := push("one")
	results := make(chan journal.Receipt, 2)
	add := func() {
		r, err := j.Append(t.Context(), d, "id 1", content)
		if err != nil {
			t.Error(err)
		}
		results <- r
	}
	go add()
	<-waiting
	go add()
	select {
	case r := <-results:
		t.Errorf("%+v was answered before a sync", r)
	case <-time.After(50 * time.Millisecond):
	}
	release()
	got := map[journal.Outcome]int{(<-results).Outcome: 1}
	got[(<-results).Outcome]++
	if want := (map[journal.Outcome]int{journal.Accepted: 1, journal.Duplicate: 1}); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestARepeatThatWaitsEndsWithItsContext(t *testing.T) {
	fs := &faultFS{FS: vfs.NewMem()}
	j := memJournal(t, fs)
	waiting, release := fs.hold()
	d, content := push("one")
	first := make(chan error, 1)
	go func() {
		_, err := j.Append(t.Context(), d, "id 1", content)
		first <- err
	}()
	<-waiting
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Append(ctx, d, "id 1", content); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	release()
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// Pebble treats a batch that is larger than half a memtable in a way of its
// own.
func TestALargeDeliveryIsKeptLikeAnyOther(t *testing.T) {
	m := newMortal(t, 1)
	d, content := push("")
	d.Payload = randomBytes(6 << 20)
	mustAppend(t, m.Journal, d, "large", content)
	after, afterContent := push("after")
	mustAppend(t, m.Journal, after, "after", afterContent)
	m.crash(0)
	got := readAll(t, m.Journal)
	if len(got) != 3 || got[1].Err != nil || !bytes.Equal(got[1].Delivery.Payload, d.Payload) {
		t.Errorf("got %v", seqs(got))
	}
	if got := mustAppend(t, m.Journal, d, "large", content).Outcome; got != journal.Duplicate {
		t.Errorf("again: %v", got)
	}
	must(t, m.Trim(1, 2, 3))
	closeJournal(t, m.Journal)
}
