package corastonetest_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// TestReceiverUnderstandsEveryScenario: what the ledger says is what the
// platform's own code reads, with no word that it doesn't know and no value
// that it doesn't find.
func TestReceiverUnderstandsEveryScenario(t *testing.T) {
	all, err := corastonetest.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		t.Run(s.Name, func(t *testing.T) {
			var w *handlerstest.Watch
			l := corastonetest.NewLedger(corastonetest.Options{Now: func() time.Time { return w.Now() }})
			server := httptest.NewServer(l)
			defer server.Close()
			settings := pushed(t)
			settings.API = &corastone.API{
				URL: server.URL, OrgID: corastonetest.OurOrg, ClientID: corastonetest.ClientID,
				ClientSecret: handlers.NewSecret(corastonetest.ClientSecret),
			}
			w = handlerstest.NewWatch(t, corastone.Platform(), settings, server.Client())
			w.Round()
			if _, err := corastonetest.Play(t.Context(), l, s); err != nil {
				t.Fatal(err)
			}
			w.Advance(time.Minute)
			told := map[schemas.Type]int{}
			for _, e := range w.Round() {
				told[e.Type]++
				if e.Unknown || e.Type == schemas.PlatformSchemaDrift {
					t.Errorf("%s is not understood", e.ID)
				}
				if a, ok := e.Data.(schemas.Asset); ok {
					for name, found := range map[string]bool{
						"amount": a.Amount != nil && a.Amount.Currency != "", "units": a.Units != nil, "price": a.Price != nil,
						"fee": a.FrontEndFee != nil, "security": a.SecurityID != nil, "status": a.NativeStatus != nil,
					} {
						if !found {
							t.Errorf("%s: its %s was not found", e.ID, name)
						}
					}
				}
			}
			if w.Err() != nil {
				t.Error(w.Err())
			}
			want := map[string]int{}
			for _, p := range l.Processes() {
				want[p.Status]++
			}
			if got := told[schemas.ProcessSucceeded]; got != want["success"] || told[schemas.ProcessFailed] != want["failed"] {
				t.Errorf("%d succeeded and %d failed; the ledger has %v", got, told[schemas.ProcessFailed], want)
			}
		})
	}
}
