package corastone_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// TestPollPromises: Corastone keeps the promises of all polled platforms.
func TestPollPromises(t *testing.T) {
	handlerstest.Poller(t, handlerstest.PollerCase{
		Platform: corastone.Platform(),
		Stage:    stage,
		Twins:    true,
		Vocabulary: []schemas.Type{
			schemas.ProcessQueued, schemas.ProcessInProgress, schemas.ProcessSucceeded, schemas.ProcessFailed,
			schemas.ProcessTimedOut, schemas.ProcessReported,
		},
	})
}

func stage(t testing.TB) handlerstest.Stage {
	t.Helper()
	l := corastonetest.NewLedger(corastonetest.Options{})
	must := func(r corastonetest.Receipt, err error) corastonetest.Receipt {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	fund, err := l.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	s := settings(t)
	s.API = &corastone.API{
		URL: "https://api.corastone.example", OrgID: corastonetest.OurOrg,
		ClientID: corastonetest.ClientID, ClientSecret: handlers.NewSecret(corastonetest.ClientSecret),
	}
	tells := func(types ...schemas.Type) []schemas.Type { return types }
	return handlerstest.Stage{
		Handler:  l,
		Settings: s,
		Every:    6 * time.Hour,
		Login:    func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") },
		Expire:   l.EndTokens,
		First:    tells(schemas.OfferingOpened, schemas.OfferingAssignmentAccepted),
		Happenings: []handlerstest.Happening{
			{Name: "subscribed", Do: func() { must(l.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"})) }, Scans: 2, Tells: tells()},
			{Name: "paused", Do: func() { must(l.Pause(fund)) }, Scans: 2, Tells: tells()},
			{Name: "an error", Do: func() { l.LogError("EC001", "") }, Scans: 2, Tells: tells()},
			{Name: "removed", Do: func() { must(l.RemoveAssignment(fund)) }, Scans: 2, Tells: tells()},
		},
		There: handlerstest.Happening{Do: func() { must(l.Pause(fund)) }, Scans: 2, Tells: tells()},
		Back:  handlerstest.Happening{Do: func() { must(l.Resume(fund)) }, Scans: 2, Tells: tells()},
	}
}
