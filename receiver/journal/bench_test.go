package journal_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// BenchmarkAppend compares an append with the bare synced write of as many
// bytes to a Pebble with the same options, in turns, since a disk has its
// moods: what sealing and claims cost. One operation is one of each.
func BenchmarkAppend(b *testing.B) {
	payload := randomBytes(2048)
	value := append(payload[:len(payload):len(payload)], randomBytes(128)...)
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			j := openJournal(b, config(b, b.TempDir()))
			defer closeJournal(b, j)
			db, err := pebble.Open(b.TempDir(), j.EngineOptions(vfs.Default))
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			d, _ := push("")
			d.Payload = payload

			var bare, journaled time.Duration
			b.ResetTimer()
			ids := make([]string, 100*writers)
			for from := 0; from < b.N; from += len(ids) {
				to := min(from+len(ids), b.N)
				for i := range ids {
					ids[i] = fmt.Sprintf("arn:aws:sns:eu-west-1:999999999999:bench/%016x", from+i)
				}
				bare += concurrently(b, writers, from, to, func(i uint64) error {
					return db.Set(binary.BigEndian.AppendUint64([]byte{'e'}, i), value, pebble.Sync)
				})
				journaled += concurrently(b, writers, from, to, func(i uint64) error {
					_, err := j.Append(b.Context(), d, ids[i-1-uint64(from)], [32]byte{})
					return err
				})
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/bare.Seconds(), "bare/s")
			b.ReportMetric(float64(b.N)/journaled.Seconds(), "journal/s")
			b.ReportMetric(bare.Seconds()/journaled.Seconds(), "of-bare")
		})
	}
}

// concurrently does what is numbered from one to the other and returns how
// long that took.
func concurrently(b *testing.B, writers, from, to int, do func(i uint64) error) time.Duration {
	var next atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	start := time.Now()
	for range writers {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(to) {
					return
				}
				if err := do(uint64(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

// BenchmarkRead reads and opens a backlog of 2 KiB deliveries in batches of
// 500, as the relay does: from memory, where it is at first, and from tables.
func BenchmarkRead(b *testing.B) {
	for _, flushed := range []bool{false, true} {
		b.Run(fmt.Sprintf("flushed=%t", flushed), func(b *testing.B) {
			j := openJournal(b, config(b, b.TempDir()))
			defer closeJournal(b, j)
			const backlog = 3000
			d, _ := push("")
			d.Payload = randomBytes(2048)
			concurrently(b, 64, 0, backlog, func(i uint64) error {
				_, err := j.Append(b.Context(), d, fmt.Sprint(i), [32]byte{})
				return err
			})
			if flushed {
				if err := j.Flush(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			var after uint64
			for n := 0; n < b.N; {
				entries, err := j.Read(b.Context(), after, min(500, b.N-n), 64<<20)
				if err != nil {
					b.Fatal(err)
				}
				n += len(entries)
				if after = entries[len(entries)-1].Seq; after == backlog {
					after = 0
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

func BenchmarkSeal(b *testing.B) {
	k := keyring(b)
	d, _ := push("")
	d.Payload = randomBytes(2048)
	sealed := k.SealDelivery(d)
	b.Run("seal", func(b *testing.B) {
		b.SetBytes(2048)
		for b.Loop() {
			k.SealDelivery(d)
		}
	})
	b.Run("open", func(b *testing.B) {
		b.SetBytes(2048)
		for b.Loop() {
			if _, err := k.OpenDelivery(sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkIndex looks ids up among 200,000, and notes new ones in batches of
// 500.
func BenchmarkIndex(b *testing.B) {
	j := openJournal(b, config(b, b.TempDir()))
	defer closeJournal(b, j)
	x := j.Index()
	const known = 200_000
	told := func(from, n int) []journal.Told {
		list := make([]journal.Told, n)
		for i := range list {
			list[i] = journal.Told{
				ID:     fmt.Sprintf("alpha:process:%032d:success", from+i),
				Facets: "channel=AbCdEfGh;method=IjKlMnOp;status=QrStUvWx;transaction=YzAbCdEf",
				Seq:    uint64(from + i),
			}
		}
		return list
	}
	apply := func(b *testing.B, list []journal.Told) {
		if err := x.Apply(schemas.StreamEvents, list, list[len(list)-1].Seq); err != nil {
			b.Fatal(err)
		}
	}
	for from := 1; from < known; from += 500 {
		apply(b, told(from, 500))
	}
	if err := j.Flush(); err != nil {
		b.Fatal(err)
	}
	j.WaitForFilters()
	ids := told(1, known)
	b.Run("told", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, ok, err := x.Lookup(ids[i*7919%known].ID); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, ok, err := x.Lookup(ids[i%known].ID + ":x"); ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("apply", func(b *testing.B) {
		next := 1_000_000
		for i := 0; i < b.N; i += 500 {
			b.StopTimer()
			list := told(next, 500)
			next += 500
			b.StartTimer()
			apply(b, list)
		}
	})
	b.Run("apply-known", func(b *testing.B) {
		for i := 0; i < b.N; i += 500 {
			apply(b, ids[i%(known-500):][:500])
		}
	})
}
