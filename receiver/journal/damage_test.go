package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
)

const damageDir = "journal"

// liveJournal appends entries, of which some are in tables and some only in
// the log, and returns what the disk holds when the process is killed now, and
// the payloads by sequence number.
func liveJournal(t *testing.T) (journal.Config, *vfs.MemFS, map[uint64]string) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	c := config(t, damageDir)
	j, err := journal.OpenFS(c, fs)
	if err != nil {
		t.Fatal(err)
	}
	payloads := make(map[uint64]string)
	for i := range 36 {
		payload := fmt.Sprintf("%d %0*d", i, i*4, 0)
		d, content := push(payload)
		mustAppend(t, j, d, fmt.Sprint(i), content)
		payloads[uint64(i+1)] = payload
		if i == 9 || i == 19 {
			if err := j.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	killed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	closeJournal(t, j)
	return c, killed, payloads
}

func copyOf(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

func readFile(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(fs.PathJoin(damageDir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, fs vfs.FS, name string, b []byte) {
	t.Helper()
	f, err := fs.Create(fs.PathJoin(damageDir, name), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Clone(b)); err != nil {
		t.Fatal(err)
	}
}

// check opens a journal and reports what became of what was accepted: whether
// opening was refused, and which entries came with an error. It fails if one
// is missing or is not what it was.
func check(t *testing.T, c journal.Config, fs vfs.FS, payloads map[uint64]string) (damaged int, refused error) {
	t.Helper()
	j, err := journal.OpenFS(c, fs)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Logf("close: %v", err) // its files may be damaged
		}
	}()
	seen := make(map[uint64]bool)
	var after, last uint64
	for seq := range payloads {
		last = max(last, seq)
	}
	if got := j.Stats().Last; got < last {
		t.Errorf("the last is %d, want %d", got, last)
		return 0, nil
	}
	for after < last {
		entries, err := j.Read(t.Context(), after, 7, 1<<20)
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			after = e.Seq
			seen[e.Seq] = true
			switch {
			case e.Err != nil:
				damaged++
			case string(e.Delivery.Payload) != payloads[e.Seq]:
				t.Errorf("entry %d is not what was accepted", e.Seq)
			}
		}
	}
	for seq := range payloads {
		if !seen[seq] {
			t.Errorf("entry %d is gone without a word", seq)
		}
	}
	return damaged, nil
}

func TestAFlippedBitIsNeverSilent(t *testing.T) {
	c, killed, payloads := liveJournal(t)
	if damaged, refused := check(t, c, copyOf(killed), payloads); refused != nil || damaged != 0 {
		t.Fatalf("undamaged: %v, %d damaged", refused, damaged)
	}
	names, err := killed.List(damageDir)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, name := range names {
		total += len(readFile(t, killed, name))
	}
	samples := 100
	if testing.Short() {
		samples = 30
	}
	rng := rand.New(rand.NewPCG(7, uint64(samples)))
	found := make(map[string]int)
	for _, name := range names {
		content := readFile(t, killed, name)
		step := max(total/samples, 1)
		for at := rng.IntN(step); at < len(content); at += 1 + rng.IntN(2*step) {
			fs := copyOf(killed)
			flipped := bytes.Clone(content)
			flipped[at] ^= 1 << rng.IntN(8)
			writeFile(t, fs, name, flipped)
			damaged, refused := check(t, c, fs, payloads)
			if t.Failed() {
				t.Fatalf("%s, byte %d of %d", name, at, len(content))
			}
			if refused != nil || damaged > 0 {
				found[kindOf(name)]++
			}
			if refused != nil && kindOf(name) != "options" && !errors.Is(refused, journal.ErrDamaged) {
				t.Errorf("%s, byte %d: %v, want ErrDamaged", name, at, refused)
			}
		}
	}
	for _, kind := range []string{"log", "manifest", "table"} {
		if found[kind] == 0 {
			t.Errorf("no damage of a %s was noticed: %v", kind, found)
		}
	}
}

func kindOf(name string) string {
	switch {
	case isLog(name):
		return "log"
	case bytes.HasPrefix([]byte(name), []byte("MANIFEST")):
		return "manifest"
	case bytes.HasPrefix([]byte(name), []byte("OPTIONS")):
		return "options"
	case bytes.HasSuffix([]byte(name), []byte(".sst")):
		return "table"
	default:
		return name
	}
}

// The last records of a log have no later record that vouches for them.
func TestEveryBitOfTheLastRecordCounts(t *testing.T) {
	c, killed, payloads := liveJournal(t)
	name, content := lastLog(t, killed)
	rng := rand.New(rand.NewPCG(3, 4))
	for at := len(content) - 400; at < len(content); at += 13 {
		fs := copyOf(killed)
		flipped := bytes.Clone(content)
		flipped[at] ^= 1 << rng.IntN(8)
		writeFile(t, fs, name, flipped)
		if _, refused := check(t, c, fs, payloads); !errors.Is(refused, journal.ErrDamaged) {
			t.Errorf("byte %d of %d: got %v, want ErrDamaged", at, len(content), refused)
		}
	}
}

func TestAShortenedLogIsRefusedAndLeftAsItIs(t *testing.T) {
	c, killed, payloads := liveJournal(t)
	name, content := lastLog(t, killed)
	for _, cut := range []int{1, 60, 400, 1500, len(content)} {
		fs := copyOf(killed)
		writeFile(t, fs, name, content[:len(content)-cut])
		for range 2 { // trying again doesn't help, nor does it make it worse
			if _, refused := check(t, c, fs, payloads); !errors.Is(refused, journal.ErrDamaged) {
				t.Errorf("cut by %d: got %v, want ErrDamaged", cut, refused)
			}
		}
		writeFile(t, fs, name, content)
		if damaged, refused := check(t, c, fs, payloads); refused != nil || damaged > 0 {
			t.Errorf("restored after a cut by %d: %v, %d damaged", cut, refused, damaged)
		}
	}
	fs := copyOf(killed)
	if err := fs.Remove(fs.PathJoin(damageDir, name)); err != nil {
		t.Fatal(err)
	}
	if _, refused := check(t, c, fs, payloads); !errors.Is(refused, journal.ErrDamaged) {
		t.Errorf("removed: got %v, want ErrDamaged", refused)
	}
}

func TestARaggedEndOfWhatWasNeverSyncedIsNoDamage(t *testing.T) {
	c, killed, payloads := liveJournal(t)
	name, content := lastLog(t, killed)
	for _, tail := range [][]byte{{0}, bytes.Repeat([]byte{0}, 5000), randomBytes(3000), content[:1000]} {
		fs := copyOf(killed)
		writeFile(t, fs, name, append(bytes.Clone(content), tail...))
		if damaged, refused := check(t, c, fs, payloads); refused != nil || damaged > 0 {
			t.Errorf("%d bytes more: %v, %d damaged", len(tail), refused, damaged)
		}
	}
}

func TestADamagedEntryCanBeTrimmedAndTheRestRead(t *testing.T) {
	c, killed, payloads := liveJournal(t)
	names, err := killed.List(damageDir)
	if err != nil {
		t.Fatal(err)
	}
	tables := 0
	for _, name := range names {
		if kindOf(name) != "table" {
			continue
		}
		fs := copyOf(killed)
		content := readFile(t, fs, name)
		content[len(content)/3] ^= 4
		writeFile(t, fs, name, content)
		j, err := journal.OpenFS(c, fs)
		if errors.Is(err, journal.ErrDamaged) {
			continue // the table of what the journal must know of itself
		}
		if err != nil {
			t.Fatal(err)
		}
		var after uint64
		good, bad := 0, 0
		for after < 36 {
			entries, err := j.Read(t.Context(), after, 5, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				after = e.Seq
				if e.Err != nil {
					bad++
				} else {
					good++
				}
				if err := j.Trim(e.Seq); err != nil {
					t.Fatal(err)
				}
			}
		}
		if good+bad != len(payloads) {
			t.Errorf("%s: %d good and %d bad of %d", name, good, bad, len(payloads))
		}
		if bad > 0 {
			tables++
		}
		if s := j.Stats(); s.Entries != 0 || s.Bytes != 0 {
			t.Errorf("%s: after all is trimmed there is %+v", name, s)
		}
		if err := j.Close(); err != nil {
			t.Logf("close: %v", err)
		}
	}
	if tables < 2 {
		t.Errorf("%d tables had damaged entries, want 2", tables)
	}
}

func lastLog(t *testing.T, fs *vfs.MemFS) (name string, content []byte) {
	t.Helper()
	names, err := fs.List(damageDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if isLog(n) && n > name {
			name = n
		}
	}
	return name, readFile(t, fs, name)
}
