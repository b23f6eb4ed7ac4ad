package poll_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	polled  bool // a poller makes changes as well

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
	following := poll.NewFollowUps(f.config, f.box.Consume)
	f.follow = following
	ended := make(chan error, 1)
	go func() { ended <- following.Run(ctx, f.sources()) }()
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
	text := strings.TrimSpace(d.Role+" "+d.View) + " " + string(d.Payload)
	if d.Changes {
		c, err := handlers.DecodeChange(d.Payload)
		if err != nil {
			return handlers.Output{}, err
		}
		if c.Cause != "src:process:p1:success" && !f.polled {
			f.t.Errorf("the change is because of %q", c.Cause)
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

// said returns what was told.
func (f *followed) said() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told)
}

// triedAt returns when it was asked for a key.
func (f *followed) triedAt(key string) []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tries[key])
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
			got := f.triedAt("p1")[i] - last
			if got < want*8/10 || got > want*12/10 {
				t.Errorf("try %d comes after %s, want %s", i, got, want)
			}
			last = f.triedAt("p1")[i]
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
		for i := range 20 {
			if key := fmt.Sprintf("p%02d", i); f.tried(key) != 1 {
				t.Errorf("%s was asked for %d times", key, f.tried(key))
			}
		}
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
