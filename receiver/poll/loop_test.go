package poll_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
	"github.com/seed75441868/postern/schemas"
)

// machine is a receiver that polls by itself, under the time of synctest.
type machine struct {
	t       *testing.T
	bus     *polltest.Bus
	road    *polltest.Road
	pollers *poll.Pollers
	stop    func()

	mu    sync.Mutex
	scans map[string][]time.Time // when those of a poller began
	busy  map[string]bool
	takes time.Duration
	fails map[string]error
	list  []string // keys in the list
	told  []string
}

func newMachine(t *testing.T, bus *polltest.Bus, holder string) *machine {
	m := &machine{t: t, bus: bus, scans: map[string][]time.Time{}, busy: map[string]bool{}, fails: map[string]error{}}
	m.road = polltest.NewRoad(bus, map[string]polltest.Normalize{"test": func(d handlers.Delivery) (handlers.Output, error) {
		c, err := handlers.DecodeChange(d.Payload)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.told = append(m.told, c.Key)
		return handlers.Output{}, err
	}})
	m.pollers = poll.New(poll.Config{
		Journal: m.road, Relay: m.road, Bus: bus, Seal: polltest.Seal, Open: polltest.Open,
		Pseudonym: func(v string) string { return fmt.Sprintf("%x", v) }, Holder: holder,
	})
	return m
}

func (m *machine) poller(name string, interval time.Duration) handlers.Poller {
	return handlers.Poller{Name: name, Role: name, Interval: interval, Scan: func(ctx context.Context, s handlers.Scan) error {
		m.mu.Lock()
		m.scans[name] = append(m.scans[name], time.Now())
		if m.busy[name] {
			m.t.Errorf("two scans of %s at once", name)
		}
		m.busy[name] = true
		err, takes, list := m.fails[name], m.takes, m.list
		m.mu.Unlock()
		defer func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.busy[name] = false
		}()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		for _, key := range list {
			if err := s.Saw(handlers.Sighting{Key: name + "-" + key, Container: "all", State: jsontext.Value(`1`)}); err != nil {
				return err
			}
		}
		return s.Complete("all")
	}}
}

func sources(pollers ...handlers.Poller) []handlers.Source {
	return []handlers.Source{{Name: "src", Platform: "test", Pollers: pollers}}
}

// run polls until the test ends or stop is called.
func (m *machine) run(sources []handlers.Source) {
	ctx, cancel := context.WithCancel(m.t.Context())
	done := make(chan error, 1)
	go func() { done <- m.pollers.Run(ctx, sources) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Error(err)
		}
	})
}

func (m *machine) fail(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fails[name] = err
}

// began returns how many scans of a poller have begun, and since the last call
// how far apart they were.
func (m *machine) began(name string) (int, []time.Duration) {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	var apart []time.Duration
	for i := 1; i < len(m.scans[name]); i++ {
		apart = append(apart, m.scans[name][i].Sub(m.scans[name][i-1]))
	}
	n := len(m.scans[name])
	if n > 1 {
		m.scans[name] = m.scans[name][n-1:]
	}
	return n, apart
}

// heard returns of which entities it was told.
func (m *machine) heard() []string {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.told)
}

func about(d, want time.Duration) bool { return d >= want*89/100 && d <= want*111/100 }

func (m *machine) status(name string) poll.Status {
	m.t.Helper()
	synctest.Wait()
	for _, s := range m.pollers.List() {
		if s.Name == "src/"+name {
			return s
		}
	}
	m.t.Fatalf("%s is not listed", name)
	return poll.Status{}
}

func TestScansBeginAtOnceAndThenAboutEveryInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.run(sources(m.poller("list", time.Minute), m.poller("slow", time.Second)))
		defer m.stop()
		if n, _ := m.began("list"); n != 1 {
			t.Errorf("%d scans began at once", n)
		}
		time.Sleep(10 * time.Minute)
		n, apart := m.began("list")
		if n < 10 || n > 12 {
			t.Errorf("%d scans in ten minutes", n)
		}
		different := map[time.Duration]bool{}
		for _, d := range apart {
			different[d] = true
			if !about(d, time.Minute) {
				t.Errorf("two scans are %s apart", d)
			}
		}
		if len(different) < 2 {
			t.Error("scans are always as far apart")
		}
		// One that takes longer than the interval is not overtaken.
		m.mu.Lock()
		m.takes = 5 * time.Second
		m.mu.Unlock()
		time.Sleep(time.Minute)
		if s := m.status("slow"); !s.Running || !s.Held || s.Error != "" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestFailuresAreRetriedLaterAndLaterAndToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.fail("list", &handlers.UpstreamError{Endpoint: "things", Code: 503})
		began := time.Now()
		m.run(sources(m.poller("list", time.Minute)))
		defer m.stop()
		time.Sleep(2 * time.Minute)
		if told := m.bus.Published(schemas.StreamOps); len(told) != 0 {
			t.Errorf("told %v after two failures", told)
		}
		m.bus.Fail(nil)
		time.Sleep(3 * time.Hour)
		_, apart := m.began("list")
		for i, d := range apart {
			want := min(time.Minute<<i, 15*time.Minute)
			if !about(d, want) {
				t.Errorf("failure %d was followed after %s, want about %s", i+1, d, want)
			}
		}
		if s := m.status("list"); s.Failures < 10 || s.Error != "things: answered 503" || !s.LastSuccess.IsZero() {
			t.Errorf("status %+v", s)
		}
		at := began.UTC().Format("20060102t150405.000z")
		failed := "src:platform:poll_failed:list:" + at
		if diff := cmp.Diff([]string{failed}, m.bus.Published(schemas.StreamOps)); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		m.fail("list", nil)
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]string{failed, "src:platform:poll_recovered:list:" + at}, m.bus.Published(schemas.StreamOps)); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		if _, apart := m.began("list"); !about(apart[len(apart)-1], time.Minute) {
			t.Errorf("after the recovery scans are %s apart", apart[len(apart)-1])
		}
	})
}

