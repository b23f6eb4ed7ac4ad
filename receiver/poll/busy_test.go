package poll_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// An event that waits until others are answered for is not given to another
// receiver meanwhile.
func TestWhoWaitsForOthersIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, e handlers.ToldEvent, s handlers.Scan, _ bool) error {
			<-time.After(90 * time.Second)
			return s.Tell(fact(e.Key))
		})
		defer f.stop()
		for i := range 9 { // one more than are answered for at once
			f.process(fmt.Sprintf("p%d", i))
		}
		pass(time.Second)
		first := f.box.delivered()
		f.start() // another receiver, with nothing to do
		defer f.stop()
		pass(80 * time.Second)
		if now := f.box.delivered(); first != 9 || now != first {
			t.Errorf("%d deliveries at first, then %d", first, now)
		}
		pass(120 * time.Second)
		if told := f.said(); len(told) != 9 || f.box.open() != 0 {
			t.Errorf("told: %v", told)
		}
	})
}

// That a platform wants to rest holds for who is asked: another one, or with
// another login, is asked soon.
func TestFollowUpsOfAnotherLoginDontRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rest atomic.Bool
		rest.Store(true)
		f := follow(t, 48*time.Hour, func(_ *followed, e handlers.ToldEvent, s handlers.Scan, _ bool) error {
			if rest.Load() {
				return &handlers.UpstreamError{Endpoint: "history", Code: 429, RetryAfter: 24 * time.Hour}
			}
			return s.Tell(fact(e.Key))
		})
		defer f.stop()
		f.process("p1")
		pass(20 * time.Minute)
		if n := f.tried("p1"); n != 1 {
			t.Errorf("it was asked %d times while the platform rests", n)
		}
		rest.Store(false)
		again := *f.spec
		f.spec = &again
		f.follow.Update(f.sources())
		pass(6 * time.Minute)
		if told := f.said(); len(told) != 1 {
			t.Errorf("told: %v", told)
		}
	})
}
