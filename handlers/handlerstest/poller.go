package handlerstest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// PollerCase is what the suite needs to know of a platform that polls.
type PollerCase struct {
	Platform handlers.Platform
	// Stage sets up the platform's stand-in, the same way every time. Nobody
	// else knows of it, and its clock is time.Now, which is a time of its own.
	Stage func(t testing.TB) Stage
	// Vocabulary lists what the platform's events can be.
	Vocabulary []schemas.Type
	// Twins says that what is personal goes to restricted twins, and sealed
	// into states. Otherwise it goes nowhere.
	Twins bool
}

// Stage is a stand-in with something in it, and what can happen there.
type Stage struct {
	Handler http.Handler
	// Settings are those of a source that may read all of it. They were made
	// for this stage alone. Whatever its URLs are, they lead to Handler.
	Settings any
	// Every is how long passes between two scans, so that a scan sees what
	// happened before it. 0: a minute.
	Every time.Duration
	// Login reports whether a request is for a token, and Expire ends all
	// tokens that the stand-in gave. Nil: the settings hold the only one.
	Login  func(*http.Request) bool
	Expire func()
	// Personal is in what the stand-in shows, and has no business in what
	// everybody may read.
	Personal []canaries.Canary

	// First is what the first scan tells.
	First []schemas.Type
	// Happenings can each happen when the first scan was made. They are told
	// by different events, or of different entities.
	Happenings []Happening
	// There and Back change an entity, and change it back.
	There, Back Happening
	// Gone takes away an entity; nil Do: nothing ever goes.
	Gone Happening
	// Void reports whether {} can be an answer to a request: that there is
	// nothing. Nil: to none.
	Void func(*http.Request) bool
}

// Happening is something that happens at a platform.
type Happening struct {
	Name string
	Do   func()
	// Tells is what is told of it.
	Tells []schemas.Type
	// Scans is how many it takes until all of it is told. 0: one.
	Scans int
}

// Poller tests all promises that a platform keeps which is polled.
func Poller(t *testing.T, c PollerCase) {
	t.Run("settings that don't authenticate, or in the clear, are refused", c.settings)
	t.Run("the first scan tells what is there, as bootstrap", c.first)
	t.Run("what does not change is neither told nor written", c.unchanged)
	t.Run("what happens is told once, also over a restart", c.happens)
	t.Run("there and back are three changes", c.swings)
	t.Run("absence takes two scans", c.gone)
	t.Run("faults are no absence", c.hidden)
	t.Run("faults lose and invent nothing", c.faults)
	t.Run("a token is asked for once per expiry", c.tokens)
	t.Run("a refused login is not repeated", c.lockout)
	t.Run("nothing personal and no secret is told", c.discreet)
	t.Run("errors repeat nothing of an answer", c.scrambled)
	t.Run("translating survives junk", c.junk)
}

// first: each entity is told once, by events that say that it was there before.
func (c PollerCase) first(t *testing.T) {
	within(t, c, func(w *world) {
		w.bootstrap = true
		w.tells(w.stage.First)
		w.bootstrap = false
		w.quiet(2)
		w.restart()
		w.quiet(1)
	})
}

// unchanged: scans that see the same append nothing to the journal, and change
// nothing of what is known. How far a poller is may move on.
func (c PollerCase) unchanged(t *testing.T) {
	within(t, c, func(w *world) {
		w.start()
		w.quiet(2)
		before, deliveries := w.watch.bus.Entries(schemas.BucketState), len(w.deliveries)
		w.quiet(5)
		if diff := cmp.Diff(before, w.watch.bus.Entries(schemas.BucketState)); diff != "" {
			t.Errorf("states were written (-before +after):\n%s", diff)
		}
		if n := len(w.deliveries) - deliveries; n != 0 {
			t.Errorf("%d deliveries were made", n)
		}
	})
}

// happens: by exactly its events, however often it is scanned and whenever the
// receiver is started again.
func (c PollerCase) happens(t *testing.T) {
	for n, h := range c.Stage(t).Happenings {
		t.Run(h.Name, func(t *testing.T) {
			within(t, c, func(w *world) {
				w.start()
				h := w.stage.Happenings[n]
				h.Do()
				w.restart()
				w.tellsOf(h)
				w.quiet(2)
				w.restart()
				w.quiet(2)
			})
		})
	}
}

// swings: a state that is the one before the last is told all the same, under
// an id and a revision of its own.
func (c PollerCase) swings(t *testing.T) {
	within(t, c, func(w *world) {
		w.start()
		latest := map[string]string{} // sequences of entities
		for _, h := range []Happening{w.stage.There, w.stage.Back, w.stage.There} {
			before, at := maps.Clone(latest), len(w.events)
			h.Do()
			w.tellsOf(h)
			for _, e := range w.events[at:] {
				of := e.Type.Entity() + " " + e.Key
				if w.changes(e) && e.Sequence <= before[of] {
					t.Errorf("%s has the sequence %s, after %s", e.ID, e.Sequence, before[of])
				}
				latest[of] = e.Sequence
			}
		}
		if len(latest) == 0 {
			t.Error("no revision is told")
		}
		w.quiet(2)
	})
}

