package bus

import (
	"testing"
	"time"

	"github.com/seed75441868/postern/schemas"
)

// Who gets no answer asks again soon, and gives each next attempt longer, up to
// the whole timeout; an answer makes it impatient again. One stream's silence
// says nothing of another.
func TestPatienceGrowsWithoutAnswers(t *testing.T) {
	var p patience
	const most = 10 * time.Second
	for _, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, most, most} {
		if got := p.of(schemas.StreamEvents, most); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		p.learn(schemas.StreamEvents, errTimeout)
		p.learn(schemas.StreamEvents, ErrDisconnected) // says nothing
	}
	if got := p.of(schemas.StreamRaw, most); got != firstPatience {
		t.Errorf("another stream is given %v", got)
	}
	p.learn(schemas.StreamEvents, nil)
	if got := p.of(schemas.StreamEvents, most); got != firstPatience {
		t.Errorf("after an answer it is %v", got)
	}
	if got := p.of(schemas.StreamEvents, time.Second); got != time.Second {
		t.Errorf("more than all: %v", got)
	}
}
