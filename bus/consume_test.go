package bus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/schemas"
)

var succeeded = []string{"postern.events.*.process.succeeded.*"}

// consumption is a Consume that goes on until it is stopped.
type consumption struct {
	t    *testing.T
	got  chan bus.Consumed
	stop func() error // ends it and returns why it ended
}

func startConsuming(t *testing.T, b *bus.Bus, o bus.ConsumeOptions) consumption {
	t.Helper()
	if o.Durable == "" {
		o.Durable = "follow-ups"
	}
	if o.Subjects == nil {
		o.Subjects = succeeded
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := consumption{t: t, got: make(chan bus.Consumed, 1000)}
	ended := make(chan error, 1)
	go func() { ended <- b.Consume(ctx, o, func(m bus.Consumed) { c.got <- m }) }()
	var once sync.Once
	var err error
	c.stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	t.Cleanup(func() { c.stop() })
	return c
}

func (c consumption) next() bus.Consumed {
	c.t.Helper()
	select {
	case m := <-c.got:
		return m
	case <-time.After(15 * time.Second):
		c.t.Fatal("nothing is delivered")
		return bus.Consumed{}
	}
}

// ids takes n messages, says of all that they are done, and returns their ids in
// the order of the stream.
func (c consumption) ids(n int) []string {
	c.t.Helper()
	var all []bus.Consumed
	for range n {
		m := c.next()
		if err := m.Done(c.t.Context()); err != nil {
			c.t.Errorf("done: %v", err)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b bus.Consumed) int { return int(a.Seq) - int(b.Seq) })
	var ids []string
	for _, m := range all {
		ids = append(ids, m.Header[schemas.HeaderMsgID][0])
	}
	return ids
}

func (c consumption) nothing() {
	c.t.Helper()
	select {
	case m := <-c.got:
		c.t.Errorf("%s is delivered", m.Subject)
	case <-time.After(100 * time.Millisecond):
	}
}

// made waits until the durable is there.
func made(t *testing.T, b *bus.Bus) jetstream.Consumer {
	t.Helper()
	js := newJS(t, bus.Conn(b))
	var c jetstream.Consumer
	eventually(t, "the durable is there", func() (ok bool) {
		var err error
		c, err = js.Consumer(t.Context(), string(schemas.StreamEvents), "follow-ups")
		return err == nil
	})
	return c
}

func TestConsumeDeliversWhatIsNewUntilItIsDone(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 5)...)
	c := startConsuming(t, b, bus.ConsumeOptions{AckWait: time.Second})
	made(t, b)
	publish(t, b, schemas.StreamEvents, on(schemas.StreamEvents, "acme.process.failed.x"), event(schemas.StreamEvents, "e6"))
	m := c.next()
	want := event(schemas.StreamEvents, "e6")
	if m.Seq != 7 || m.Subject != want.Subject || string(m.Data) != string(want.Body) || m.Deliveries != 1 || !cmp.Equal(m.Header, want.Header) {
		t.Errorf("got %+v", m)
	}
	// Nobody said anything about it.
	if m = c.next(); m.Seq != 7 || m.Deliveries != 2 {
		t.Errorf("got %+v", m)
	}
	// It takes longer than AckWait, and says so.
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		if err := m.Working(); err != nil {
			t.Fatal(err)
		}
		c.nothing()
	}
	began := time.Now()
	if err := m.Later(300 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if m = c.next(); m.Seq != 7 || m.Deliveries != 3 || time.Since(began) < 300*time.Millisecond {
		t.Errorf("got %+v after %v", m, time.Since(began))
	}
	for range 2 {
		if err := m.Done(t.Context()); err != nil {
			t.Errorf("done: %v", err)
		}
	}
	info, err := made(t, b).Info(t.Context())
	if err != nil || info.NumAckPending != 0 || info.AckFloor.Stream != 7 || info.Config.MaxDeliver != -1 {
		t.Errorf("got %+v, %v", info, err)
	}
	if err := c.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestConsumeBeginsWhereItIsTold(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 3)...)
	last, err := b.Get(t.Context(), schemas.StreamEvents, 3)
	if err != nil {
		t.Fatal(err)
	}
	since := last.Time.Add(1)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 4, 6)...)
	c := startConsuming(t, b, bus.ConsumeOptions{Since: since})
	if diff := cmp.Diff(ids(4, 6), c.ids(3)); diff != "" {
		t.Error(diff)
	}
	c.stop()
	// Which is only for one that is new.
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 7, 8)...)
	c = startConsuming(t, b, bus.ConsumeOptions{Since: since})
	if diff := cmp.Diff(ids(7, 8), c.ids(2)); diff != "" {
		t.Error(diff)
	}
}

