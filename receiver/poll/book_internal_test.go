package poll

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

func TestAnEntityIsRememberedInFewBytes(t *testing.T) {
	const entities, most = 100_000, 300
	state := jsontext.Value(fmt.Sprintf("%500q", "x"))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	b := newBook()
	for i := range entities {
		key := fmt.Sprintf("0d1f3a52-7c1e-4f0b-9d55-%012d", i)
		b.learn(key, uint64(i+1), handlers.Part{Container: "all", State: state})
	}
	each := (heap() - before) / entities
	if len(b.entities) != entities || each > most {
		t.Errorf("%d entities, %d bytes for each", len(b.entities), each)
	}
	t.Logf("%d bytes for each", each)
	runtime.KeepAlive(b)
}

// What a reading didn't find is forgotten, and what is learned late from an
// older reading changes nothing.
func TestABookFollowsTheBus(t *testing.T) {
	b := newBook()
	part := func(container, state string) handlers.Part {
		return handlers.Part{Container: container, State: jsontext.Value(state)}
	}
	for _, key := range []string{"a", "b", "c"} {
		b.learn(key, 5, part("n", `1`))
	}
	b.learn("a", 7, part("m", `2`))
	b.learn("a", 6, part("n", `1`))
	if e := b.entities["a"]; e.revision != 7 || e.home.name != "m" || e.digest != digestOf([]byte(`2`)) {
		t.Errorf("an older reading was taken over: %+v", e)
	}
	b.reading()
	b.learn("a", 7, part("m", `2`))
	b.learn("c", 5, part("n", `1`))
	b.swept()
	b.learn("c", 8, handlers.Part{}) // somebody else's part is all that is left
	if len(b.entities) != 1 || len(b.containers["n"].members) != 0 || len(b.containers["m"].members) != 1 {
		t.Errorf("left are %v", b.entities)
	}
}

// A platform with an entity in each list has as many lists as entities.
func TestManyListsTakeNoLonger(t *testing.T) {
	const lists, most = 100_000, 3 * time.Second
	s := newScan(t.Context(), &poller{book: newBook()}, time.Now())
	began := time.Now()
	for range 2 {
		for i := range lists {
			if err := s.Complete(fmt.Sprintf("tranche-0d1f3a52-7c1e-4f0b-9d55-%012d", i)); err != nil {
				t.Fatal(err)
			}
			if time.Since(began) > most {
				t.Fatalf("%d lists took %s", i, time.Since(began))
			}
		}
	}
	if len(s.complete) != lists {
		t.Errorf("%d lists are complete, want %d", len(s.complete), lists)
	}
}
