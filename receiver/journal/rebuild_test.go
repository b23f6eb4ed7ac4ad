package journal_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

const toldEvents = 1000

func toldID(i int) string { return fmt.Sprintf("alpha:process:%d:success", i) }

// applyTold applies all events to the index.
func applyTold(x *journal.Index) error {
	for from := 0; from < toldEvents; from += 500 {
		var told []journal.Told
		for i := from; i < from+500; i++ {
			told = append(told, journal.Told{ID: toldID(i), Seq: uint64(i + 1), Facets: "status=success"})
		}
		if err := x.Apply(schemas.StreamEvents, told, uint64(from+500)); err != nil {
			return err
		}
	}
	return nil
}

// A damaged index can be dropped and made anew; deliveries and claims stay, and
// the files can be merged again.
func TestADamagedIndexIsDroppedAndMadeAnew(t *testing.T) {
	c := config(t, damageDir)
	original := vfs.NewCrashableMem()
	j, err := journal.OpenFS(c, original)
	if err != nil {
		t.Fatal(err)
	}
	d, content := push("kept")
	mustAppend(t, j, d, "id 1", content)
	if err := j.Index().Reset(schemas.StreamEvents, arrived); err != nil {
		t.Fatal(err)
	}
	if err := applyTold(j.Index()); err != nil {
		t.Fatal(err)
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	killed := copyOf(original)
	closeJournal(t, j)

	names, err := killed.List(damageDir)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	found, tables := 0, 0
	for _, name := range names {
		if kindOf(name) != "table" {
			continue
		}
		whole := readFile(t, killed, name)
		if len(whole) < 16<<10 {
			continue // of other things
		}
		tables++
		for range 2 {
			fs := copyOf(killed)
			flipped := append([]byte(nil), whole...)
			at := rng.IntN(len(flipped))
			flipped[at] ^= 1 << rng.IntN(8)
			writeFile(t, fs, name, flipped)
			if madeAnew(t, c, fs) {
				found++
			}
			if t.Failed() {
				t.Fatalf("%s, byte %d of %d", name, at, len(flipped))
			}
		}
	}
	if found < 3 || tables != 2 {
		t.Errorf("only %d damages of the index in %d tables were found", found, tables)
	}
}

// madeAnew opens a journal, whose index may be damaged, reports whether it is,
// and makes it anew then.
func madeAnew(t *testing.T, c journal.Config, fs vfs.FS) bool {
	t.Helper()
	j, err := journal.OpenFS(c, fs)
	if errors.Is(err, journal.ErrDamaged) {
		return false // what the journal must know of itself
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Logf("close: %v", err) // other files may be damaged
		}
	}()
	x := j.Index()
	for i := range toldEvents {
		if x.Damaged() {
			break // to read what is damaged takes long
		}
		_, ok, err := x.Lookup(toldID(i))
		if err != nil && (!errors.Is(err, journal.ErrIndexDamaged) || !x.Damaged()) {
			t.Errorf("got %v, damaged %v", err, x.Damaged())
		}
		if err == nil && !ok && !x.Damaged() {
			t.Errorf("event %d is gone without a word", i)
		}
	}
	if _, _, err := x.Newest(schemas.StreamEvents); err != nil && !errors.Is(err, journal.ErrIndexDamaged) {
		t.Error(err)
	}
	if err := applyTold(x); err != nil && !errors.Is(err, journal.ErrIndexDamaged) {
		t.Error(err)
	}
	if !x.Damaged() {
		return false
	}
	if err := x.Drop(); err != nil {
		t.Fatal(err)
	}
	if x.Damaged() {
		t.Error("it is damaged still")
	}
	if _, ok, err := x.Lookup(toldID(1)); ok || err != nil {
		t.Errorf("after it was dropped: %v, %v", ok, err)
	}
	if pos, err := x.Position(schemas.StreamEvents); pos != (journal.Position{}) || err != nil {
		t.Errorf("position %+v, %v", pos, err)
	}
	if entries := readAll(t, j); len(entries) != 1 || entries[0].Err != nil {
		t.Errorf("%d deliveries", len(entries))
	}
	d, content := push("kept")
	if got := mustAppend(t, j, d, "id 1", content).Outcome; got != journal.Duplicate {
		t.Errorf("a claim is gone: %v", got)
	}
	if err := x.Reset(schemas.StreamEvents, arrived); err != nil {
		t.Fatal(err)
	}
	if err := applyTold(x); err != nil {
		t.Fatal(err)
	}
	for i := range toldEvents {
		if facets, ok, err := x.Lookup(toldID(i)); !ok || facets != "status=success" || err != nil {
			t.Fatalf("event %d: %q, %v, %v", i, facets, ok, err)
		}
	}
	if err := j.Flush(); err != nil {
		t.Error(err)
	}
	if err := j.Engine().Compact(t.Context(), []byte("a"), []byte("z"), false); err != nil {
		t.Errorf("the files can't be merged: %v", err)
	}
	return true
}
