package poll_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/schemas"
)

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
		tries := f.triedAt("p1")
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
		if more := f.tried("p1") - n; more < 5 || len(f.said()) != 2 {
			t.Errorf("it is asked for %d times, and told: %v", more, f.said())
		}
		pass(2 * time.Minute)
		if len(f.said()) != 3 || f.box.open() != 0 {
			t.Errorf("it is not given up again: %v", f.said())
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
			t.Errorf("it was asked for at %v, %d are not done", f.triedAt("p1"), f.box.open())
		}
	})
}

func TestAPlatformThatWantsToRestIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, 72*time.Hour, func(f *followed, e handlers.ToldEvent, _ handlers.Scan, _ bool) error {
			if e.Key == "busy" && f.tried("busy") == 1 {
				return &handlers.UpstreamError{Endpoint: "history", Code: 429, RetryAfter: 20 * time.Minute}
			}
			return nil
		})
		defer f.stop()
		f.process("busy")
		pass(time.Second)
		f.process("other")
		pass(time.Hour)
		for _, key := range []string{"busy", "other"} {
			tries := f.triedAt(key)
			if last := tries[len(tries)-1]; last < 20*time.Minute || last > 21*time.Minute {
				t.Errorf("%s is asked for at %v", key, tries)
			}
		}
	})
}

func TestARefusedLoginIsNotTriedAgainTooSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, 72*time.Hour, func(f *followed, _ handlers.ToldEvent, _ handlers.Scan, _ bool) error {
			if f.tried("p1") == 1 {
				return &handlers.AuthError{Endpoint: "token", Code: 401, Until: time.Now().Add(10 * time.Minute)}
			}
			return nil
		})
		defer f.stop()
		f.process("p1")
		pass(time.Hour)
		if tries := f.triedAt("p1"); len(tries) != 2 || tries[1] < 10*time.Minute || tries[1] > 11*time.Minute {
			t.Errorf("it is asked for at %v", tries)
		}
	})
}

func TestAFactKeepsItsView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, _ handlers.ToldEvent, s handlers.Scan, _ bool) error {
			granted := fact("x")
			granted.View = "granted"
			return s.Tell(granted)
		})
		defer f.stop()
		f.process("p1")
		pass(time.Second)
		f.expect("step granted x")
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
		f.polled = true
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
			t.Errorf("it was asked for at %v", f.triedAt("p1"))
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
			t.Errorf("it was asked for at %v", f.triedAt("p1"))
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
		if f.tried("p0") != 0 || f.box.open() != 0 {
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
