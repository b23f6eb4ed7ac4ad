package journal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/receiver/journal"
)

func TestTrimForgetsWhatIsNamedAndNothingElse(t *testing.T) {
	j := memJournal(t, vfs.NewMem())
	for i := range 10 {
		d, content := push(fmt.Sprint(i))
		mustAppend(t, j, d, fmt.Sprint(i), content)
	}
	for _, list := range [][]uint64{{7, 2, 3}, {3, 2}, {1, 1, 99}, {}} {
		if err := j.Trim(list...); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint64{4, 5, 6, 8, 9, 10}, seqs(readAll(t, j))); diff != "" {
		t.Error(diff)
	}
	if n := j.Stats().Entries; n != 6 {
		t.Errorf("%d entries, want 6", n)
	}
	if err := j.Trim(4, 5, 6, 8, 9, 10); err != nil {
		t.Fatal(err)
	}
	if s := j.Stats(); s != (journal.Stats{Last: 10}) {
		t.Errorf("everything is trimmed, and yet there is %+v", s)
	}
}

func TestSequenceNumbersNeverComeAgain(t *testing.T) {
	c := config(t, t.TempDir())
	var last uint64
	for i := range 4 {
		j := openJournal(t, c)
		d, content := push(fmt.Sprint(i))
		mustAppend(t, j, d, fmt.Sprint(i), content)
		entries := readAll(t, j)
		if len(entries) != 1 || entries[0].Seq <= last {
			t.Errorf("after %d came %v", last, seqs(entries))
		}
		last = entries[0].Seq
		if err := j.Trim(last); err != nil {
			t.Fatal(err)
		}
		closeJournal(t, j)
	}
}

func TestStatsTellTheOldest(t *testing.T) {
	c := config(t, t.TempDir())
	j := openJournal(t, c)
	var sealed []int64
	for i := range 5 {
		d, content := push(fmt.Sprint(i))
		d.Received = arrived.Add(time.Duration(i) * time.Minute)
		mustAppend(t, j, d, fmt.Sprint(i), content)
	}
	for _, e := range readAll(t, j) {
		sealed = append(sealed, int64(len(e.Sealed)))
	}
	check := func(first int) {
		t.Helper()
		want := journal.Stats{Entries: int64(5 - first), Last: 5, Oldest: arrived.Add(time.Duration(first) * time.Minute)}
		for _, n := range sealed[first:] {
			want.Bytes += n
		}
		if diff := cmp.Diff(want, j.Stats()); diff != "" {
			t.Error(diff)
		}
	}
	check(0)
	if err := j.Trim(1); err != nil {
		t.Fatal(err)
	}
	check(1)
	closeJournal(t, j)
	j = openJournal(t, c)
	defer func() { closeJournal(t, j) }()
	check(1)
	if err := j.Trim(2, 3); err != nil {
		t.Fatal(err)
	}
	check(3)
}

func TestTheSpaceOfTrimmedEntriesComesBack(t *testing.T) {
	c := config(t, t.TempDir())
	j := openJournal(t, c)
	defer closeJournal(t, j)
	const entries = 80
	for i := range entries {
		d, content := push("")
		d.Payload = randomBytes(500 << 10)
		mustAppend(t, j, d, fmt.Sprint(i), content)
	}
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
	before := diskUse(t, c.Dir)
	for seq := uint64(1); seq <= entries-1; seq++ { // the last one stays
		if err := j.Trim(seq); err != nil {
			t.Fatal(err)
		}
	}
	// No more writes: it must come back by itself.
	deadline := time.After(15 * time.Second)
	for {
		use := diskUse(t, c.Dir)
		if use < before/3 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d MiB of %d are still in use", use>>20, before>>20)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func diskUse(t *testing.T, dir string) int64 {
	t.Helper()
	var sum int64
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tables {
		if fi, err := os.Stat(path); err == nil { // else it has just gone
			sum += fi.Size()
		}
	}
	return sum
}

func TestTheMetricsSayWhatWaits(t *testing.T) {
	fs := &faultFS{FS: vfs.NewMem()}
	fs.free.Store(123456789)
	j := memJournal(t, fs)
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(j.Collector()); err != nil {
		t.Fatal(err)
	}
	gather := func() map[string]float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]float64)
		for _, f := range families {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
		return got
	}
	want := map[string]float64{
		"postern_journal_entries": 0, "postern_journal_bytes": 0,
		"postern_journal_max_bytes": 1 << 30, "postern_store_reserve_bytes": 0,
		"postern_journal_oldest_timestamp_seconds": 0, "postern_store_free_bytes": 123456789,
	}
	if diff := cmp.Diff(want, gather()); diff != "" {
		t.Error(diff)
	}
	d, content := push("one")
	mustAppend(t, j, d, "id 1", content)
	want["postern_journal_entries"] = 1
	want["postern_journal_bytes"] = float64(len(readAll(t, j)[0].Sealed))
	want["postern_journal_oldest_timestamp_seconds"] = float64(arrived.UnixMilli()) / 1000
	if diff := cmp.Diff(want, gather()); diff != "" {
		t.Error(diff)
	}
}
