package poll_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
	"github.com/seed75441868/postern/schemas"
)

var errUnanswered = &handlers.UpstreamError{Endpoint: "history", Err: handlers.ErrIncomplete}

// followed is a receiver whose source answers as a test says.
type followed struct {
	t       *testing.T
	bus     *polltest.Bus
	road    *polltest.Road
	box     *mailbox
	metrics *prometheus.Registry
	began   time.Time
	config  poll.Config
	follow  *poll.FollowUps
	spec    *handlers.FollowUp
	stop    func()

	mu    sync.Mutex
	tries map[string][]time.Duration // since began, by the event's key
	told  []string
}

// follow begins to follow events up with an answer, in a bubble.
func follow(t *testing.T, giveUp time.Duration, answer func(f *followed, e handlers.ToldEvent, s handlers.Scan, last bool) error) *followed {
	f := &followed{
		t: t, bus: polltest.NewBus(), box: newMailbox(), metrics: prometheus.NewRegistry(), began: time.Now(),
		tries: map[string][]time.Duration{}, stop: func() {},
	}
	f.road = polltest.NewRoad(f.bus, map[string]polltest.Normalize{"test": f.normalize})
	f.spec = &handlers.FollowUp{
		Types: []schemas.Type{schemas.ProcessSucceeded}, GiveUpAfter: giveUp,
		Answer: func(_ context.Context, e handlers.ToldEvent, s handlers.Scan, last bool) error {
			f.mu.Lock()
			f.tries[e.Key] = append(f.tries[e.Key], time.Since(f.began).Round(time.Second))
			f.mu.Unlock()
			return answer(f, e, s, last)
		},
	}
	f.config = poll.Config{
		Journal: f.road, Relay: f.road, Bus: f.bus, Seal: polltest.Seal, Open: polltest.Open,
		Pseudonym: func(v string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(v))) },
		Metrics:   poll.NewMetrics(f.metrics),
	}
	f.start()
	return f
}

func (f *followed) start() {
	ctx, cancel := context.WithCancel(f.t.Context())
	f.follow = poll.NewFollowUps(f.config, f.box.Consume)
	ended := make(chan error, 1)
	go func() { ended <- f.follow.Run(ctx, f.sources()) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			f.t.Error(err)
		}
	})
}

func (f *followed) sources() []handlers.Source {
	return []handlers.Source{{Name: "src", Platform: "test", FollowUp: f.spec}, {Name: "silent", Platform: "test"}}
}

func (f *followed) normalize(d handlers.Delivery) (handlers.Output, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := d.Role + " " + string(d.Payload)
	if d.Changes {
		c, err := handlers.DecodeChange(d.Payload)
		if err != nil {
			return handlers.Output{}, err
		}
		text = d.Role + " " + c.Key + " " + string(c.Before().State) + "->" + string(c.After().State) + " " + d.View
	}
	f.told = append(f.told, text)
	return handlers.Output{}, nil
}

// process publishes that a process succeeded.
func (f *followed) process(ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		if err := f.box.put(processEvent(id, schemas.ChannelPush)); err != nil {
			f.t.Fatal(err)
		}
	}
}

func processEvent(id string, channel schemas.Channel) schemas.Event {
	return schemas.Event{
		ID: "src:process:" + id + ":success", Source: "src", Type: schemas.ProcessSucceeded, Key: id,
		Time: "2026-03-01T10:00:00Z", Recorded: time.Now(), DeliveryID: "d-" + id, Channel: channel,
		Data: schemas.Process{Platform: "test", ProcessID: id, NativeStatus: "success", Affects: map[string][]string{}},
	}
}

// expect compares what was told.
func (f *followed) expect(want ...string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if diff := cmp.Diff(want, f.told); diff != "" {
		f.t.Errorf("told (-want +got):\n%s", diff)
	}
}

// tried returns how often it was asked for a key.
func (f *followed) tried(key string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tries[key])
}

