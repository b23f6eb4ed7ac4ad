package poll_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll/polltest"
)

// What a platform wanted holds until another one, or another login, is asked.
func TestRetryAfterEndsWithTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		same := sources(m.poller("list", time.Minute))
		m.fail("list", &handlers.UpstreamError{Endpoint: "things", Code: 429, RetryAfter: 24 * time.Hour})
		m.run(same)
		defer m.stop()
		time.Sleep(5 * time.Minute)
		m.fail("list", nil)
		m.pollers.Update(same)
		time.Sleep(5 * time.Minute)
		if n, _ := m.began("list"); n != 1 {
			t.Errorf("%d scans while the same is asked, want 1", n)
		}
		m.pollers.Update(sources(m.poller("list", time.Minute)))
		time.Sleep(5 * time.Minute)
		if n, _ := m.began("list"); n < 4 {
			t.Errorf("%d scans when another is asked", n)
		}
	})
}

// What Update says before Run is newer than what Run is begun with.
func TestWhatWasSaidBeforeItRunsCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		m.pollers.Update(sources(m.poller("new", time.Minute)))
		m.run(sources(m.poller("old", time.Minute)))
		defer m.stop()
		time.Sleep(5 * time.Minute)
		before, _ := m.began("old")
		after, _ := m.began("new")
		if before != 0 || after < 4 {
			t.Errorf("%d scans of what is not there any more, %d of what is", before, after)
		}
	})
}
