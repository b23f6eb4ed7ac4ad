package poll_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
	"github.com/seed75441868/postern/schemas"
)

func TestOneOfTwoReceiversPollsAndTheOtherTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := polltest.NewBus()
		one, two := newMachine(t, bus, "one"), newMachine(t, bus, "two")
		one.run(sources(one.poller("list", time.Minute)))
		defer one.stop()
		synctest.Wait()
		two.run(sources(two.poller("list", time.Minute)))
		defer two.stop()
		time.Sleep(10 * time.Minute)
		if n, _ := two.began("list"); n != 0 || two.status("list").Held || !one.status("list").Held {
			t.Errorf("the second scanned %d times while the first holds the lease", n)
		}
		if diff := cmp.Diff(map[string]string{"src.list": "one"}, bus.Holders()); diff != "" {
			t.Errorf("holders (-want +got):\n%s", diff)
		}
		if err := two.pollers.RunNow(t.Context(), "src/list"); !errors.Is(err, poll.ErrElsewhere) {
			t.Errorf("RunNow: %v", err)
		}
		if _, err := two.pollers.Accept("src/list"); !errors.Is(err, poll.ErrElsewhere) {
			t.Errorf("Accept: %v", err)
		}
		// Stopped in good order it gives the lease back, and the other begins.
		one.stop()
		time.Sleep(4 * time.Second)
		if n, _ := two.began("list"); n != 1 {
			t.Errorf("the second scanned %d times after the first had stopped", n)
		}
	})
}

// A receiver that lost its lease without knowing goes on for a while. What both
// see is told once, and what one missed the other knows.
func TestALostLeaseTellsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := polltest.NewBus()
		one, two := newMachine(t, bus, "one"), newMachine(t, bus, "two")
		one.list, two.list = []string{"a"}, []string{"a"}
		one.run(sources(one.poller("list", time.Minute)))
		defer one.stop()
		time.Sleep(3 * time.Minute)
		bus.Take("src.list", false)
		two.run(sources(two.poller("list", time.Minute)))
		defer two.stop()
		time.Sleep(3 * time.Minute)
		one.mu.Lock()
		one.list = []string{"a", "b"}
		one.mu.Unlock()
		two.mu.Lock()
		two.list = []string{"a", "b"}
		two.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if told := append(one.heard(), two.heard()...); len(told) != 2 {
			t.Errorf("told %v", told)
		}
	})
}

// Who gets a lease back doesn't believe what it remembers: another one told
// something since, and the platform went back to what was before.
func TestAfterALeaseWhatOthersToldIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := polltest.NewBus()
		one, two := newMachine(t, bus, "one"), newMachine(t, bus, "two")
		show := func(list ...string) {
			for _, m := range []*machine{one, two} {
				m.mu.Lock()
				m.list = list
				m.mu.Unlock()
			}
		}
		show("a", "b")
		one.run(sources(one.poller("list", time.Minute)))
		defer one.stop()
		time.Sleep(5 * time.Minute)
		two.run(sources(two.poller("list", time.Minute)))
		defer two.stop()
		bus.Take("src.list", true)
		for bus.Holders()["src.list"] != "two" {
			bus.Take("src.list", true)
			time.Sleep(time.Second)
		}
		show("a")
		time.Sleep(5 * time.Minute)
		if told := two.heard(); len(told) != 1 {
			t.Fatalf("the second told of %v", told)
		}
		two.stop()
		show("a", "b")
		time.Sleep(5 * time.Minute)
		if told := one.heard(); len(told) != 3 {
			t.Errorf("the first told of %v in all", told)
		}
	})
}