func TestConsumeGivesNoMoreThanMayBePending(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	c := startConsuming(t, b, bus.ConsumeOptions{MaxPending: 3})
	made(t, b)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 10)...)
	first := []bus.Consumed{c.next(), c.next(), c.next()}
	c.nothing()
	for _, m := range first {
		if err := m.Done(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(ids(4, 10), c.ids(7)); diff != "" {
		t.Error(diff)
	}
	c.stop()
	c = startConsuming(t, b, bus.ConsumeOptions{MaxPending: 5, Subjects: []string{"postern.events.acme.process.failed.*", "postern.events.acme.process.succeeded.*"}})
	eventually(t, "the durable follows the options", func() bool {
		info, err := made(t, b).Info(t.Context())
		return err == nil && info.Config.MaxAckPending == 5 && len(info.Config.FilterSubjects) == 2
	})
	publish(t, b, schemas.StreamEvents, on(schemas.StreamEvents, "acme.process.failed.x"))
	if m := c.next(); m.Subject != "postern.events.acme.process.failed.x" {
		t.Errorf("got %+v", m)
	}
}

// What was not given to anybody when it ended is delivered to the next one
// without waiting for AckWait.
func TestConsumeGivesBackWhatNobodyWasTold(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	ctx, cancel := context.WithCancel(t.Context())
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- b.Consume(ctx, bus.ConsumeOptions{Durable: "follow-ups", Subjects: succeeded, AckWait: time.Hour}, func(m bus.Consumed) {
			close(began)
			<-ctx.Done()
			if err := m.Later(0); err != nil {
				t.Error(err)
			}
		})
	}()
	made(t, b)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 20)...)
	<-began
	eventually(t, "all are sent", func() bool {
		info, err := made(t, b).Info(t.Context())
		return err == nil && info.NumAckPending == 20
	})
	cancel()
	<-ended
	c := startConsuming(t, b, bus.ConsumeOptions{AckWait: time.Hour})
	if diff := cmp.Diff(ids(1, 20), c.ids(20)); diff != "" {
		t.Error(diff)
	}
}

// What is done is remembered by the server, over restarts of it and of us.
func TestConsumeGoesOnAfterRestarts(t *testing.T) {
	t.Parallel()
	external := bustest.NewExternal(t)
	b := external.Bus()
	bustest.Prepare(t, b)
	c := startConsuming(t, b, bus.ConsumeOptions{AckWait: 2 * time.Second})
	made(t, b)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 10)...)
	if diff := cmp.Diff(ids(1, 10), c.ids(10)); diff != "" {
		t.Error(diff)
	}
	publish(t, b, schemas.StreamEvents, event(schemas.StreamEvents, "e11"))
	open := c.next()
	external.Stop()
	if err := open.Done(t.Context()); err == nil {
		t.Error("done without a server")
	}
	external.Start()
	if diff := cmp.Diff(ids(11, 11), c.ids(1)); diff != "" {
		t.Error(diff)
	}
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 12, 15)...)
	if diff := cmp.Diff(ids(12, 15), c.ids(4)); diff != "" {
		t.Error(diff)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.stop(); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
	other := external.Bus()
	eventually(t, "connect", func() bool { return other.Epoch() > 0 })
	publish(t, other, schemas.StreamEvents, events(schemas.StreamEvents, 16, 20)...)
	c = startConsuming(t, other, bus.ConsumeOptions{AckWait: 2 * time.Second})
	if diff := cmp.Diff(ids(16, 20), c.ids(5)); diff != "" {
		t.Error(diff)
	}
	c.nothing()
}

