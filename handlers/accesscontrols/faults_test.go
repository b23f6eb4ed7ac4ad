package accesscontrols_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
)

// busy is a world of a deal with a tranche and a grant, found by the Deals
// API and told already.
func busy(t testing.TB, with func(*accesscontrols.Settings)) (w *world, deal, tranche string) {
	t.Helper()
	w = newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		deal = p.AddDeal()
		tranche = p.AddTranche(deal)
		p.Grant(tranche, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"})
		s.Discover = true
		with(s)
	})
	w.round(t)
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	return w, deal, tranche
}

// Whichever endpoint answers so while something changes, also that where grants
// are searched for: it is told once when all is well again, and nothing else is.
func TestOddErrorsLoseAndInventNothing(t *testing.T) {
	kinds := map[string]accesscontrolstest.Fault{
		"503":    {Kind: accesscontrolstest.Status, Code: 503},
		"400":    {Kind: accesscontrolstest.Status, Code: 400, Times: 2},
		"object": {Kind: accesscontrolstest.Object},
	}
	endpoints := []string{
		accesscontrolstest.Deals, accesscontrolstest.ManyV2, accesscontrolstest.ManyV1,
		accesscontrolstest.ManyDeals, accesscontrolstest.AdminGrants, accesscontrolstest.Search,
	}
	for kind, fault := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w, deal, tranche := busy(t, func(*accesscontrols.Settings) {})
			for i, endpoint := range endpoints {
				if i > 1 && kind == "400" {
					break // it meets the same code everywhere
				}
				fault.Endpoint = endpoint
				w.platform.Allow(tranche, "admin")
				if endpoint == accesscontrolstest.Search {
					w.platform.Forbid(tranche, "admin")
					w.tells(t, "")
				}
				w.platform.Inject(fault)
				w.Advance(5 * time.Minute) // the list of deals is read again
				if kind == "object" && endpoint == accesscontrolstest.AdminGrants {
					w.platform.Heal() // an administrator's answer without grants is one
					continue
				}
				events := w.round(t)
				if w.Err() == nil || len(events) > 0 {
					t.Errorf("%s: told %q, error %v", endpoint, types(events), w.Err())
				}
				quiet(t, w.Err())
				w.platform.Heal()
				w.platform.EditRules(deal, "view", accesscontrolstest.Rule{Roles: []string{endpoint}})
				w.platform.EditRules(tranche, "view", accesscontrolstest.Rule{Roles: []string{endpoint}})
				w.Advance(5 * time.Minute)
				w.tells(t, "access.changed access.changed")
			}
			w.tells(t, "")
		})
	}
}

// quiet checks that an error says nothing of what was sent or answered.
func quiet(t testing.TB, err error) {
	t.Helper()
	for _, word := range []string{secret, "kanarie", "Bearer", "eyJ", "problem", "maintenance", "book-building"} {
		if err != nil && strings.Contains(err.Error(), word) {
			t.Errorf("error says %q: %v", word, err)
		}
	}
}

func TestOneTokenServesAllPollersUntilItEnds(t *testing.T) {
	w, _, tranche := busy(t, full)
	w.silent(t)
	if n := w.platform.Count(accesscontrolstest.Token); n != 1 {
		t.Errorf("%d tokens, want 1", n)
	}
	for i, fault := range []accesscontrolstest.Fault{
		{Kind: accesscontrolstest.Unauthorized},
		{Kind: accesscontrolstest.Lapse, Endpoint: accesscontrolstest.ManyV2},
	} {
		w.platform.Inject(fault)
		w.tells(t, "")
		if n := w.platform.Count(accesscontrolstest.Token); n != i+2 {
			t.Errorf("%s: %d tokens, want %d", fault.Kind, n, i+2)
		}
	}
	w.platform.Expire()
	w.platform.OpenBook(tranche)
	w.tells(t, "offering.book_opened")
	if n := w.platform.Count(accesscontrolstest.Token); n != 4 {
		t.Errorf("%d tokens, want 4", n)
	}
}

