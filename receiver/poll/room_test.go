package poll_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll/polltest"
)

// When a platform wants not to be asked that holds also if what it said before
// found no room in the journal.
func TestWhatAPlatformWantsHoldsWhenTheJournalFails(t *testing.T) {
	for name, failure := range map[string]func() error{
		"retry after": func() error {
			return &handlers.UpstreamError{Endpoint: "list", Code: 429, RetryAfter: time.Hour}
		},
		"refused login": func() error {
			return &handlers.AuthError{Endpoint: "login", Code: 401, Until: time.Now().Add(time.Hour)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(t, polltest.NewBus(), "one")
				var asked atomic.Int32
				p := handlers.Poller{Name: "list", Role: "list", Interval: time.Minute, Scan: func(_ context.Context, s handlers.Scan) error {
					n := asked.Add(1)
					if err := s.Saw(handlers.Sighting{Key: "a", Container: "a", State: jsontext.Value(`1`)}); err != nil {
						return err
					}
					if err := s.Complete("a"); err != nil {
						return err
					}
					if n > 1 {
						return nil
					}
					m.road.Fail(errors.New("full"))
					return failure()
				}}
				m.run(sources(p))
				defer m.stop()
				time.Sleep(time.Second)
				m.road.Fail(nil)
				time.Sleep(59 * time.Minute)
				synctest.Wait()
				if n := asked.Load(); n != 1 {
					t.Errorf("it was asked %d times in an hour", n)
				}
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				if n := asked.Load(); n < 2 || len(m.heard()) != 1 {
					t.Errorf("then it was asked %d times, and told is %v", n, m.heard())
				}
			})
		})
	}
}

func TestAPlatformIsNotAskedWhileTheJournalHasNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.list = []string{"a"}
		m.road.Fail(errors.New("full"))
		m.run(sources(m.poller("list", time.Minute)))
		defer m.stop()
		time.Sleep(time.Hour)
		if n, _ := m.began("list"); n != 0 {
			t.Errorf("it was asked %d times", n)
		}
		m.road.Fail(nil)
		time.Sleep(time.Minute)
		if n, _ := m.began("list"); n == 0 {
			t.Error("it is not asked when there is room")
		}
	})
}