// The embedded server is restarted under it.
func TestConsumeSurvivesARest(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	c := startConsuming(t, b, bus.ConsumeOptions{})
	made(t, b)
	for i := range 3 {
		if err := b.Rest(func(string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		eventually(t, "publish", func() bool {
			_, err := b.Publish(t.Context(), schemas.StreamEvents, events(schemas.StreamEvents, i+1, i+1))
			return err == nil
		})
		if diff := cmp.Diff(ids(i+1, i+1), c.ids(1)); diff != "" {
			t.Error(diff)
		}
	}
}

// A durable that somebody deletes is made again, and nothing is missed that
// came meanwhile, or had not come to its end.
func TestConsumeMakesItsDurableAgain(t *testing.T) {
	t.Parallel()
	for _, since := range []time.Time{{}, time.Now().Add(-time.Hour)} {
		external := bustest.NewExternal(t)
		b := external.Bus()
		bustest.Prepare(t, b)
		js := newJS(t, bus.Conn(b))
		publish(t, b, schemas.StreamEvents, on(schemas.StreamEvents, "acme.process.failed.x"))
		c := startConsuming(t, b, bus.ConsumeOptions{Since: since})
		made(t, b)
		remove := func() {
			t.Helper()
			if err := js.DeleteConsumer(t.Context(), string(schemas.StreamEvents), "follow-ups"); err != nil {
				t.Fatal(err)
			}
		}
		remove()
		publish(t, b, schemas.StreamEvents, event(schemas.StreamEvents, "e1"))
		if m := c.next(); m.Seq != 2 || m.Deliveries != 1 {
			t.Errorf("got %+v", m)
		}
		remove()
		publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 2, 3)...)
		if diff := cmp.Diff(ids(1, 3), c.ids(3)); diff != "" {
			t.Error(diff)
		}
		// A broker that lost all of it: what is told anew is delivered.
		external.Wipe()
		eventually(t, "it is made anew", func() bool { return b.Prepare(t.Context()) == nil })
		eventually(t, "publish", func() bool {
			_, err := b.Publish(t.Context(), schemas.StreamEvents, events(schemas.StreamEvents, 1, 2))
			return err == nil
		})
		if diff := cmp.Diff(ids(1, 2), c.ids(2)); diff != "" {
			t.Error(diff)
		}
		c.stop()
	}
}

func TestConsumeRefusesOptionsThatCantBe(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	for name, o := range map[string]bus.ConsumeOptions{
		"no name":     {Subjects: succeeded},
		"no subjects": {Durable: "follow-ups"},
		"bad name":    {Durable: "a.b", Subjects: succeeded},
		"negative":    {Durable: "a", Subjects: succeeded, MaxPending: -1},
	} {
		if err := b.Consume(t.Context(), o, nil); err == nil || t.Context().Err() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A durable shows where others do.
func TestConsumeIsReported(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	c := startConsuming(t, b, bus.ConsumeOptions{MaxPending: 2})
	made(t, b)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 7)...)
	c.next()
	c.next()
	want := []string{"postern_consumer_pending{consumer=follow-ups,stream=POSTERN_EVENTS} 5"}
	if diff := cmp.Diff(want, gather(t, b, "postern_consumer_pending")); diff != "" {
		t.Error(diff)
	}
	reports, err := b.Streams(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(reports, func(r bus.StreamReport) bool { return r.Name == string(schemas.StreamEvents) })
	if diff := cmp.Diff([]bus.ConsumerReport{{Name: "follow-ups", Pending: 5}}, reports[i].Consumers); diff != "" {
		t.Error(diff)
	}
}

// What is put off holds up nothing behind it, up to a number.
func TestConsumeDeliversWhatIsNewBehindWhatIsPutOff(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	c := startConsuming(t, b, bus.ConsumeOptions{MaxPending: 1, MaxPutOff: 3})
	made(t, b)
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 6)...)
	for range 4 {
		if err := c.next().Later(time.Hour); err != nil {
			t.Error(err)
		}
	}
	c.nothing()
}

func TestConsumeDeliversOtherStreams(t *testing.T) {
	t.Parallel()
	b := bustest.Server(t)
	c := startConsuming(t, b, bus.ConsumeOptions{Stream: schemas.StreamOps, Subjects: []string{"postern.ops.acme.wanted"}, Since: time.Now().Add(-time.Minute)})
	m := event(schemas.StreamOps, "o1")
	m.Subject = "postern.ops.acme.wanted"
	publish(t, b, schemas.StreamEvents, events(schemas.StreamEvents, 1, 3)...)
	publish(t, b, schemas.StreamOps, m)
	if diff := cmp.Diff([]string{"o1"}, c.ids(1)); diff != "" {
		t.Error(diff)
	}
	c.nothing()
}