// Who is told that the lease is lost stops in mid-scan, and that is no failure.
func TestALostLeaseEndsAScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.takes = 10 * time.Second
		m.list = []string{"a"}
		m.run(sources(m.poller("list", time.Minute)))
		defer m.stop()
		time.Sleep(5 * time.Second)
		m.bus.Take("src.list", true)
		if s := m.status("list"); s.Held || s.Running || s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
		if appended, _ := m.road.Counts(); appended != 0 {
			t.Errorf("%d deliveries were appended", appended)
		}
		time.Sleep(20 * time.Second)
		if s := m.status("list"); !s.Held || s.LastSuccess.IsZero() {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAPausedPollerRestsOnAllReceiversAndAfterAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := polltest.NewBus()
		one, two := newMachine(t, bus, "one"), newMachine(t, bus, "two")
		one.run(sources(one.poller("list", time.Minute), one.poller("other", time.Minute)))
		time.Sleep(time.Minute)
		two.pollers.Update(sources(two.poller("list", time.Minute)))
		for range 2 {
			if err := two.pollers.Pause(t.Context(), "src/list"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		one.began("list")
		one.began("other")
		time.Sleep(10 * time.Minute)
		if _, apart := one.began("list"); len(apart) != 0 || !one.status("list").Paused {
			t.Errorf("it scanned %d times", len(apart))
		}
		if _, apart := one.began("other"); len(apart) < 8 {
			t.Errorf("the other scanned %d times", len(apart))
		}
		// An operator may have it scan all the same.
		if err := one.pollers.RunNow(t.Context(), "src/list"); err != nil {
			t.Error(err)
		}
		if _, apart := one.began("list"); len(apart) != 1 {
			t.Errorf("it scanned %d times", len(apart))
		}
		one.stop()
		two.run(sources(two.poller("list", time.Minute)))
		defer two.stop()
		time.Sleep(5 * time.Minute)
		if n, _ := two.began("list"); n != 0 {
			t.Errorf("it scanned %d times after a start", n)
		}
		if err := two.pollers.Resume(t.Context(), "src/list"); err != nil {
			t.Fatal(err)
		}
		if n, _ := two.began("list"); n != 1 || two.status("list").Paused {
			t.Errorf("it scanned %d times at once when resumed", n)
		}
	})
}

func TestRunNowScansAndSaysHowItWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.run(sources(m.poller("list", time.Hour)))
		defer m.stop()
		time.Sleep(time.Minute)
		if err := m.pollers.RunNow(t.Context(), "src/list"); err != nil {
			t.Error(err)
		}
		m.fail("list", errNotThere)
		if err := m.pollers.RunNow(t.Context(), "src/list"); !errors.Is(err, errNotThere) {
			t.Error(err)
		}
		if n, _ := m.began("list"); n != 3 {
			t.Errorf("%d scans", n)
		}
		if err := m.pollers.RunNow(t.Context(), "src/none"); !errors.Is(err, poll.ErrUnknown) {
			t.Error(err)
		}
	})
}

var errNotThere = errors.New("not there")

func TestASuspectScanIsToldAndAnOperatorCanBelieveIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		for i := range 60 {
			m.list = append(m.list, fmt.Sprint("k", i))
		}
		m.run(sources(m.poller("list", time.Hour)))
		defer m.stop()
		time.Sleep(time.Minute)
		if _, err := m.pollers.Accept("src/list"); !errors.Is(err, poll.ErrUnsuspected) {
			t.Errorf("Accept: %v", err)
		}
		if err := m.road.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		m.list = m.list[:30]
		m.told = nil
		m.mu.Unlock()
		for range 2 {
			time.Sleep(time.Minute)
			if err := m.pollers.RunNow(t.Context(), "src/list"); err != nil {
				t.Fatal(err)
			}
		}
		want := []poll.Suspicion{{Container: "all", Known: 60, Seen: 30}}
		if diff := cmp.Diff(want, m.status("list").Suspect); diff != "" {
			t.Errorf("suspect (-want +got):\n%s", diff)
		}
		if told := m.bus.Published(schemas.StreamOps); len(told) != 1 {
			t.Errorf("told %v", told)
		}
		// What he has not seen, because it is missing only now, is not meant.
		m.mu.Lock()
		m.list = m.list[:29]
		m.mu.Unlock()
		n, err := m.pollers.Accept("src/list")
		if n != 1 || err != nil {
			t.Errorf("Accept: %d, %v", n, err)
		}
		synctest.Wait()
		if err := m.road.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told := m.heard(); len(told) != 30 {
			t.Errorf("told of %d", len(told))
		}
		if s := m.status("list").Suspect; len(s) != 0 {
			t.Errorf("still suspect: %v", s)
		}
	})
}

