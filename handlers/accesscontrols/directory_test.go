package accesscontrols_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
)

func TestDiscoverFindsAllPages(t *testing.T) {
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		for i := range 260 {
			if deal := p.AddDeal(); i%130 < 2 {
				p.AddTranche(deal)
			}
		}
		s.Discover = true
		p.Allowed("accesscontrol-read", "deals-read")
	})
	pollers := []string{"tranches-v1", "tranches-v2", "grants"}
	if events := w.round(t, pollers...); w.Err() != nil || len(events) != 2*4 {
		t.Fatalf("%d events, want 8; error %v", len(events), w.Err())
	}
	if pages := w.platform.Count(accesscontrolstest.Deals); pages != 3 { // the last one has nothing on it
		t.Errorf("%d pages were read for all pollers, want 3", pages)
	}
	alone := w.platform.Count(accesscontrolstest.OneGrants)
	if events := w.round(t, pollers...); w.Err() != nil || len(events) > 0 {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
	if pages := w.platform.Count(accesscontrolstest.Deals); pages != 3 {
		t.Errorf("%d pages were read, though nothing is 5 minutes old", pages)
	}
	if n := w.platform.Count(accesscontrolstest.OneGrants) - alone; alone != 4 || n != 0 {
		t.Errorf("tranches without grants were asked for alone %d times at first, want 4, and %d times more", alone, n)
	}
}

func TestAListThatMovesIsReadAgain(t *testing.T) {
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		for range 510 {
			p.AddDeal()
		}
		p.AddTranche(p.AddDeal())
		s.Discover = true
		p.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.Deals, Kind: ""})
		p.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.Deals, Kind: accesscontrolstest.Shift})
	})
	events := w.round(t, "tranches-v1", "tranches-v2")
	if w.Err() != nil || types(events) != bothCreated {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
	w.Advance(5 * time.Minute)
	w.platform.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.Deals, Kind: accesscontrolstest.Shift, Times: 100})
	if events := w.round(t, "tranches-v1"); len(events) > 0 || !errors.Is(w.Err(), handlers.ErrMoved) {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
	w.platform.Heal()
	if events := w.round(t, "tranches-v1", "tranches-v2"); len(events) > 0 || w.Err() != nil {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
}

// A token that ends between two pages makes it another list.
func TestPagesBelongTogetherUnderOneTokenOnly(t *testing.T) {
	w, _, _ := busy(t, full)
	w.Advance(5 * time.Minute)
	before := w.platform.Count(accesscontrolstest.Deals)
	w.platform.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.Deals})
	w.platform.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.Deals, Kind: accesscontrolstest.Lapse})
	w.tells(t, "")
	// Page 1, page 2 refused and repeated, and both again.
	if n := w.platform.Count(accesscontrolstest.Deals) - before; n != 5 {
		t.Errorf("%d calls, want 5", n)
	}
}

func TestOnlyWhatIsAskedForIsWatched(t *testing.T) {
	var mine, id, named string
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		mine = p.AddDeal()
		id = p.AddTranche(mine)
		p.AddTranche(p.AddDeal())
		named = p.AddTranche("")
		s.Deals, s.Tranches = []string{strings.ToUpper(mine)[:8] + mine[8:]}, []string{named}
	})
	var keys []string
	for _, e := range w.round(t) {
		keys = append(keys, e.Key)
	}
	slices.Sort(keys)
	want := []string{"tranche-v1-" + id, "tranche-v1-" + named, "tranche-v2-" + id, "tranche-v2-" + named}
	slices.Sort(want)
	if strings.Join(keys, " ") != strings.Join(want, " ") {
		t.Errorf("told of %v, want %v", keys, want)
	}
}

func TestANewTrancheIsFoundWithinFiveMinutes(t *testing.T) {
	w, deal, _ := busy(t, full)
	w.platform.AddTranche(deal)
	told := 0
	for range 6 {
		told += len(w.round(t))
	}
	if told != 2 {
		t.Errorf("%d events, want 2", told)
	}
}

// What isn't listed any more is asked for all the same: only its own answer
// says what became of it.
func TestWhatIsNotListedAnyMoreIsAskedForUntilItIsAbsent(t *testing.T) {
	w, deal, tranche := busy(t, full)
	w.platform.Unlist(deal)
	w.Advance(5 * time.Minute)
	w.silent(t)
	w.platform.EditRules(tranche, "view", accesscontrolstest.Rule{Roles: []string{"desk"}})
	w.tells(t, "access.changed")
	w.Restart()
	w.Advance(5 * time.Minute)
	w.platform.Forget(tranche, "v2")
	w.tells(t, "")
	w.tells(t, "access.absent")
	w.silent(t)
	w.Advance(5 * time.Minute)
	w.tells(t, "")
	before := w.platform.Count(accesscontrolstest.OneV2)
	w.tells(t, "")
	if n := w.platform.Count(accesscontrolstest.OneV2) - before; n != 0 {
		t.Errorf("what is absent and not listed was asked for %d times more", n)
	}
}

func TestAListThatCannotBeReadLeavesTheLastOne(t *testing.T) {
	w, _, tranche := busy(t, full)
	w.Advance(5 * time.Minute)
	w.platform.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.Deals, Kind: accesscontrolstest.Status, Code: 500, Times: 100})
	w.platform.OpenBook(tranche)
	if events := w.round(t); types(events) != "offering.book_opened" || w.Err() == nil {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
}
