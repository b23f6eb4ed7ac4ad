package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// follow has every process that succeeded booked until ctx ends: at least once,
// so book keys on the id, which is the same for the same fact for ever.
func follow(ctx context.Context, url string, book func(id string, event []byte) error) error {
	nc, err := nats.Connect(url) // nats://127.0.0.1:4222
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	c, err := js.CreateOrUpdateConsumer(ctx, "POSTERN_EVENTS", jetstream.ConsumerConfig{
		Durable: "ledger", FilterSubject: "postern.events.*.process.succeeded.>", AckPolicy: jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return err
	}
	booking, err := c.Consume(func(m jetstream.Msg) {
		if err := book(m.Headers().Get("ce-id"), m.Data()); err != nil {
			_ = m.NakWithDelay(time.Second) // comes again
			return
		}
		_ = m.Ack()
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	booking.Drain() // what has arrived is booked
	<-booking.Closed()
	return nil
}

func TestTheServiceInREADMEBooksEachFact(t *testing.T) {
	source := readFile(t, "readme_service_test.go")
	shown := block(t, "go")
	if !strings.Contains(source, "\n"+shown+"\n") {
		t.Fatalf("this test doesn't run what README shows:\n%s", shown)
	}

	r := newReceiver(t, "")
	r.startBroker()
	subscribe(t, connect(t, r.broker)) // the stream is there
	node := nodeOf(t, 31)
	booked := make(chan string, 10)
	serve := func(book func(id string, event []byte) error) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- follow(ctx, r.broker, book) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	next := func() string {
		t.Helper()
		select {
		case id := <-booked:
			return id
		case <-time.After(patience):
			t.Fatal("nothing is booked")
			return ""
		}
	}
	push := func(process string) {
		t.Helper()
		if status, _ := r.pushed(signed(t, node.Notification(investment(process)))); status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
	}

	tries := 0
	stop := serve(func(id string, event []byte) error {
		tries++
		if tries == 1 {
			return errors.New("the ledger is closed")
		}
		if !strings.Contains(string(event), `"processId":"one"`) {
			t.Errorf("the event is %s", event)
		}
		booked <- id
		return nil
	})
	push("one")
	got := []string{next()}
	stop()

	push("two") // while nobody listens
	stop = serve(func(id string, _ []byte) error {
		booked <- id
		return nil
	})
	got = append(got, next())
	stop()
	if diff := cmp.Diff([]string{"corastone:process:one:success", "corastone:process:two:success"}, got); diff != "" {
		t.Errorf("booked (-want +got):\n%s", diff)
	}
	if len(booked) > 0 {
		t.Errorf("%s is booked once more", <-booked)
	}
}
