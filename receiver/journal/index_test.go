package journal_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func lookup(t *testing.T, x *journal.Index, id, want string, told bool) {
	t.Helper()
	facets, ok, err := x.Lookup(id)
	if err != nil {
		t.Fatal(err)
	}
	if ok != told || facets != want {
		t.Errorf("Lookup(%q) = %q, %t, want %q, %t", id, facets, ok, want, told)
	}
}

func position(t *testing.T, x *journal.Index, s schemas.Stream, created time.Time, last uint64) {
	t.Helper()
	p, err := x.Position(s)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Created.Equal(created) || p.Last != last {
		t.Errorf("position of %s: %+v, want %v, %d", s, p, created, last)
	}
}

func TestTheIndexKnowsWhatWasTold(t *testing.T) {
	c := config(t, t.TempDir())
	j := openJournal(t, c)
	x := j.Index()
	created := time.Date(2025, 1, 2, 3, 4, 5, 678901234, time.UTC)
	position(t, x, schemas.StreamEvents, time.Time{}, 0)
	must(t, x.Reset(schemas.StreamEvents, created))
	must(t, x.Apply(schemas.StreamEvents, []journal.Told{{ID: "a:1", Facets: "status=x", Seq: 4}, {ID: "a:2", Facets: "", Seq: 6}}, 7))
	must(t, x.Apply(schemas.StreamRestricted, []journal.Told{{ID: "a:1:restricted", Facets: "", Seq: 1}}, 1))
	for range 2 {
		lookup(t, x, "a:1", "status=x", true)
		lookup(t, x, "a:2", "", true)
		lookup(t, x, "a:3", "", false)
		lookup(t, x, "a:1:restricted", "", true)
		position(t, x, schemas.StreamEvents, created, 7)
		position(t, x, schemas.StreamRestricted, time.Time{}, 1)
		position(t, x, schemas.StreamOps, time.Time{}, 0)
		closeJournal(t, j)
		j = openJournal(t, c)
		x = j.Index()
	}
	closeJournal(t, j)
	if err := x.Apply("OTHER", nil, 1); err == nil {
		t.Error("an unknown stream was mirrored")
	}
}

func TestResetForgetsOneStream(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	x := j.Index()
	var told []journal.Told
	for i := range 5000 { // more than it forgets at once
		told = append(told, journal.Told{ID: fmt.Sprint("a:", i), Seq: uint64(i + 1)})
	}
	must(t, x.Apply(schemas.StreamEvents, told, 5000))
	must(t, x.Apply(schemas.StreamOps, []journal.Told{{ID: "ops:1", Facets: "", Seq: 1}}, 1))
	must(t, x.Reset(schemas.StreamEvents, arrived))
	for _, event := range told {
		lookup(t, x, event.ID, "", false)
	}
	lookup(t, x, "ops:1", "", true)
	position(t, x, schemas.StreamEvents, arrived, 0)
	position(t, x, schemas.StreamOps, time.Time{}, 1)
	must(t, x.Apply(schemas.StreamEvents, told[:10], 10))
	lookup(t, x, "a:9", "", true)
	lookup(t, x, "a:10", "", false)
}

func TestExpireForgetsWhatIsNotOnTheStreamAnyMore(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	x := j.Index()
	var told []journal.Told
	for i := range 5000 {
		told = append(told, journal.Told{ID: fmt.Sprint("a:", i+1), Seq: uint64(i + 1)})
	}
	told = append(told, journal.Told{ID: "a:7", Facets: "again", Seq: 5001}) // told twice
	must(t, x.Apply(schemas.StreamEvents, told, 5001))
	for range 2 {
		must(t, x.Expire(schemas.StreamEvents, 4001))
		lookup(t, x, "a:7", "again", true)
		lookup(t, x, "a:1", "", false)
		lookup(t, x, "a:4000", "", false)
		lookup(t, x, "a:4001", "", true)
	}
	must(t, x.Expire(schemas.StreamEvents, 5002))
	lookup(t, x, "a:7", "", false)
	lookup(t, x, "a:5000", "", false)
	position(t, x, schemas.StreamEvents, time.Time{}, 5001)
}

func TestWhatIsToldAgainCostsNothing(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	x := j.Index()
	written := func() uint64 {
		m := j.Engine().Metrics()
		return m.WAL.BytesIn
	}
	told := []journal.Told{{ID: "a:1", Facets: "f=1", Seq: 3}, {ID: "a:2", Facets: "f=2", Seq: 5}}
	must(t, x.Apply(schemas.StreamEvents, told, 0)) // the relay, which knows only its own
	before := written()
	must(t, x.Apply(schemas.StreamEvents, told, 0))
	if got := written(); got != before {
		t.Errorf("%d bytes were written for what was noted", got-before)
	}
	must(t, x.Apply(schemas.StreamEvents, append(told, journal.Told{ID: "a:3", Seq: 4}), 5))
	before = written()
	must(t, x.Apply(schemas.StreamEvents, told, 5))
	must(t, x.Apply(schemas.StreamEvents, told, 2))
	if got := written(); got != before {
		t.Errorf("%d bytes were written for what was behind the position", got-before)
	}
	position(t, x, schemas.StreamEvents, time.Time{}, 5)
	must(t, x.Apply(schemas.StreamEvents, []journal.Told{{ID: "a:late", Facets: "", Seq: 2}}, 0))
	lookup(t, x, "a:late", "", true)
}