func TestOnlyNeededScopesAreAskedFor(t *testing.T) {
	// The client has no more than these: asking for others would be refused.
	for name, c := range map[string]struct {
		scopes []string
		with   func(*accesscontrols.Settings)
		tokens int // calls: one more when the optional scope is refused
	}{
		"user":            {[]string{"accesscontrol-read"}, func(*accesscontrols.Settings) {}, 2},
		"user, all":       {[]string{"accesscontrol-read", "accesscontrol-admin-read"}, func(*accesscontrols.Settings) {}, 1},
		"full":            {[]string{"accesscontrol-read", "accesscontrol-admin"}, full, 2},
		"discovered":      {[]string{"accesscontrol-read", "deals-read"}, func(s *accesscontrols.Settings) { s.Discover = true }, 2},
		"shared":          {[]string{"accesscontrol-read"}, shared, 1},
		"full, all of it": {[]string{"accesscontrol-read", "accesscontrol-admin", "accesscontrol-admin-read"}, full, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := one(t, c.with)
			w.platform.Allowed(c.scopes...)
			w.tells(t, bothCreated)
			w.platform.Expire()
			w.tells(t, "")
			if n := w.platform.Count(accesscontrolstest.Token); n != c.tokens+1 {
				t.Errorf("asked for tokens %d times, want %d: what was refused is remembered", n, c.tokens+1)
			}
		})
	}
}

func TestAMissingScopeIsAnErrorAndNoAbsence(t *testing.T) {
	for name, c := range map[string]struct {
		view  func(*accesscontrols.Settings)
		keeps []string
	}{
		"user":   {func(*accesscontrols.Settings) {}, []string{"deals-read"}},
		"shared": {shared, []string{"deals-read"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := one(t, c.view)
			w.tells(t, bothCreated)
			w.platform.Reduce(true)
			w.platform.Allowed(c.keeps...)
			w.platform.Expire()
			for range 3 {
				if events := w.round(t, "tranches-v1", "tranches-v2"); len(events) > 0 || w.Err() == nil {
					t.Errorf("told %q, error %v", types(events), w.Err())
				}
			}
		})
	}
}

func TestManyIDsGoInCallsOfAHundred(t *testing.T) {
	const n = 102
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		for i := range n {
			id := p.AddTranche("")
			s.Tranches = append(s.Tranches, id)
			if i >= 2 {
				p.Forget(id, "v1")
			}
		}
		p.Wrap(true)
	})
	if events := w.round(t, "tranches-v1"); w.Err() != nil || len(events) != 2 {
		t.Fatalf("%d events, error %v", len(events), w.Err())
	}
	if most := w.platform.Most(); most != 100 {
		t.Errorf("%d ids in a call, want 100", most)
	}
	before := w.platform.Counts()
	if events := w.round(t, "tranches-v1"); w.Err() != nil || len(events) > 0 {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
	for endpoint, want := range map[string]int{accesscontrolstest.ManyV1: 2, accesscontrolstest.OneV1: 100} {
		if got := w.platform.Count(endpoint) - before[endpoint]; got != want {
			t.Errorf("%s was asked %d times, want %d: the form of ids is remembered, and what is missing asked for alone", endpoint, got, want)
		}
	}
}

// A read of many that is refused as a whole because of one of them.
func TestADocumentThatIsRefusedKeepsNoOtherFromBeingRead(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	w.platform.OpenBook(id)
	w.platform.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.ManyV1, Kind: accesscontrolstest.Status, Code: 403})
	w.tells(t, "offering.book_opened")
	w.platform.CloseBook(id)
	w.platform.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.ManyV1, Kind: accesscontrolstest.Status, Code: 404})
	w.tells(t, "offering.book_closed")
}

// One call that fails keeps neither the others of its kind nor the next scan.
func TestAServersErrorOfOneCallKeepsNoOtherFromBeingRead(t *testing.T) {
	var ids []string
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		for range 101 {
			ids = append(ids, p.AddTranche(""))
			p.Forget(ids[len(ids)-1], "v1")
		}
		p.Allow(ids[0], "v1")
		p.Allow(ids[100], "v1")
		s.Tranches = ids
	})
	w.round(t, "tranches-v1")
	w.platform.OpenBook(ids[0])
	w.platform.OpenBook(ids[100])
	w.platform.Inject(accesscontrolstest.Fault{Endpoint: accesscontrolstest.ManyV1, Kind: accesscontrolstest.Status, Code: 500})
	if events := w.round(t, "tranches-v1"); types(events) != "offering.book_opened" || events[0].Key != ids[100] || w.Err() == nil {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
	if events := w.round(t, "tranches-v1"); types(events) != "offering.book_opened" || w.Err() != nil {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
}

func TestErrorsWithoutABodyAreErrorsToo(t *testing.T) {
	w, id := one(t)
	w.platform.Bare(true)
	w.tells(t, bothCreated)
	w.platform.Forbid(id, "v1")
	w.tells(t, "")
	w.tells(t, "access.absent")
}