func TestUpdateKeepsWhatStaysAndStopsWhatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.list = []string{"a"}
		m.run(sources(m.poller("list", time.Hour), m.poller("gone", time.Minute)))
		defer m.stop()
		time.Sleep(5 * time.Minute)
		told := m.heard()
		loads, _ := m.bus.Counts()
		m.pollers.Update(sources(m.poller("list", time.Minute), m.poller("new", time.Hour)))
		m.began("gone")
		m.began("list")
		time.Sleep(5 * time.Minute)
		if n, _ := m.began("gone"); n > 1 {
			t.Error("what is gone scans on")
		}
		if n, _ := m.began("new"); n != 1 {
			t.Errorf("what is new scanned %d times", n)
		}
		if _, apart := m.began("list"); len(apart) < 4 {
			t.Errorf("the shorter interval gave %d scans", len(apart))
		}
		if len(m.pollers.List()) != 2 {
			t.Errorf("listed are %v", m.pollers.List())
		}
		m.pollers.Update(sources(m.poller("list", time.Minute), m.poller("new", time.Hour), m.poller("gone", time.Minute)))
		time.Sleep(5 * time.Minute)
		if now := m.heard(); len(now) != len(told)+1 { // for the new one sees it too
			t.Errorf("told %v", now)
		}
		if now, _ := m.bus.Counts(); now == loads {
			t.Error("nothing was polled")
		}
	})
}

func TestPollersWaitWhileTheBusIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.run(sources(m.poller("list", time.Minute)))
		defer m.stop()
		time.Sleep(5 * time.Minute)
		m.bus.Fail(errors.New("away"))
		time.Sleep(2 * time.Minute)
		m.began("list")
		time.Sleep(time.Hour)
		if n, _ := m.began("list"); n > 1 {
			t.Errorf("%d scans while the bus was away", n)
		}
		m.bus.Fail(nil)
		time.Sleep(2 * time.Minute)
		if _, apart := m.began("list"); len(apart) == 0 {
			t.Error("no scan since the bus is back")
		}
		if told := m.bus.Published(schemas.StreamOps); len(told) != 0 {
			t.Errorf("told %v, which is not the platform's fault", told)
		}
	})
}

// Whoever mends a password and reloads doesn't want to wait until the wrong one
// would have been tried again.
func TestUpdateTriesAgainAtOnceWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.fail("list", &handlers.AuthError{Endpoint: "token", Code: 401, Until: time.Now().Add(time.Hour)})
		m.run(sources(m.poller("list", time.Minute)))
		defer m.stop()
		time.Sleep(10 * time.Minute)
		m.began("list")
		m.fail("list", nil)
		m.pollers.Update(sources(m.poller("list", time.Minute)))
		if s := m.status("list"); s.LastSuccess.IsZero() || s.Failures != 0 {
			t.Errorf("status %+v", s)
		}
	})
}

func TestMetricsShowHowPollersAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		bus := polltest.NewBus()
		m := newMachine(t, bus, "one")
		m.pollers = poll.New(poll.Config{
			Journal: m.road, Relay: m.road, Bus: bus, Seal: polltest.Seal, Open: polltest.Open,
			Pseudonym: func(v string) string { return v[:1] }, Holder: "one", Metrics: poll.NewMetrics(reg),
		})
		gather := func() map[string]float64 {
			synctest.Wait()
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]float64{}
			for _, f := range families {
				for _, metric := range f.GetMetric() {
					var labels []string
					for _, l := range metric.GetLabel() {
						labels = append(labels, l.GetValue())
					}
					if v := metric.GetCounter().GetValue() + metric.GetGauge().GetValue(); v != 0 {
						got[strings.TrimPrefix(f.GetName(), "postern_")+" "+strings.Join(labels, " ")] = v
					}
				}
			}
			return got
		}
		m.list = []string{"a", "b"}
		ends := time.Unix(2_000_000_000, 0)
		srcs := sources(m.poller("list", time.Minute))
		srcs[0].Expires = func() time.Time { return ends }
		m.run(srcs)
		defer m.stop()
		began := float64(time.Now().Unix())
		want := map[string]float64{
			"poll_runs_total list success src":             1,
			"poll_items_total list seen src":               2,
			"poll_items_total list changed src":            2,
			"poll_interval_seconds list src":               60,
			"poll_lease_held list src":                     1,
			"poll_last_success_timestamp_seconds list src": began,
			"upstream_token_expiry_timestamp_seconds src":  2e9,
		}
		if diff := cmp.Diff(want, gather()); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		m.fail("list", handlers.ErrNotJSON)
		if err := m.pollers.RunNow(t.Context(), "src/list"); !errors.Is(err, handlers.ErrNotJSON) {
			t.Error(err)
		}
		if err := m.pollers.Pause(t.Context(), "src/list"); err != nil {
			t.Error(err)
		}
		want["poll_runs_total list failed src"], want["poll_paused list src"] = 1, 1
		if diff := cmp.Diff(want, gather()); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		m.pollers.Update(nil)
		if diff := cmp.Diff(map[string]float64{}, gather()); diff != "" {
			t.Errorf("metrics of a source that is gone (-want +got):\n%s", diff)
		}
	})
}
