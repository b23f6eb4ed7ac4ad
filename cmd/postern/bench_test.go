package main

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// BenchmarkPushToSubscriber measures the time from the first byte of a push to
// its event at a subscriber in another process, at 200 pushes a second.
func BenchmarkPushToSubscriber(b *testing.B) {
	const rate, pushes = 200, 1000
	r := newReceiver(b, "")
	r.startBroker()
	subscribe(b, connect(b, r.broker)) // the stream is there
	nc, err := nats.Connect(r.broker)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	var mu sync.Mutex
	sent := map[string]time.Time{}
	took := make(chan time.Duration, pushes)
	if _, err := nc.Subscribe("postern.events.>", func(m *nats.Msg) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		took <- now.Sub(sent[m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]])
	}); err != nil {
		b.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		b.Fatal(err)
	}
	node := nodeOf(b, uint64(time.Now().UnixNano()))
	pusher := r.pusher(caller)

	var all []time.Duration
	for b.Loop() {
		b.StopTimer()
		ids := make([]string, pushes)
		signedPushes := make([]corastonetest.Push, pushes)
		for i := range ids {
			p := node.Process("createInvestment", "success", node.AssetID())
			ids[i] = p.ProcessID
			signedPushes[i] = signed(b, node.Notification(p))
		}
		b.StartTimer()
		tick := time.NewTicker(time.Second / rate)
		var wg sync.WaitGroup
		for i := range ids {
			<-tick.C
			mu.Lock()
			sent[ids[i]] = time.Now()
			mu.Unlock()
			wg.Go(func() {
				if a, err := pusher.Push(b.Context(), signedPushes[i]); a.Status != http.StatusOK {
					b.Errorf("a push was answered %d (%v)", a.Status, err)
				}
			})
		}
		tick.Stop()
		wg.Wait()
		for range ids {
			select {
			case d := <-took:
				all = append(all, d)
			case <-time.After(patience):
				b.Fatal("an event did not arrive")
			}
		}
	}
	slices.Sort(all)
	b.ReportMetric(ms(all[len(all)/2]), "p50-ms")
	b.ReportMetric(ms(all[len(all)*99/100]), "p99-ms")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkStart measures the time from the start of a process to the first
// push that it could take, and its memory when it then has nothing to do.
func BenchmarkStart(b *testing.B) {
	var rss float64
	for b.Loop() {
		r := newReceiver(b, "")
		r.startBroker()
		b.StopTimer()
		subscribe(b, connect(b, r.broker)) // the streams are made, and idle
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
		if err != nil {
			b.Skip("no /proc here")
		}
		for l := range strings.Lines(string(status)) {
			if f := strings.Fields(l); f[0] == "VmRSS:" {
				kib, _ := strconv.Atoi(f[1])
				rss = float64(kib) / 1024
			}
		}
		r.kill()
		b.StartTimer()
	}
	b.ReportMetric(rss, "rss-MiB")
}