func fact(text string) handlers.Fact {
	return handlers.Fact{Role: "step", TransportID: text, Content: sha256.Sum256([]byte(text)), Payload: []byte(text)}
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAnEventIsAskedForUntilItIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, 72*time.Hour, func(f *followed, e handlers.ToldEvent, s handlers.Scan, last bool) error {
			if e.ID != "src:process:"+e.Key+":success" || e.Type != schemas.ProcessSucceeded || e.Time != "2026-03-01T10:00:00Z" || last {
				t.Errorf("it is asked for %+v, last %v", e, last)
			}
			var data schemas.Process
			if err := json.Unmarshal(e.Data, &data); err != nil || data.ProcessID != e.Key {
				t.Errorf("the data is %s", e.Data)
			}
			saw := s.Saw(handlers.Sighting{Key: "a1", Role: "assets", Container: "assets", Alone: true, View: "explained", State: jsontext.Value(`"new"`)})
			if err := errors.Join(saw, s.Tell(fact("created"))); err != nil {
				return err
			}
			if e.Key == "p1" && f.tried("p1") < 8 {
				return errUnanswered
			}
			return nil
		})
		defer f.stop()
		f.process("p1")
		pass(time.Second)
		f.expect() // an answer that is none tells nothing
		pass(2 * time.Hour)
		f.expect("step created", `assets a1 ->"new" explained`)
		if n := f.box.open(); n != 0 {
			t.Errorf("%d messages are not done", n)
		}
		var last time.Duration
		for i, want := range []time.Duration{0, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, 30 * time.Minute} {
			got := f.tries["p1"][i] - last
			if got < want*8/10 || got > want*12/10 {
				t.Errorf("try %d comes after %s, want %s", i, got, want)
			}
			last = f.tries["p1"][i]
		}
	})
}

func TestWhatIsNotAnsweredDelaysNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, 72*time.Hour, func(_ *followed, e handlers.ToldEvent, s handlers.Scan, _ bool) error {
			if e.Key != "good" {
				return errUnanswered
			}
			return s.Tell(fact("good"))
		})
		defer f.stop()
		for i := range 300 {
			f.process(fmt.Sprintf("p%d", i))
		}
		pass(time.Second)
		f.process("good")
		pass(time.Second)
		f.expect("step good")
		if n := f.box.open(); n != 300 {
			t.Errorf("%d messages are not done", n)
		}
		if n := gauge(t, f.metrics, "postern_follow_up_pending"); n != 300 {
			t.Errorf("%v events wait", n)
		}
		if oldest := gauge(t, f.metrics, "postern_follow_up_oldest_timestamp_seconds"); oldest != float64(f.began.Unix()) {
			t.Errorf("the oldest waits since %v, want %d", oldest, f.began.Unix())
		}
	})
}

func TestNoMoreThanEightAreAskedForAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		f := follow(t, time.Hour, func(*followed, handlers.ToldEvent, handlers.Scan, bool) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-time.After(100 * time.Second) // longer than the bus waits for a word
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		})
		defer f.stop()
		for i := range 20 {
			f.process(fmt.Sprintf("p%02d", i))
		}
		pass(301 * time.Second)
		if most != 8 || f.box.open() != 0 {
			t.Errorf("%d at once, %d are not done", most, f.box.open())
		}
		for key, tries := range f.tries {
			if len(tries) != 1 {
				t.Errorf("%s was asked for %d times", key, len(tries))
			}
		}
	})
}

