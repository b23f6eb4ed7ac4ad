package poll_test

import (
	"context"
	"testing"

	"github.com/seed75441868/postern/receiver/poll/polltest"
	"github.com/seed75441868/postern/schemas"
)

// A receiver that lost the bus tells what it saw when it has it again. If that
// isn't so any more, who has the lease by then tells that.
func TestWhatIsToldLateIsCorrected(t *testing.T) {
	one := newStage(t)
	one.lists["n"] = map[string]string{"a": `0`, "b": `0`}
	one.expect("+a* +b*")
	two := newStage(t)
	two.share(one)
	two.lists["n"] = map[string]string{"a": `0`, "b": `0`}
	one.lists["n"]["a"] = `1`
	if err := one.pollers.Once(t.Context(), "src/list"); err != nil {
		t.Fatal(err)
	}
	two.expect("")
	two.expect("")
	if err := one.road.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	two.expect("~a")
	two.expect("")
	readings := two.bus.Readings()
	two.expect("")
	if two.bus.Readings() != readings {
		t.Error("everything was read again")
	}
}

// What a poller is told by a server that is behind the others it is told right
// at the next scan.
func TestAServerThatIsBehindIsAskedAgain(t *testing.T) {
	one := newStage(t)
	one.lists["n"] = map[string]string{"a": `0`}
	one.round()
	behind := &behindBus{Bus: one.bus}
	two := newStage(t)
	two.share(one)
	two.over(behind)
	two.lists["n"] = map[string]string{"a": `0`}
	two.expect("")
	one.lists["n"]["a"] = `1`
	one.expect("~a")
	behind.hides = true
	two.expect("")
	behind.hides = false
	two.expect("~a")
}

// An entry that somebody deleted on the bus is told anew.
func TestADeletedEntryIsNoticed(t *testing.T) {
	s := newStage(t)
	s.lists["n"] = map[string]string{"a": `0`, "b": `0`}
	s.round()
	s.expect("")
	s.expect("")
	s.bus.Delete(schemas.BucketState, "src."+schemas.Token("a"))
	s.expect("+a")
	s.expect("")
}

// behindBus is a bus of which one server may be behind.
type behindBus struct {
	*polltest.Bus
	hides bool
}

func (b *behindBus) Newer(ctx context.Context, bucket, prefix string, after uint64, fn func(schemas.Entry) error) error {
	if b.hides {
		return nil
	}
	return b.Bus.Newer(ctx, bucket, prefix, after, fn)
}
