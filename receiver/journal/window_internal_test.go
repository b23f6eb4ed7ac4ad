package journal

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// Whatever the order in which commits end, what may be read has no hole.
func TestTheWindowMovesOnlyOverWhatIsDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(0, 1000).Draw(t, "first")
		w := newWindow(totals{upTo: first, entries: 3, bytes: 30})
		var underWay []uint64
		done := make(map[uint64]int64)
		next := first + 1
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			if len(underWay) == 0 || rapid.IntRange(0, 99).Draw(t, "begin") < 60 {
				seq := w.begin()
				if seq != next {
					t.Fatalf("got %d, want %d", seq, next)
				}
				next++
				underWay = append(underWay, seq)
			} else {
				i := rapid.IntRange(0, len(underWay)-1).Draw(t, "which")
				size := rapid.Int64Range(1, 9).Draw(t, "size")
				_, wake := w.after(w.totals().upTo)
				before := w.totals().upTo
				w.finish(underWay[i], size)
				done[underWay[i]] = size
				underWay = append(underWay[:i], underWay[i+1:]...)
				select {
				case <-wake:
					if w.totals().upTo == before {
						t.Fatal("woken for nothing")
					}
				default:
					if w.totals().upTo != before {
						t.Fatal("not woken")
					}
				}
			}
			want := totals{upTo: first, entries: 3, bytes: 30}
			for size, ok := done[want.upTo+1]; ok; size, ok = done[want.upTo+1] {
				want = totals{want.upTo + 1, want.entries + 1, want.bytes + size}
			}
			if got := w.totals(); got != want {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		}
	})
}

func testHash(i int) hash16 { return hashOf('X', fmt.Sprint(i)) }

func filterDB(t *testing.T, keys int) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("filter", &pebble.Options{FS: vfs.NewMem(), Logger: engineLog{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for i := range keys {
		if err := db.Set(hashKey('x', testHash(i)), nil, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func TestAFilterNeverDeniesAKeyAndSeldomClaimsOne(t *testing.T) {
	const stored, added = 20_000, 60_000
	f := newFilter('x')
	db := filterDB(t, stored)
	if !f.may(testHash(1 << 30)) {
		t.Error("it denies a key before it knows any")
	}
	if err := f.fill(db, nil); err != nil {
		t.Fatal(err)
	}
	for i := stored; i < stored+added; i++ {
		f.add(testHash(i))
	}
	for i := range stored + added {
		if !f.may(testHash(i)) {
			t.Fatalf("it denies key %d", i)
		}
	}
	wrong := 0
	for i := range 20_000 {
		if f.may(testHash(1<<30 + i)) {
			wrong++
		}
	}
	if wrong > 600 {
		t.Errorf("%d of 20,000 are claimed in vain", wrong)
	}
	if n := f.current.Load().count(); n < stored+added || n > stored+added+100 {
		t.Errorf("it counts %d", n)
	}
}

// A key that is added while the filter is made anew is in the new one.
func TestARebuiltFilterMissesNothingThatIsAddedMeanwhile(t *testing.T) {
	db := filterDB(t, 2000)
	f := newFilter('x')
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := f.fill(db, nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var adders sync.WaitGroup
	for a := range 4 {
		adders.Go(func() {
			for i := range 3000 {
				h := hash16{}
				binary.BigEndian.PutUint64(h[:], uint64(a))
				binary.BigEndian.PutUint64(h[8:], uint64(i)*0x9e3779b97f4a7c15)
				if err := db.Set(hashKey('x', h), nil, pebble.NoSync); err != nil {
					t.Error(err)
				}
				f.add(h)
				if !f.may(h) {
					t.Errorf("key %d of %d is denied", i, a)
					return
				}
			}
		})
	}
	adders.Wait()
	close(stop)
	wg.Wait()
	for a := range 4 {
		for i := range 3000 {
			h := hash16{}
			binary.BigEndian.PutUint64(h[:], uint64(a))
			binary.BigEndian.PutUint64(h[8:], uint64(i)*0x9e3779b97f4a7c15)
			if !f.may(h) {
				t.Fatalf("key %d of %d is denied in the end", i, a)
			}
		}
	}
}

func TestAFilterIsStaleWhenHalfOfItIsGone(t *testing.T) {
	f := newFilter('x')
	db := filterDB(t, 10)
	if err := f.fill(db, nil); err != nil {
		t.Fatal(err)
	}
	f.dropped.Add(firstLayer + 1)
	if !f.stale() {
		t.Error("not stale")
	}
	if err := f.fill(db, nil); err != nil {
		t.Fatal(err)
	}
	if f.stale() {
		t.Error("stale after it was filled")
	}
}
