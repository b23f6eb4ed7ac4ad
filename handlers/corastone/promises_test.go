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
	var words []schemas.Type
	for _, d := range schemas.Definitions() {
		switch d.Type.Entity() {
		case "process", "orchestration", "error", "job", "subscription", "offering":
			words = append(words, d.Type)
		}
	}
	handlerstest.Poller(t, handlerstest.PollerCase{Platform: corastone.Platform(), Stage: stage, Twins: true, Vocabulary: words})
}

func stage(t testing.TB) handlerstest.Stage {
	t.Helper()
	l := corastonetest.NewLedger(corastonetest.Options{})
	must := func(_ corastonetest.Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
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
	// Which steps an investment took is left to follow-ups, unless there are none.
	none := false
	s.FollowUp = &corastone.FollowUp{Enabled: &none}
	step := func(t schemas.Type) []schemas.Type {
		return []schemas.Type{schemas.ProcessSucceeded, schemas.OrchestrationSucceeded, t}
	}
	paused := handlerstest.Happening{
		Name: "paused", Do: func() { must(l.Pause(fund)) }, Scans: 2, Tells: step(schemas.OfferingPaused),
	}
	removed := handlerstest.Happening{
		Name: "assignment removed", Do: func() { must(l.RemoveAssignment(fund)) }, Scans: 2,
		Tells: step(schemas.OfferingAssignmentRemoved),
	}
	return handlerstest.Stage{
		Handler:  l,
		Settings: s,
		Every:    6 * time.Hour,
		Login:    func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/token") },
		Expire:   l.EndTokens,
		First:    []schemas.Type{schemas.OfferingOpened, schemas.OfferingAssignmentAccepted},
		Happenings: []handlerstest.Happening{
			{
				Name: "subscribed", Do: func() { must(l.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"})) }, Scans: 2,
				Tells: step(schemas.SubscriptionStatusChanged),
			},
			paused, removed,
			{Name: "an error", Do: func() { l.LogError("EC001", "") }, Scans: 2, Tells: []schemas.Type{schemas.ErrorLogged}},
		},
		There: paused,
		Back:  handlerstest.Happening{Do: func() { must(l.Resume(fund)) }, Scans: 2, Tells: step(schemas.OfferingResumed)},
	}
}
