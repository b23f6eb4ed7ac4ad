package bus_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

func TestGuestReadsEvents(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	js := newJS(t, bustest.Connect(t, b))
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 30)...)
	want := ids(1, 30)

	t.Run("with an ordered consumer", func(t *testing.T) {
		c, err := js.OrderedConsumer(t.Context(), "POSTERN_EVENTS", jetstream.OrderedConsumerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, consume(t, c, 30, false)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("with a durable consumer that acknowledges", func(t *testing.T) {
		config := jetstream.ConsumerConfig{Durable: "billing", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "postern.events.acme.>"}
		c, err := js.CreateOrUpdateConsumer(t.Context(), "POSTERN_EVENTS", config)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, consume(t, c, 30, true)); diff != "" {
			t.Error(diff)
		}
		c, err = js.Consumer(t.Context(), "POSTERN_EVENTS", "billing")
		if err != nil {
			t.Fatal(err)
		}
		if info := c.CachedInfo(); info.NumAckPending != 0 || info.AckFloor.Stream != 30 {
			t.Errorf("acknowledged up to %d, %d pending", info.AckFloor.Stream, info.NumAckPending)
		}
		if err := js.DeleteConsumer(t.Context(), "POSTERN_EVENTS", "billing"); err != nil {
			t.Error(err)
		}
	})
	t.Run("with fetches", func(t *testing.T) {
		c, err := js.CreateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := c.Fetch(30, jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for m := range batch.Messages() {
			got = append(got, m.Headers().Get("Nats-Msg-Id"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("by stream info and single messages", func(t *testing.T) {
		s, err := js.Stream(t.Context(), "POSTERN_EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		if n := s.CachedInfo().State.Msgs; n != 30 {
			t.Errorf("the stream has %d messages, want 30", n)
		}
		m, err := s.GetMsg(t.Context(), 7)
		if err != nil || m.Header.Get("Nats-Msg-Id") != "e7" {
			t.Errorf("message 7 is %v, %v", m, err)
		}
		m, err = s.GetLastMsgForSubject(t.Context(), "postern.events.acme.process.succeeded.e9")
		if err != nil || m.Sequence != 9 {
			t.Errorf("last message of e9 is %v, %v", m, err)
		}
		name, err := js.StreamNameBySubject(t.Context(), "postern.events.>")
		if err != nil || name != "POSTERN_EVENTS" {
			t.Errorf("stream of the subject is %q, %v", name, err)
		}
	})
	t.Run("with an old push consumer", func(t *testing.T) {
		nc := bustest.Connect(t, b)
		old, err := nc.JetStream()
		if err != nil {
			t.Fatal(err)
		}
		sub, err := old.SubscribeSync("postern.events.>", nats.OrderedConsumer())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 30 {
			m, err := sub.NextMsg(3 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Header.Get("Nats-Msg-Id"))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("as they come", func(t *testing.T) {
		nc := bustest.Connect(t, b)
		sub, err := nc.SubscribeSync("postern.events.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
		publish(t, b, schemas.StreamEvents, event(schemas.StreamEvents, "live"))
		m, err := sub.NextMsg(3 * time.Second)
		if err != nil || m.Header.Get("Nats-Msg-Id") != "live" {
			t.Errorf("got %v, %v", m, err)
		}
	})
}

// Who may read several streams finds the one of a subject, with the oldest
// interface as well, and is told of no others.
func TestReadersFindTheStreamOfASubject(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t, func(cfg *bus.Config) {
		cfg.Embedded.Users = []bus.User{
			{Name: "ann", Password: "a long password", Allow: bus.AllowRestricted},
			{Name: "bob", Password: "a long password", Allow: bus.AllowAll},
		}
	})
	for _, s := range schemas.Streams() {
		publish(t, b, s, event(s, "e1"))
	}
	for user, may := range map[string][]schemas.Stream{
		"":    {schemas.StreamEvents},
		"ann": {schemas.StreamEvents, schemas.StreamRestricted},
		"bob": schemas.Streams(),
	} {
		var options []nats.Option
		if user != "" {
			options = append(options, nats.UserInfo(user, "a long password"))
		}
		nc := bustest.Connect(t, b, options...)
		js := newJS(t, nc)
		old, err := nc.JetStream(nats.MaxWait(3 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, s := range schemas.Streams() {
			name, err := js.StreamNameBySubject(t.Context(), s.Prefix()+".>")
			if !slices.Contains(may, s) {
				if !errors.Is(err, jetstream.ErrStreamNotFound) {
					t.Errorf("%q finds %s: %q, %v", user, s, name, err)
				}
				continue
			}
			all = append(all, string(s))
			if err != nil || name != string(s) {
				t.Errorf("%q finds %q for %s: %v", user, name, s, err)
			}
			sub, err := old.SubscribeSync(s.Prefix()+".>", nats.OrderedConsumer())
			if err != nil {
				t.Errorf("%q subscribes to %s: %v", user, s, err)
				continue
			}
			m, err := sub.NextMsg(3 * time.Second)
			if err != nil || m.Header.Get("Nats-Msg-Id") != "e1" {
				t.Errorf("%q gets %v of %s, %v", user, m, s, err)
			}
		}
		slices.Sort(all)
		var got []string
		names := js.StreamNames(t.Context())
		for name := range names.Name() {
			got = append(got, name)
		}
		if diff := cmp.Diff(all, got); diff != "" || names.Err() != nil {
			t.Errorf("%q is told of: %v\n%s", user, names.Err(), diff)
		}
	}
}

// Clients ask about their account to find out whether there is JetStream. They
// are told that, and nothing of what others have or do.
func TestReadersLearnNothingOfTheAccount(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, raw, events(raw, 1, 30)...)
	info, err := newJS(t, bustest.Connect(t, b)).AccountInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.Streams != 1 || info.Store != 0 || info.Memory != 0 || info.Consumers != 0 || info.API.Total != 0 || info.Limits.MaxStore != -1 {
		t.Errorf("got %+v", info)
	}
}

// consume returns the ids of the first n messages.
func consume(t *testing.T, c jetstream.Consumer, n int, ack bool) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got := make(chan string, 100)
	consuming, err := c.Consume(func(m jetstream.Msg) {
		if ack {
			if err := m.DoubleAck(ctx); err != nil {
				t.Errorf("acknowledge: %v", err)
			}
		}
		got <- m.Headers().Get("Nats-Msg-Id")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer consuming.Stop()
	var all []string
	for len(all) < n {
		select {
		case id := <-got:
			all = append(all, id)
		case <-ctx.Done():
			t.Fatalf("got only %d of %d: %v", len(all), n, all)
		}
	}
	return slices.Clone(all)
}
