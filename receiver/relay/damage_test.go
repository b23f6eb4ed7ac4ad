package relay_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// A flipped byte of the index stops nothing: it is made anew from the bus, and
// then knows again what was told.
func TestADamagedIndexIsMadeAnewAndNothingIsToldTwice(t *testing.T) {
	const facts = 400
	b := bustest.Server(t, shortMemory)
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	w.config = func(c *relay.Config) { c.Registerer = registry }
	tell := func(from, to int, id string) {
		for i := from; i < to; i++ {
			w.accept(fmt.Sprint(id, i), fmt.Sprintf("process p%d success", i))
		}
		w.drain()
	}
	w.run(b)
	tell(0, facts, "first ")
	w.stop()
	forgotten(t, b)
	w.crash() // what it opens then it moves from the log to tables
	w.accept("waits", "process waits success")
	damageIndex(t, w, facts)

	registry = prometheus.NewRegistry()
	w.run(b)
	tell(0, facts, "again ") // the same facts in other deliveries
	tell(facts, facts+3, "new ")
	if got := len(ids(t, b, schemas.StreamEvents)); got != facts+4 {
		t.Errorf("%d events are on the bus, want %d", got, facts+4)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "postern_index_rebuilt_total" && f.GetMetric()[0].GetCounter().GetValue() != 1 {
			t.Errorf("counted %v", f.GetMetric())
		}
	}
}

// damageIndex flips a byte of a closed journal such that the index can't be
// read, but the journal be opened.
func damageIndex(t *testing.T, w *world, facts int) {
	t.Helper()
	if err := w.journal.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(w.dir + "/journal/*.sst")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		whole, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		if len(whole) < 4<<10 {
			continue
		}
		flipped := append([]byte(nil), whole...)
		flipped[len(flipped)/3] ^= 8
		if err := os.WriteFile(table, flipped, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "try")
		if err := os.CopyFS(dir, os.DirFS(w.dir)); err != nil {
			t.Fatal(err)
		}
		if isDamaged(t, dir, facts) {
			w.open()
			return
		}
		if err := os.WriteFile(table, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("no byte in the middle of %d tables is the index's", len(tables))
}

// isDamaged tries whether the index of the journal in a folder can be read.
func isDamaged(t *testing.T, dir string, facts int) bool {
	t.Helper()
	try := &world{t: t, dir: dir}
	try.open()
	defer func() { _ = try.journal.Close() }()
	for i := range facts {
		_, _, err := try.journal.Index().Lookup(fmt.Sprintf("feed:process:p%d:success", i))
		if errors.Is(err, journal.ErrIndexDamaged) {
			return true
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return false
}