// Who takes over knows that a failure was told, and tells its end.
func TestARecoveryIsToldByWhoeverPollsThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := polltest.NewBus()
		one, two := newMachine(t, bus, "one"), newMachine(t, bus, "two")
		one.fail("list", handlers.ErrNotJSON)
		one.run(sources(one.poller("list", time.Minute)))
		time.Sleep(10 * time.Minute)
		one.stop()
		two.run(sources(two.poller("list", time.Minute)))
		defer two.stop()
		time.Sleep(time.Minute)
		if told := bus.Published(schemas.StreamOps); len(told) != 2 {
			t.Errorf("told %v", told)
		}
		time.Sleep(time.Hour)
		if told := bus.Published(schemas.StreamOps); len(told) != 2 {
			t.Errorf("told %v", told)
		}
	})
}

func TestNewsWaitForTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.fail("list", &handlers.AuthError{Endpoint: "token", Code: 401, Until: time.Now().Add(time.Minute)})
		m.mu.Lock()
		m.takes = 10 * time.Second
		m.mu.Unlock()
		m.run(sources(m.poller("list", time.Minute), m.poller("other", time.Minute)))
		defer m.stop()
		time.Sleep(9 * time.Second)
		m.bus.FailPublishing(errors.New("away"))
		time.Sleep(time.Hour)
		if told := m.bus.Published(schemas.StreamOps); len(told) != 0 {
			t.Errorf("told %v while the bus was away", told)
		}
		m.bus.FailPublishing(nil)
		time.Sleep(time.Minute)
		told := m.bus.Published(schemas.StreamOps)
		if len(told) != 2 {
			t.Errorf("told %v, want one auth_failed and one poll_failed", told)
		}
	})
}

func TestARefusedLoginIsToldOnceForAllWhoUseIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		refused := &handlers.AuthError{Endpoint: "token", Code: 401, Until: time.Now().Add(30 * time.Minute)}
		m.fail("list", refused)
		m.fail("other", refused)
		m.run(sources(m.poller("list", time.Minute), m.poller("other", time.Minute)))
		defer m.stop()
		time.Sleep(29 * time.Minute)
		if n, _ := m.began("list"); n != 1 {
			t.Errorf("%d scans before the login may be tried again", n)
		}
		if told := m.bus.Published(schemas.StreamOps); len(told) != 1 {
			t.Errorf("told %v", told)
		}
		m.fail("list", nil)
		time.Sleep(10 * time.Minute)
		m.fail("list", refused)
		time.Sleep(10 * time.Minute)
		if told := m.bus.Published(schemas.StreamOps); len(told) < 2 {
			t.Errorf("told %v, though it was accepted in between", told)
		}
	})
}

func TestARefusedLoginThatIsAcceptedAgainIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.fail("list", &handlers.AuthError{Endpoint: "token", Code: 401, Until: time.Now().Add(5 * time.Minute)})
		m.run(sources(m.poller("list", time.Minute)))
		defer m.stop()
		time.Sleep(time.Minute)
		m.fail("list", nil)
		time.Sleep(time.Hour)
		told := m.bus.Published(schemas.StreamOps)
		if len(told) != 2 || !strings.Contains(told[0], "auth_failed") || !strings.Contains(told[1], "poll_recovered") {
			t.Errorf("told %v, want one auth_failed and one poll_recovered", told)
		}
	})
}

func TestRetryAfterHoldsForTheWholeSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.run(sources(m.poller("list", time.Minute), m.poller("other", time.Minute)))
		defer m.stop()
		time.Sleep(5 * time.Minute)
		m.fail("list", &handlers.UpstreamError{Endpoint: "things", Code: 429, RetryAfter: 40 * time.Minute})
		time.Sleep(2 * time.Minute)
		m.began("list")
		m.began("other")
		time.Sleep(37 * time.Minute)
		for _, name := range []string{"list", "other"} {
			if _, apart := m.began(name); len(apart) != 0 {
				t.Errorf("%s scanned %d times", name, len(apart))
			}
			if err := m.pollers.RunNow(t.Context(), "src/"+name); !errors.Is(err, poll.ErrResting) {
				t.Errorf("RunNow: %v", err)
			}
		}
		m.fail("list", nil)
		time.Sleep(4 * time.Minute)
		for _, name := range []string{"list", "other"} {
			if _, apart := m.began(name); len(apart) == 0 {
				t.Errorf("%s did not scan again", name)
			}
		}
	})
}

func TestAScanThatHangsIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.takes = time.Hour
		p := m.poller("list", time.Minute)
		p.Timeout = 20 * time.Second
		m.run(sources(p))
		defer m.stop()
		time.Sleep(30 * time.Second)
		if s := m.status("list"); s.Failures != 1 || s.Running || s.Error != context.DeadlineExceeded.Error() {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAPollerThatPanicsFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		p := m.poller("list", time.Minute)
		p.Scan = func(context.Context, handlers.Scan) error { panic("somebody's name") }
		m.run(sources(p, m.poller("other", time.Minute)))
		defer m.stop()
		time.Sleep(10 * time.Minute)
		if s := m.status("list"); s.Failures < 3 || s.Error == "" || s.Error == "somebody's name" {
			t.Errorf("status %+v", s)
		}
		if n, _ := m.began("other"); n < 9 {
			t.Errorf("the other scanned %d times", n)
		}
	})
}
