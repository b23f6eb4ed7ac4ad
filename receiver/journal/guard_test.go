package journal_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
)

// mortal is a journal whose process can be killed.
type mortal struct {
	*journal.Journal
	t  *testing.T
	c  journal.Config
	fs *vfs.MemFS
}

func newMortal(t *testing.T, entries int) *mortal {
	t.Helper()
	m := &mortal{t: t, c: config(t, "journal"), fs: vfs.NewCrashableMem()}
	m.open()
	for i := range entries {
		d, content := push(fmt.Sprint(i))
		mustAppend(t, m.Journal, d, fmt.Sprint(i), content)
	}
	return m
}

func (m *mortal) open() {
	m.t.Helper()
	var err error
	if m.Journal, err = journal.OpenFS(m.c, m.fs); err != nil {
		m.t.Fatal(err)
	}
}

// kill ends the process without a power cut, and starts another.
func (m *mortal) kill() { m.t.Helper(); m.crash(100) }

// crash ends the process with so much per cent of what wasn't synced on disk.
func (m *mortal) crash(percent int) {
	m.t.Helper()
	after := m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(1, uint64(percent)))})
	closeJournal(m.t, m.Journal) // its goroutines; the clone doesn't see it
	m.fs = after
	m.open()
}

func (m *mortal) expect(deaths map[uint64]int, suspects ...uint64) {
	m.t.Helper()
	suspect := make(map[uint64]bool)
	for _, seq := range suspects {
		suspect[seq] = true
	}
	for seq := range uint64(12) {
		if got := m.Deaths(seq); got != deaths[seq] {
			m.t.Errorf("Deaths(%d) = %d, want %d", seq, got, deaths[seq])
		}
		if got := m.Suspect(seq); got != suspect[seq] {
			m.t.Errorf("Suspect(%d) = %t, want %t", seq, got, suspect[seq])
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryDeathAtAnEntryIsCounted(t *testing.T) {
	m := newMortal(t, 5)
	for n := 1; n <= 3; n++ {
		must(t, m.Guard(3, 3))
		m.kill()
		m.expect(map[uint64]int{3: n}, 3)
	}
	m.kill() // without a guard
	m.expect(map[uint64]int{3: 3}, 3)
	must(t, m.Trim(3))
	m.expect(nil)
	closeJournal(t, m.Journal)
	m.open()
	m.expect(nil)
	closeJournal(t, m.Journal)
}

func TestADeathAmongSeveralMakesThemSuspect(t *testing.T) {
	m := newMortal(t, 9)
	must(t, m.Guard(2, 4))
	m.kill()
	m.expect(nil, 2, 3, 4)
	must(t, m.Guard(6, 7))
	m.kill()
	m.expect(nil, 2, 3, 4, 5, 6, 7)
	must(t, m.Guard(4, 4)) // taken alone, it dies again
	m.kill()
	m.expect(map[uint64]int{4: 1}, 2, 3, 4, 5, 6, 7)
	must(t, m.Trim(1, 2, 3, 5, 6, 7))
	m.expect(map[uint64]int{4: 1}, 2, 3, 4, 5, 6, 7)
	must(t, m.Trim(4))
	m.expect(nil)
	closeJournal(t, m.Journal)
	m.open()
	m.expect(nil)
	closeJournal(t, m.Journal)
}

func TestWhatWentWellIsNoDeath(t *testing.T) {
	m := newMortal(t, 3)
	must(t, m.Guard(1, 1))
	must(t, m.Unguard())
	m.kill()
	m.expect(nil)
	must(t, m.Guard(2, 2))
	closeJournal(t, m.Journal) // in order
	m.open()
	m.expect(nil)
	must(t, m.Guard(1, 1))
	must(t, m.Trim(1)) // told, and dead before Unguard
	m.crash(100)
	if m.Stats().Entries == 2 { // the trim was on disk
		m.expect(nil)
	} else {
		m.expect(map[uint64]int{1: 1}, 1)
	}
	if err := m.Guard(0, 3); err == nil {
		t.Error("an entry 0 was guarded")
	}
	if err := m.Guard(4, 3); err == nil {
		t.Error("a range from 4 to 3 was guarded")
	}
	closeJournal(t, m.Journal)
}
