package accesscontrols_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
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

// spelling is a platform to which ids are the same in whichever case they are
// written, and whose list of deals may write some in capitals.
type spelling struct {
	next     http.RoundTripper
	ids      []string
	capitals bool
}

func (s *spelling) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	for _, id := range s.ids {
		r.URL.Path = strings.ReplaceAll(r.URL.Path, strings.ToUpper(id), id)
		body = bytes.ReplaceAll(body, []byte(strings.ToUpper(id)), []byte(id))
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res, err := s.next.RoundTrip(r)
	if err != nil || !s.capitals || !strings.HasSuffix(r.URL.Path, "/v1/deals") {
		return res, err
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		return nil, err
	}
	for _, id := range s.ids {
		body = bytes.ReplaceAll(body, []byte(id), []byte(strings.ToUpper(id)))
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

// An id that is written in another case is no other one: nothing is created or
// granted again.
func TestAnIDIsTheSameInAnyCase(t *testing.T) {
	var s *accesscontrols.Settings
	platform := &spelling{}
	w := newWorld(t, func(p *accesscontrolstest.Platform, into *accesscontrols.Settings) {
		deal := p.AddDeal()
		tranche := p.AddTranche(deal)
		p.OpenBook(tranche)
		p.Grant(tranche, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"})
		platform.ids = []string{deal, tranche}
		into.Discover, s = true, into
	})
	client := *w.server.Client()
	platform.next, client.Transport = client.Transport, platform
	w.open(t, s, &client)
	w.tells(t, "access.created access.created access.created access.granted offering.book_opened")
	for range 2 {
		platform.capitals = !platform.capitals
		w.Advance(5 * time.Minute)
		w.silent(t)
	}
	w.platform.CloseBook(platform.ids[1])
	w.tells(t, "offering.book_closed")
}
