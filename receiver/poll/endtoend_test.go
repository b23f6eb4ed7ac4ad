package poll_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/bus/bustest"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// followingReceiver is a real journal, relay and bus, and follow-ups of a platform that
// a test plays: pushes name processes, and it knows of each which asset it
// created.
type followingReceiver struct {
	t        *testing.T
	bus      *bus.Bus
	keys     *journal.Keyring
	journal  *journal.Journal
	relay    *relay.Relay
	follow   *poll.FollowUps
	source   handlers.Source
	released chan relay.Released

	mu      sync.Mutex
	silent  map[string]int // how often it doesn't answer yet, by process
	asked   map[string]int
	mute    bool            // the process dies before it can acknowledge
	unheard map[string]bool // messages that it would have
}

func newReceiver(t *testing.T, giveUp time.Duration) *followingReceiver {
	r := &followingReceiver{
		t: t, bus: bustest.Server(t), released: make(chan relay.Released, 10),
		silent: map[string]int{}, asked: map[string]int{}, unheard: map[string]bool{},
	}
	dir := t.TempDir()
	var err error
	if r.keys, err = journal.OpenKeyring(journal.KeyConfig{DataDir: dir, Log: bustest.Log(t)}); err != nil {
		t.Fatal(err)
	}
	r.journal, err = journal.Open(journal.Config{Dir: dir + "/journal", MaxBytes: 1 << 30, Keys: r.keys, Log: bustest.Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.journal.Close(); err != nil {
			t.Error(err)
		}
	})
	r.relay = relay.New(relay.Config{
		Journal: r.journal, Bus: r.bus, Keys: r.keys, Registerer: prometheus.NewRegistry(), Log: bustest.Log(t),
		Normalize: map[string]func(handlers.Delivery) (handlers.Output, error){"test": tellProcess},
		Released:  func(released relay.Released) { r.released <- released },
	})
	r.run(func(ctx context.Context) error { return r.relay.Run(ctx) })
	r.source = handlers.Source{Name: "src", Platform: "test", FollowUp: &handlers.FollowUp{
		Types: []schemas.Type{schemas.ProcessSucceeded}, GiveUpAfter: giveUp, Answer: r.answer,
	}}
	return r
}