func TestThePositionIsNeverAheadOfWhatIsNotedAfterACrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for percent := 0; percent <= 100; percent += 20 {
		m := newMortal(t, 0)
		last := uint64(0)
		for last < 800 {
			n := 1 + rng.Uint64N(30)
			var told []journal.Told
			for i := range n {
				told = append(told, journal.Told{ID: fmt.Sprint("a:", last+i+1), Seq: last + i + 1})
			}
			last += n
			must(t, m.Index().Apply(schemas.StreamEvents, told, last))
			if rng.IntN(5) == 0 {
				d, content := push(fmt.Sprint(last)) // syncs what is before
				mustAppend(t, m.Journal, d, fmt.Sprint(last), content)
			}
			if rng.IntN(10) == 0 {
				must(t, m.Flush())
			}
		}
		m.crash(percent)
		p, err := m.Index().Position(schemas.StreamEvents)
		must(t, err)
		for seq := uint64(1); seq <= last; seq++ {
			_, ok, err := m.Index().Lookup(fmt.Sprint("a:", seq))
			must(t, err)
			if want := seq <= p.Last; ok != want {
				t.Fatalf("%d per cent: the position is %d, and %d is told: %t", percent, p.Last, seq, ok)
			}
		}
		closeJournal(t, m.Journal)
	}
}

func TestTheIndexCanBeUsedByMany(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	x := j.Index()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				id := fmt.Sprint(w, ":", i)
				told := []journal.Told{{ID: id, Facets: id, Seq: uint64(i*4 + w + 1)}}
				if err := x.Apply(schemas.StreamEvents, told, 0); err != nil {
					t.Error(err)
				}
				if facets, ok, err := x.Lookup(id); err != nil || !ok || facets != id {
					t.Errorf("Lookup(%q) = %q, %t, %v", id, facets, ok, err)
				}
				if i%50 == 0 {
					if err := x.Expire(schemas.StreamRestricted, uint64(i)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// The index against a map, through crashes.
func TestTheIndexDoesWhatAMapDoes(t *testing.T) {
	type note struct {
		facets string
		seq    uint64
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newMortal(t, 0)
		defer func() { closeJournal(t, m.Journal) }()
		model := make(map[string]note)
		var last, next uint64 = 0, 1
		var created time.Time
		ids := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"})
		syncs := 0
		sync := func() {
			syncs++
			d, content := push(fmt.Sprint("sync ", syncs))
			mustAppend(t, m.Journal, d, "", content)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"apply": func(rt *rapid.T) {
				var told []journal.Told
				for range rapid.IntRange(0, 4).Draw(rt, "events") {
					e := journal.Told{ID: ids.Draw(rt, "id"), Facets: rapid.StringN(0, 4, 8).Draw(rt, "facets"), Seq: next}
					next++
					told = append(told, e)
					model[e.ID] = note{e.Facets, e.Seq}
				}
				for range rapid.IntRange(1, 2).Draw(rt, "times") {
					must(t, m.Index().Apply(schemas.StreamEvents, told, next-1))
				}
				last = next - 1
			},
			"expire": func(rt *rapid.T) {
				first := rapid.Uint64Range(0, next).Draw(rt, "first")
				must(t, m.Index().Expire(schemas.StreamEvents, first))
				for id, n := range model {
					if n.seq < first {
						delete(model, id)
					}
				}
			},
			"reset": func(rt *rapid.T) {
				created = created.Add(time.Hour)
				must(t, m.Index().Reset(schemas.StreamEvents, created))
				clear(model)
				last, next = 0, 1
			},
			"kill": func(*rapid.T) { sync(); m.kill() },
			"cut":  func(*rapid.T) { sync(); m.crash(0) },
			"flush": func(*rapid.T) {
				must(t, m.Flush())
			},
			"": func(rt *rapid.T) {
				for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "never"} {
					facets, ok, err := m.Index().Lookup(id)
					must(t, err)
					if n, told := model[id]; ok != told || facets != n.facets {
						rt.Fatalf("Lookup(%q) = %q, %t, want %q, %t", id, facets, ok, n.facets, told)
					}
				}
				p, err := m.Index().Position(schemas.StreamEvents)
				must(t, err)
				if p.Last != last || !p.Created.Equal(created) {
					rt.Fatalf("position %+v, want %v, %d", p, created, last)
				}
			},
		})
	})
}