// gone: what one scan misses is missed, and what two miss is absent, whatever
// failed between them.
func (c PollerCase) gone(t *testing.T) {
	if c.Stage(t).Gone.Do == nil {
		t.Skip("nothing ever goes")
	}
	within(t, c, func(w *world) {
		w.start()
		w.stage.Gone.Do()
		w.tells(nil)
		w.gate.order(&trouble{kind: broken, which: reads})
		for range 3 {
			w.same(w.round(), nil)
		}
		w.gate.order(nil)
		w.tells(w.stage.Gone.Tells)
		w.restart()
		w.quiet(3)
	})
}

// hidden: as long as something is wrong with all answers nothing is told, and
// nothing is when it is right again.
func (c PollerCase) hidden(t *testing.T) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			within(t, c, func(w *world) {
				w.start()
				w.gate.order(&trouble{kind: k, which: reads})
				for range 3 {
					w.same(w.round(), nil)
					if w.watch.Err() == nil {
						t.Error("the scan did not fail")
					}
				}
				w.gate.order(nil)
				w.quiet(3)
			})
		})
	}
}

// faults: whatever goes wrong with whichever request of a scan, while something
// happens and tokens end, it is told once in the end, and nothing else.
func (c PollerCase) faults(t *testing.T) {
	requests, happenings := 0, 0
	within(t, c, func(w *world) {
		w.start()
		w.expire()
		w.gate.order(nil)
		w.quiet(1)
		requests, happenings = w.gate.asked, len(w.stage.Happenings)
	})
	for i, k := range kinds {
		for n := range requests {
			if !thorough() && requests > 4 && (n+i)%(requests/4) != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s at request %d", k, n+1), func(t *testing.T) {
				within(t, c, func(w *world) { w.faulty(w.stage.Happenings[(n+i)%happenings], k, n) })
			})
		}
	}
}

func (w *world) faulty(h Happening, k kind, nth int) {
	w.start()
	h.Do()
	w.expire()
	w.gate.order(&trouble{kind: k, nth: nth})
	told := w.round()
	err := w.watch.Err()
	var late *handlers.UpstreamError
	var auth *handlers.AuthError
	switch happened := w.gate.happened(); {
	case !happened:
	case k != refused && errors.As(err, &auth):
		w.Errorf("what nobody refused is taken for a refused login: %v", err)
	case k == limited && (!errors.As(err, &late) || late.RetryAfter != 90*time.Second):
		w.Errorf("Retry-After is lost: %v", err)
	case err == nil && k != bare && h.scans() == 1 && len(told) < len(h.Tells):
		w.Errorf("a scan that missed something did not fail")
	}
	w.gate.order(nil)
	for range h.scans() + 2 {
		told = append(told, w.round()...)
		w.succeeded()
	}
	w.same(told, h.Tells)
	w.quiet(1)
}

// tokens: nobody logs in who has a token, and whose token was refused does once
// and asks again. A token that ends in time is replaced before.
func (c PollerCase) tokens(t *testing.T) {
	if c.Stage(t).Login == nil {
		t.Skip("nobody logs in")
	}
	within(t, c, func(w *world) {
		soon := func(rounds int) {
			w.Helper()
			for range rounds {
				w.same(w.roundAfter(time.Second), nil)
				w.succeeded()
			}
		}
		w.start()
		most, _ := w.gate.counts()
		if most == 0 {
			t.Fatal("nobody logged in")
		}
		soon(1)
		before, _ := w.gate.counts()
		soon(3)
		if logins, _ := w.gate.counts(); logins != before {
			t.Errorf("logged in %d times with tokens that are good", logins-before)
		}
		w.stage.Expire()
		soon(3)
		logins, refusals := w.gate.counts()
		if logins -= before; logins == 0 || logins > most {
			t.Errorf("logged in %d times when tokens had ended, %d times at first", logins, most)
		}
		w.quiet(30)
		if _, now := w.gate.counts(); now != refusals {
			t.Errorf("%d tokens were used behind their end", now-refusals)
		}
	})
}

// lockout: who is refused doesn't try again at once, however many pollers want
// a token and however often the receiver asks.
func (c PollerCase) lockout(t *testing.T) {
	if c.Stage(t).Login == nil {
		t.Skip("nobody logs in")
	}
	most := 0
	within(t, c, func(w *world) {
		w.start()
		most, _ = w.gate.counts()
	})
	within(t, c, func(w *world) {
		w.gate.order(&trouble{kind: refused, which: logins})
		for range 4 {
			w.same(w.roundAfter(time.Second), nil)
			var auth *handlers.AuthError
			if err := w.watch.Err(); !errors.As(err, &auth) {
				t.Errorf("failed with %v, want an *AuthError", err)
			}
		}
		if n, _ := w.gate.counts(); n > most {
			t.Errorf("tried to log in %d times, want %d", n, most)
		}
		w.gate.order(nil)
		w.pass(2 * time.Hour)
		w.tells(w.stage.First)
	})
}

// scans is how many it takes.
func (h Happening) scans() int { return max(h.Scans, 1) }

// sorted returns types as texts, for comparing.
func sorted(types []schemas.Type) string {
	list := make([]string, 0, len(types))
	for _, t := range types {
		list = append(list, string(t))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}
