package poll_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed75441868/postern/handlers"
)

func TestTwoReceiversShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follow(t, time.Hour, func(_ *followed, e handlers.ToldEvent, s handlers.Scan, _ bool) error {
			<-time.After(10 * time.Second)
			return s.Tell(fact(e.Key))
		})
		defer f.stop()
		f.start()
		defer f.stop() // that of the second
		for i := range 32 {
			f.process(fmt.Sprintf("p%02d", i))
		}
		pass(31 * time.Second) // one receiver alone needs 40
		told := f.said()
		slices.Sort(told)
		if len(told) != 32 || len(slices.Compact(told)) != 32 || f.box.open() != 0 {
			t.Errorf("told: %v; %d are not done", told, f.box.open())
		}
		for i := range 32 {
			if key := fmt.Sprintf("p%02d", i); f.tried(key) != 1 {
				t.Errorf("%s was asked for %d times", key, f.tried(key))
			}
		}
	})
}
