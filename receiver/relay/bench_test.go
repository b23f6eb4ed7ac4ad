package relay_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// BenchmarkDrain relays a backlog of pushes of about 2 KiB, as they are after a
// broker was away, to an embedded server with an encrypted and synced store:
// for each a sealed record and an event.
func BenchmarkDrain(b *testing.B) {
	const backlog = 20_000
	signer, err := corastonetest.Shared()
	if err != nil {
		b.Fatal(err)
	}
	node := corastonetest.NewNode(signer, corastonetest.Topic, 1)
	payloads := make([][]byte, backlog)
	for i := range payloads {
		p := node.Process("createInvestment", "success")
		assets := make([]string, 24)
		for k := range assets {
			assets[k] = node.AssetID()
		}
		p.Details = map[string][]string{"assetIds": assets}
		e := node.Notification(p)
		e.Signature = strings.Repeat("A", 344) // its length; the relay doesn't look at it
		e.SigningCertURL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-00000000000000000000000000000000.pem"
		e.UnsubscribeURL = "https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=" + corastonetest.Topic + ":00000000-0000-4000-8000-000000000000"
		payloads[i] = e.Body()
	}
	b.Logf("%d bytes a push", len(payloads[0]))
	for b.Loop() {
		b.StopTimer()
		server := bustest.Server(b)
		w := newWorld(b)
		w.config = func(c *relay.Config) {
			platform := corastone.Platform()
			c.Normalize = map[string]func(handlers.Delivery) (handlers.Output, error){platform.Name: platform.Normalize}
		}
		fill(b, w, payloads)
		b.StartTimer()
		start := time.Now()
		w.run(server)
		w.drain()
		b.ReportMetric(backlog/time.Since(start).Seconds(), "deliveries/s")
		b.StopTimer()
		if state, err := server.StreamState(b.Context(), schemas.StreamEvents); err != nil || state.Messages != backlog {
			b.Fatalf("%d events are on the bus, want %d (%v)", state.Messages, backlog, err)
		}
		w.close()
		w.open() // for its cleanup
		b.StartTimer()
	}
}

// fill appends payloads with many writers, as a busy ingress would.
func fill(b *testing.B, w *world, payloads [][]byte) {
	b.Helper()
	var wg sync.WaitGroup
	const writers = 64
	for n := range writers {
		wg.Go(func() {
			for i := n; i < len(payloads); i += writers {
				d := handlers.Delivery{
					Source: "corastone", Platform: "corastone", Channel: schemas.ChannelPush,
					Role: "notification", Received: time.Now(), Payload: payloads[i],
				}
				if _, err := w.journal.Append(b.Context(), d, fmt.Sprint("m", i), sha256.Sum256(payloads[i])); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}
