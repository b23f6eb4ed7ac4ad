package accesscontrols_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// TestPromises: CAS Access Controls keeps the promises of all polled platforms,
// whichever documents are read.
func TestPromises(t *testing.T) {
	t.Run("user", func(t *testing.T) { promises(t, accesscontrols.ViewUser) })
	t.Run("full", func(t *testing.T) {
		if os.Getenv("LONG_TESTS") == "" {
			t.Skip("LONG_TESTS=1 runs it")
		}
		promises(t, accesscontrols.ViewFull)
	})
}

func promises(t *testing.T, view accesscontrols.View) {
	handlerstest.Poller(t, handlerstest.PollerCase{
		Platform: accesscontrols.Platform(),
		Stage:    func(t testing.TB) handlerstest.Stage { return stage(t, view) },
		Vocabulary: []schemas.Type{
			schemas.OfferingBookOpened, schemas.OfferingBookClosed, schemas.OfferingHedgeBookOpened,
			schemas.OfferingHedgeBookClosed, schemas.OfferingAllocationsReleased, schemas.OfferingAllocationsUnreleased,
			schemas.OfferingVisibilityChanged, schemas.AccessCreated, schemas.AccessChanged, schemas.AccessAbsent,
			schemas.AccessReappeared, schemas.AccessGranted, schemas.AccessRevoked,
		},
	})
}

func stage(t testing.TB, view accesscontrols.View) handlerstest.Stage {
	t.Helper()
	p := accesscontrolstest.New(accesscontrolstest.Options{ClientID: clientID, ClientSecret: secret, Seed: 5})
	deal := p.AddDeal()
	id := p.AddTranche(deal)
	s := settings("https://api.cas.example")
	s.Discover, s.View = true, view
	grant := accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"}
	p.Grant(id, grant)
	rule := accesscontrolstest.Rule{Roles: []string{"desk"}, UserIDs: []string{accesscontrolstest.Trader}}
	tells := func(types ...schemas.Type) []schemas.Type { return types }
	return handlerstest.Stage{
		Handler:  p,
		Settings: s,
		Every:    5 * time.Minute, // the list of deals is read so often
		Login:    func(r *http.Request) bool { return r.URL.Path == accesscontrolstest.TokenPath },
		Expire:   p.Expire,
		Personal: []canaries.Canary{
			{Kind: "user", Text: accesscontrolstest.Creator},
			{Kind: "user", Text: accesscontrolstest.Modifier},
			{Kind: "user", Text: accesscontrolstest.Trader},
		},
		// An administrator who may see no grants is told so with {}.
		Void:  func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/admin/") },
		First: tells(schemas.AccessCreated, schemas.AccessCreated, schemas.AccessCreated, schemas.AccessGranted),
		Happenings: []handlerstest.Happening{
			{Name: "a book opens", Do: func() { p.OpenBook(id) }, Tells: tells(schemas.OfferingBookOpened)},
			{
				Name: "all flags", Do: func() {
					p.Set(id, accesscontrolstest.HedgeBookOpen, true)
					p.Release(id, true)
					p.SetVisible(id, true, false, true)
				},
				Tells: tells(schemas.OfferingHedgeBookOpened, schemas.OfferingAllocationsReleased, schemas.OfferingVisibilityChanged),
			},
			{Name: "rules", Do: func() { p.EditRules(id, "view", rule) }, Tells: tells(schemas.AccessChanged)},
			{Name: "rules of a deal", Do: func() { p.EditRules(deal, "view", rule) }, Tells: tells(schemas.AccessChanged)},
			{
				Name: "a grant", Do: func() {
					p.Grant(id, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "734", AccessType: "terms.view"})
				},
				Tells: tells(schemas.AccessGranted),
			},
			{Name: "a grant less", Do: func() { p.Revoke(id, grant) }, Tells: tells(schemas.AccessRevoked), Scans: 2},
		},
		There: handlerstest.Happening{Do: func() { p.OpenBook(id) }, Tells: tells(schemas.OfferingBookOpened)},
		Back:  handlerstest.Happening{Do: func() { p.CloseBook(id) }, Tells: tells(schemas.OfferingBookClosed)},
		Gone:  handlerstest.Happening{Do: func() { p.Forget(id, "v2") }, Tells: tells(schemas.AccessAbsent)},
	}
}
