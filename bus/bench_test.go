package bus_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// BenchmarkPublish measures deliveries: one message of 2 KB on RAW and one on
// EVENTS, both acknowledged, into an encrypted store that is synced. The
// batches of both streams are under way at once.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 10, 100, 500} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			bus := bustest.Server(b, func(cfg *bus.Config) { cfg.MaxStore = 50 << 30 })
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += size {
				from, to := n, min(n+size, b.N)-1
				var both sync.WaitGroup
				for _, s := range []schemas.Stream{schemas.StreamRaw, schemas.StreamEvents} {
					both.Go(func() {
						msgs := events(s, from, to)
						for i := range msgs {
							msgs[i].Body = make([]byte, 2048)
						}
						if _, err := bus.Publish(b.Context(), s, msgs); err != nil {
							b.Error(err)
						}
					})
				}
				both.Wait()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// BenchmarkStore measures what pollers remember, one by one and in batches, and
// what a key that has moved on costs the others.
func BenchmarkStore(b *testing.B) {
	for _, c := range []struct {
		size  int
		moved bool
	}{{1, false}, {15, false}, {16, false}, {100, false}, {500, false}, {500, true}} {
		b.Run(fmt.Sprintf("puts=%d/moved=%v", c.size, c.moved), func(b *testing.B) {
			bus := bustest.Server(b, func(cfg *bus.Config) { cfg.MaxStore = 50 << 30 })
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += c.size {
				all := puts(n, min(n+c.size, b.N)-1)
				for i := range all {
					all[i].Value = make([]byte, 500)
				}
				if c.moved {
					all[len(all)/2].Base = 1 << 40
				}
				if _, err := bus.Store(b.Context(), schemas.BucketState, all); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}

// BenchmarkFollow measures how fast the index catches up.
func BenchmarkFollow(b *testing.B) {
	bus := bustest.Server(b)
	const there = 20_000
	for from := 1; from < there; from += 500 {
		msgs := events(schemas.StreamEvents, from, from+499)
		for i := range msgs {
			msgs[i].Body = make([]byte, 1024)
		}
		publish(b, bus, schemas.StreamEvents, msgs...)
	}
	b.ResetTimer()
	for range b.N {
		told := 0
		err := bus.Follow(b.Context(), schemas.StreamEvents, 0, func(h []schemas.Heading, last uint64) error {
			if told += len(h); last == there {
				return errEnough
			}
			return nil
		})
		if told != there {
			b.Fatalf("told %d: %v", told, err)
		}
	}
	b.ReportMetric(float64(b.N*there)/b.Elapsed().Seconds(), "headings/s")
}

// BenchmarkRead measures what somebody else reads through the gate.
func BenchmarkRead(b *testing.B) {
	bus := bustest.Server(b)
	const there = 20_000
	for from := 1; from < there; from += 500 {
		publish(b, bus, schemas.StreamEvents, events(schemas.StreamEvents, from, from+499)...)
	}
	js := newJS(b, bustest.Connect(b, bus))
	b.ResetTimer()
	for range b.N {
		readAll(b, js, there)
	}
	b.ReportMetric(float64(b.N*there)/b.Elapsed().Seconds(), "messages/s")
}