// run runs something until the function is called that it returns, or the test
// ends.
func (r *followingReceiver) run(fn func(ctx context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fn(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *followingReceiver) followUp() (stop func()) {
	r.follow = poll.NewFollowUps(poll.Config{
		Journal: r.journal, Relay: r.relay, Bus: r.bus, Seal: r.keys.Seal, Open: r.keys.Open,
		Pseudonym: func(v string) string { return schemas.Token(v + "\x00") }, Holder: "test", Log: bustest.Log(r.t),
	}, r.consume)
	return r.run(func(ctx context.Context) error { return r.follow.Run(ctx, []handlers.Source{r.source}) })
}

// consume hands on what the bus delivers, as the program does, and is less
// patient.
func (r *followingReceiver) consume(ctx context.Context, c poll.Consumption, fn func(poll.Message)) error {
	o := bus.ConsumeOptions{
		Stream: c.Stream, Durable: c.Durable, Subjects: c.Subjects, Since: c.Since,
		MaxPending: c.MaxPending, MaxPutOff: c.MaxPutOff, AckWait: 2 * time.Second,
	}
	return r.bus.Consume(ctx, o, func(m bus.Consumed) {
		fn(poll.Message{Seq: m.Seq, Header: m.Header, Data: m.Data, Deliveries: m.Deliveries, Reply: reply{m, r}})
	})
}

type reply struct {
	bus.Consumed
	r *followingReceiver
}

func (p reply) Done(ctx context.Context) error {
	p.r.mu.Lock()
	mute := p.r.mute
	if mute {
		p.r.unheard[p.Header[schemas.HeaderMsgID][0]] = true
	}
	p.r.mu.Unlock()
	if mute {
		return errors.New("the process died")
	}
	return p.Consumed.Done(ctx)
}

// answer is what the platform says of a process: the step that created its
// asset, and how that is now.
func (r *followingReceiver) answer(_ context.Context, e handlers.ToldEvent, s handlers.Scan, _ bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[e.Key]++
	if r.silent[e.Key] > 0 {
		r.silent[e.Key]--
		return &handlers.UpstreamError{Endpoint: "history", Code: 404}
	}
	payload := []byte(e.Key + " " + e.ID)
	return errors.Join(
		s.Tell(handlers.Fact{Role: "step", TransportID: "step:" + e.Key, Content: sha256.Sum256(payload), Payload: payload}),
		s.Saw(handlers.Sighting{Key: "asset-" + e.Key, Role: "assets", Container: "assets", Alone: true, View: "explained", State: jsontext.Value(`"created"`)}),
	)
}

func (r *followingReceiver) quiet(process string, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.silent[process] = times
}

func (r *followingReceiver) asks(process string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[process]
}

// tellProcess is the platform's translation.
func tellProcess(d handlers.Delivery) (handlers.Output, error) {
	key, cause, _ := strings.Cut(string(d.Payload), " ")
	e := schemas.Event{
		Source: d.Source, Time: "2026-03-01T10:00:00Z", Recorded: d.Received, DeliveryID: d.ID, Channel: d.Channel,
		ID: "src:process:" + key + ":success", Type: schemas.ProcessSucceeded, Key: key,
		Data: schemas.Process{Platform: "test", ProcessID: key, NativeStatus: "success", Affects: map[string][]string{}},
	}
	switch {
	case d.Changes && d.View != "explained":
		return handlers.Output{}, errors.New("a change without its view")
	case d.Changes:
		return handlers.Output{}, nil
	case d.Role == "step":
		e.ID, e.Type, e.Key, e.CausationID = "src:asset:"+key+":created", schemas.SubscriptionCreated, "asset-"+key, cause
		e.Data = schemas.Asset{Platform: "test", AssetID: "asset-" + key}
	}
	return handlers.Output{Events: []schemas.Event{e}}, nil
}

func (r *followingReceiver) push(processes ...string) {
	r.t.Helper()
	for _, p := range processes {
		d := handlers.Delivery{
			Source: "src", Platform: "test", Channel: schemas.ChannelPush, Role: "notification", Received: time.Now(), Payload: []byte(p),
		}
		if _, err := r.journal.Append(r.t.Context(), d, p, sha256.Sum256(d.Payload)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// on returns what a stream has, in order: ids and what caused them, or the
// reasons of what is in quarantine.
func (r *followingReceiver) on(stream schemas.Stream) []string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	list := []string{}
	err := r.bus.Tail(ctx, bus.TailOptions{Stream: stream}, func(m bus.TailMessage) error {
		if reason := m.Header[schemas.HeaderReason]; len(reason) > 0 {
			list = append(list, reason[0])
			return nil
		}
		var body struct {
			ID    string `json:"id"`
			Cause string `json:"causationid"`
		}
		if err := json.Unmarshal(m.Data, &body); err != nil {
			return err
		}
		if body.Cause != "" {
			body.ID += " because of " + body.Cause
		}
		list = append(list, body.ID)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

func (r *followingReceiver) eventually(what string, ok func() bool) {
	r.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			r.t.Fatal("did not happen in time: " + what)
		case <-tick.C:
		}
	}
}

func created(process string) string {
	return "src:asset:" + process + ":created because of src:process:" + process + ":success"
}

func (r *followingReceiver) has(stream schemas.Stream, want string) func() bool {
	return func() bool {
		for _, got := range r.on(stream) {
			if got == want {
				return true
			}
		}
		return false
	}
}

func TestPushesAreFollowedUpOverARealBus(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, time.Hour)
	stop := r.followUp()
	r.quiet("late", 1)
	r.push("late", "p1", "p2")
	r.eventually("p1 and p2 are answered, and late is not waited for", func() bool {
		return r.has(schemas.StreamEvents, created("p1"))() && r.has(schemas.StreamEvents, created("p2"))()
	})
	if r.has(schemas.StreamEvents, created("late"))() {
		t.Error("a step was told that nobody said")
	}
	r.eventually("late is answered", r.has(schemas.StreamEvents, created("late")))

	// It dies between an answer and its acknowledgement, and goes on elsewhere.
	r.mu.Lock()
	r.mute = true
	r.mu.Unlock()
	r.push("p3")
	r.eventually("the answer is not acknowledged", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.unheard["src:process:p3:success"]
	})
	stop()
	r.mu.Lock()
	r.mute = false
	r.mu.Unlock()
	r.followUp()
	r.eventually("p3 is asked for again", func() bool { return r.asks("p3") > 1 })
	r.push("p4")
	r.eventually("p4 is answered", r.has(schemas.StreamEvents, created("p4")))
	told := map[string]int{}
	for _, id := range r.on(schemas.StreamEvents) {
		told[id]++
	}
	want := map[string]int{}
	for _, p := range []string{"late", "p1", "p2", "p3", "p4"} {
		want[created(p)], want["src:process:"+p+":success"] = 1, 1
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	e, err := r.bus.Load(t.Context(), schemas.BucketState, "src.asset-late")
	if err != nil || e.Revision == 0 {
		t.Errorf("what the asset is like isn't known: %v", err)
	}
}

func TestAFollowUpThatFailedIsReleasedFromQuarantine(t *testing.T) {
	t.Parallel()
	r := newReceiver(t, 2*time.Second)
	r.followUp()
	r.quiet("lost", 2)
	r.push("lost", "p1")
	r.eventually("p1 is answered", r.has(schemas.StreamEvents, created("p1")))
	r.eventually("it is given up", r.has(schemas.StreamQuarantine, "follow_up_failed"))
	if n := r.asks("lost"); n != 2 {
		t.Errorf("it was asked for %d times", n)
	}
	m, err := r.bus.Get(t.Context(), schemas.StreamQuarantine, 1)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.keys.OpenDelivery(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	err = r.journal.Readmit(t.Context(), d, handlers.Release{
		Record: 1, Reason: schemas.ReasonFollowUpFailed, Actor: "alice", Action: "A1", Time: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("it is answered", r.has(schemas.StreamEvents, created("lost")))
	if got := <-r.released; got.Outcome != relay.ReleaseTold {
		t.Errorf("the release is %+v", got)
	}
	if left := r.on(schemas.StreamQuarantine); len(left) != 0 {
		t.Errorf("in quarantine is still %q", left)
	}
}