func TestWhatIsGivenUpIsAppendedWithWhatWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, _ handlers.ToldEvent, s handlers.Scan, last bool) error {
			state := `"half"`
			if last {
				state = `"known"`
			}
			return errors.Join(errUnanswered, s.Saw(handlers.Sighting{Key: "a1", Role: "assets", Alone: true, State: jsontext.Value(state)}))
		})
		defer f.stop()
		f.process("p1")
		pass(59 * time.Minute)
		f.expect()
		pass(2 * time.Minute)
		payload, err := json.Marshal(handlers.ToldEvent{
			ID: "src:process:p1:success", Type: schemas.ProcessSucceeded, Key: "p1", Time: "2026-03-01T10:00:00Z",
			Data: dataOf(t, processEvent("p1", schemas.ChannelPush)),
		})
		if err != nil {
			t.Fatal(err)
		}
		f.expect(`assets a1 ->"known" `, handlers.RoleFollowUp+" "+string(payload))
		if n := f.box.open(); n != 0 {
			t.Errorf("%d messages are not done", n)
		}
		tries := f.tries["p1"]
		if last := tries[len(tries)-1]; last > time.Hour+time.Second {
			t.Errorf("the last try is at %s", last)
		}
		// An operator releases it: it has as long again.
		n := len(tries)
		if err := f.box.put(schemas.Event{
			ID: "src:platform:follow_up_requested:d1:A1", Source: "src", Type: schemas.PlatformFollowUpRequested, Key: "src",
			Time: "2026-03-01T12:00:00Z", Recorded: time.Now(), DeliveryID: "d1", Channel: schemas.ChannelPoll,
			Data: schemas.FollowUpRequest{
				Platform: "test", Event: "src:process:p1:success", EventType: schemas.ProcessSucceeded, EventKey: "p1",
				EventTime: "2026-03-01T10:00:00Z", EventData: jsontext.Value(`{}`),
			},
		}); err != nil {
			t.Fatal(err)
		}
		pass(59 * time.Minute)
		if more := f.tried("p1") - n; more < 5 || len(f.told) != 2 {
			t.Errorf("it is asked for %d times, and told: %v", more, f.told)
		}
		pass(2 * time.Minute)
		if len(f.told) != 3 || f.box.open() != 0 {
			t.Errorf("it is not given up again: %v", f.told)
		}
	})
}

func dataOf(t *testing.T, e schemas.Event) jsontext.Value {
	t.Helper()
	msgs, err := e.Messages()
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Data jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(msgs[0].Body, &body); err != nil {
		t.Fatal(err)
	}
	return body.Data
}

// What the process dies at between an answer and its acknowledgement is
// delivered again.
func TestAnAnswerWhoseAcknowledgementIsLostIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, _ handlers.ToldEvent, s handlers.Scan, _ bool) error {
			saw := s.Saw(handlers.Sighting{Key: "a1", Role: "assets", Alone: true, State: jsontext.Value(`1`)})
			return errors.Join(saw, s.Tell(fact("created")))
		})
		f.box.loseDone = 2
		f.process("p1")
		pass(time.Second)
		f.stop()
		f.start()
		pass(5 * time.Minute)
		f.stop()
		f.expect("step created", "assets a1 ->1 ")
		if f.tried("p1") != 3 || f.box.open() != 0 {
			t.Errorf("it was asked for at %v, %d are not done", f.tries["p1"], f.box.open())
		}
	})
}

func TestAPlatformThatWantsToRestIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, 72*time.Hour, func(f *followed, e handlers.ToldEvent, _ handlers.Scan, _ bool) error {
			switch {
			case e.Key == "busy" && f.tried("busy") == 1:
				return &handlers.UpstreamError{Endpoint: "history", Code: 429, RetryAfter: 20 * time.Minute}
			case e.Key == "auth" && f.tried("auth") == 1:
				return &handlers.AuthError{Endpoint: "token", Code: 401, Until: time.Now().Add(10 * time.Minute)}
			}
			return nil
		})
		defer f.stop()
		f.process("auth")
		pass(time.Second)
		f.process("busy")
		pass(time.Second)
		f.process("other")
		pass(time.Hour)
		for key, at := range map[string]time.Duration{"auth": 20 * time.Minute, "busy": 20 * time.Minute, "other": 20 * time.Minute} {
			tries := f.tries[key]
			if last := tries[len(tries)-1]; last < at || last > at+time.Minute {
				t.Errorf("%s is asked for at %v", key, tries)
			}
		}
	})
}

