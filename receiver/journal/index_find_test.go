package journal_test

import (
	"testing"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func TestFindSaysWhereAnEventWasTold(t *testing.T) {
	j := openJournal(t, config(t, t.TempDir()))
	x := j.Index()
	for stream, told := range map[schemas.Stream]journal.Told{
		schemas.StreamEvents: {ID: "a", Facets: "status=x", Seq: 300}, schemas.StreamOps: {ID: "b", Seq: 7},
	} {
		if err := x.Apply(stream, []journal.Told{told}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]struct {
		stream schemas.Stream
		seq    uint64
	}{"a": {schemas.StreamEvents, 300}, "b": {schemas.StreamOps, 7}, "c": {}} {
		stream, seq, ok, err := x.Find(id)
		if stream != want.stream || seq != want.seq || ok != (want.seq > 0) || err != nil {
			t.Errorf("%s: %s %d %v, %v", id, stream, seq, ok, err)
		}
	}
	closeJournal(t, j)
	if _, _, _, err := x.Find("a"); err == nil {
		t.Error("a closed journal was asked")
	}
}
