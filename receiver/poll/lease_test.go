package poll_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/receiver/poll/polltest"
)

// A scan that missed an entity before the lease was lost says nothing when the
// lease is back: another receiver may have seen it in between.
func TestAbsenceIsCountedAnewWithEachLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t, polltest.NewBus(), "one")
		show := func(list ...string) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.list = list
		}
		show("a", "b")
		m.run(sources(m.poller("list", time.Minute)))
		defer m.stop()
		time.Sleep(150 * time.Second)
		told := m.heard()
		m.began("list")
		scan := func() {
			t.Helper()
			for end := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
				m.mu.Lock()
				n := len(m.scans["list"])
				m.mu.Unlock()
				if n > 1 {
					m.began("list")
					return
				}
				if time.Now().After(end) {
					t.Fatal("it doesn't scan")
				}
			}
		}
		show("a")
		scan()
		m.bus.Take("src.list", true)
		scan()
		scan() // what the one before found is told before it begins
		if got := m.heard()[len(told):]; len(got) != 0 {
			t.Errorf("one scan missed it since the lease is back, and it is told: %v", got)
		}
		scan()
		if got := m.heard()[len(told):]; len(got) != 1 || got[0] != "list-b" {
			t.Errorf("two scans missed it, and told is %v", got)
		}
	})
}