// Somebody else sees an entity later than we, before we have told it.
func TestAnEntityThatOthersSawMeanwhileIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := `"early"`
		var pollers *poll.Pollers
		f := follow(t, time.Hour, func(f *followed, _ handlers.ToldEvent, s handlers.Scan, _ bool) error {
			err := s.Saw(handlers.Sighting{Key: "a1", Role: "assets", Alone: true, State: jsontext.Value(state)})
			if f.tried("p1") == 1 {
				<-time.After(time.Second)
				state = `"late"`
				err = errors.Join(err, pollers.Once(t.Context(), "src/assets"), f.road.Drain(t.Context()))
			}
			return err
		})
		defer f.stop()
		pollers = poll.New(f.config)
		pollers.Update([]handlers.Source{{Name: "src", Platform: "test", Pollers: []handlers.Poller{{
			Name: "assets", Role: "assets", Interval: time.Hour,
			Scan: func(_ context.Context, s handlers.Scan) error {
				return s.Saw(handlers.Sighting{Key: "a1", State: jsontext.Value(state)})
			},
		}}}})
		f.process("p1")
		pass(time.Minute)
		f.expect(`assets a1 ->"late" `)
		if f.tried("p1") != 2 || f.box.open() != 0 {
			t.Errorf("it was asked for at %v", f.tries["p1"])
		}
	})
}

func TestSeveralPartsOfOneEntityAreAllTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, _ handlers.ToldEvent, s handlers.Scan, _ bool) error {
			var err error
			for _, role := range []string{"assets", "remediation", "other"} {
				err = errors.Join(err, s.Saw(handlers.Sighting{Key: "a1", Role: role, Alone: true, State: jsontext.Value(`1`)}))
			}
			if s.Saw(handlers.Sighting{Key: "a1", Alone: true}) == nil || s.Advance(nil) == nil || s.Complete("list") == nil {
				t.Error("a follow-up can do what only pollers can")
			}
			return err
		})
		defer f.stop()
		f.process("p1")
		pass(time.Minute)
		f.expect("assets a1 ->1 ", "remediation a1 ->1 ", "other a1 ->1 ")
		if f.tried("p1") != 1 {
			t.Errorf("it was asked for at %v", f.tries["p1"])
		}
	})
}

func TestOnlyWhatASourceFollowsUpIsConsumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, _ handlers.ToldEvent, s handlers.Scan, _ bool) error { return s.Tell(fact("x")) })
		defer f.stop()
		synctest.Wait()
		want := []string{
			"POSTERN_EVENTS follow-up-src postern.events.src.process.succeeded.*",
			"POSTERN_OPS follow-up-src postern.ops.src.follow_up_requested",
		}
		slices.Sort(f.box.names)
		if diff := cmp.Diff(want, f.box.names); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if err := f.box.put(processEvent("p0", schemas.ChannelReplay)); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if len(f.tries) != 0 || f.box.open() != 0 {
			t.Error("what is replayed is followed up again")
		}
		f.follow.Update(nil)
		f.process("p1")
		pass(time.Hour)
		f.expect() // it waits
		f.follow.Update(f.sources())
		pass(time.Second)
		f.expect("step x")
	})
}

func TestAnAnswerThatPanicsIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(f *followed, _ handlers.ToldEvent, s handlers.Scan, _ bool) error {
			if f.tried("p1") == 1 {
				panic("as the test says")
			}
			return s.Tell(fact("x"))
		})
		defer f.stop()
		f.process("p1")
		pass(time.Minute)
		f.expect("step x")
	})
}

// A journal or bus that is away holds it up, and costs no long waits.
func TestAFollowUpOutlastsTroubleOfOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, _ handlers.ToldEvent, s handlers.Scan, _ bool) error { return s.Tell(fact("x")) })
		defer f.stop()
		f.bus.Fail(errors.New("away"))
		f.process("p1")
		pass(10 * time.Minute)
		f.bus.Fail(nil)
		f.road.Fail(errors.New("full"))
		pass(10 * time.Minute)
		f.expect()
		f.road.Fail(nil)
		pass(5 * time.Second)
		f.expect("step x")
	})
}

func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Errorf("there is no %s", name)
	return 0
}
