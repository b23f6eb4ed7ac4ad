package concedus_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// TestPromises: Concedus keeps the promises of all polled platforms.
func TestPromises(t *testing.T) {
	handlerstest.Poller(t, handlerstest.PollerCase{
		Platform: concedus.Platform(),
		Stage:    stage,
		Twins:    true,
		Vocabulary: []schemas.Type{
			schemas.SubscriptionReleased, schemas.SubscriptionSubmittedToIssuer, schemas.SubscriptionChanged,
			schemas.SubscriptionAbsent, schemas.SubscriptionReappeared, schemas.SubscriptionAgentApproved,
			schemas.SubscriptionRejected, schemas.SubscriptionUndetermined, schemas.SubscriptionComplianceChanged,
		},
	})
}

func stage(t testing.TB) handlerstest.Stage {
	t.Helper()
	birds := canaries.Some(7, 8)
	server := concedustest.New(nil)
	server.Agent("agent-user", "agent-password-9f")
	server.Issuer(owner, "4711", "issuer-password-3c")
	contract := func(n int) concedustest.Contract {
		return concedustest.Contract{
			Key: birds[2*n].Text, InvestorName: birds[2*n+1].Text,
			Product: "North Bond", Share: "1200", Agio: "36.00", Signed: "2026-02-03",
		}
	}
	a, b, c, d := contract(0), contract(1), contract(2), contract(3)
	server.Release(a, b)
	server.Enter(owner, c)
	share := func(share string) func() {
		return func() { server.Change(a.Key, func(c *concedustest.Contract) { c.Share = share }) }
	}
	changed := []schemas.Type{schemas.SubscriptionChanged}
	return handlerstest.Stage{
		Handler:  server,
		Settings: settings(t),
		Every:    16 * time.Minute, // a contract's status is asked for every quarter of an hour
		Login:    func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/auth/") },
		Expire:   server.Expire,
		Personal: birds,
		First:    []schemas.Type{schemas.SubscriptionReleased, schemas.SubscriptionReleased, schemas.SubscriptionSubmittedToIssuer},
		Happenings: []handlerstest.Happening{
			{Name: "released", Do: func() { server.Release(d) }, Tells: []schemas.Type{schemas.SubscriptionReleased}},
			{Name: "changed", Do: share("77"), Tells: changed},
			{
				Name: "changed at the issuer", Do: func() { server.Change(c.Key, func(c *concedustest.Contract) { c.Agio = "1" }) },
				Tells: changed,
			},
			{
				Name: "status", Do: func() { server.SetCompliance(b.Key, 200) },
				Tells: []schemas.Type{schemas.SubscriptionComplianceChanged},
			},
			{
				Name: "submitted", Do: func() { server.Submit(b.Key, owner) }, Scans: 3,
				Tells: []schemas.Type{
					schemas.SubscriptionSubmittedToIssuer, schemas.SubscriptionAbsent, schemas.SubscriptionAgentApproved,
				},
			},
			{
				Name: "rejected", Do: func() { server.Reject(b.Key, 301) }, Scans: 3,
				Tells: []schemas.Type{
					schemas.SubscriptionComplianceChanged, schemas.SubscriptionAbsent, schemas.SubscriptionRejected,
				},
			},
		},
		There: handlerstest.Happening{Do: share("77"), Tells: changed},
		Back:  handlerstest.Happening{Do: share("1200"), Tells: changed},
		Gone:  handlerstest.Happening{Do: func() { server.Leave(c.Key) }, Tells: []schemas.Type{schemas.SubscriptionAbsent}},
	}
}
