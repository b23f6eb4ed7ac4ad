package bus_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

// A reader that chose our durable's name first doesn't keep it, and can do
// nothing with ours.
func TestReadersCantHaveOurDurable(t *testing.T) {
	t.Parallel()
	var log recorder
	b := bustest.Server(t, func(cfg *bus.Config) { cfg.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	nc := bustest.Connect(t, b)
	js := newJS(t, nc)
	for i, config := range []jetstream.ConsumerConfig{
		{Durable: "ours-0", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "postern.events.nothing.>"},
		{Durable: "ours-1", AckPolicy: jetstream.AckExplicitPolicy, DeliverSubject: nats.NewInbox()},
	} {
		var err error
		if config.DeliverSubject == "" {
			_, err = js.CreateConsumer(t.Context(), string(schemas.StreamEvents), config)
		} else {
			_, err = js.CreatePushConsumer(t.Context(), string(schemas.StreamEvents), config)
		}
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("ours-%d", i)
		c := startConsuming(t, b, bus.ConsumeOptions{Durable: name})
		eventually(t, "the reader's is deleted", func() bool {
			return strings.Count(log.String(), "is deleted") == i+1
		})
		eventually(t, "ours is there", func() bool {
			ours, err := newJS(t, bus.Conn(b)).Consumer(t.Context(), string(schemas.StreamEvents), name)
			return err == nil && cmp.Equal(ours.CachedInfo().Config.FilterSubjects, succeeded)
		})
		publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, i+1, i+1)...)
		if diff := cmp.Diff(ids(i+1, i+1), c.ids(1)); diff != "" {
			t.Error(diff)
		}
		for what, err := range map[string]error{
			"change": func() error { _, err := js.UpdateConsumer(t.Context(), "POSTERN_EVENTS", config); return err }(),
			"see":    func() error { _, err := js.Consumer(t.Context(), "POSTERN_EVENTS", name); return err }(),
			"delete": js.DeleteConsumer(t.Context(), "POSTERN_EVENTS", name),
		} {
			if err == nil {
				t.Errorf("a reader can %s %s", what, name)
			}
		}
		// A name that is ours stays ours while nothing has it.
		if err := newJS(t, bus.Conn(b)).DeleteConsumer(t.Context(), "POSTERN_EVENTS", name); err != nil {
			t.Error(err)
		}
		if _, err := js.CreateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{Durable: name}); err == nil {
			t.Errorf("a reader can make %s", name)
		}
	}
}
