package tokeny_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/handlers/tokeny"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
	"github.com/seed75441868/postern/schemas"
)

// TestPromises: Tokeny keeps the promises of all polled platforms.
func TestPromises(t *testing.T) {
	handlerstest.Poller(t, handlerstest.PollerCase{
		Platform: tokeny.Platform(),
		Stage:    stage,
		Vocabulary: []schemas.Type{
			schemas.InvestorAdded, schemas.InvestorStatusChanged, schemas.InvestorKYCChanged, schemas.InvestorQualified,
			schemas.InvestorDisqualified, schemas.InvestorWalletChanged, schemas.InvestorIdentityChanged,
			schemas.InvestorAbsent, schemas.InvestorReappeared,
		},
	})
}

func stage(t testing.TB) handlerstest.Stage {
	t.Helper()
	birds := canaries.Some(11, 9)
	p := tokenytest.New(tokenytest.Options{Email: email, Password: password, Seed: 3}, token, other)
	person := func(n int) tokenytest.Investor {
		return tokenytest.Investor{
			Name: birds[3*n].Text, Email: birds[3*n+1].Text, Wallet: birds[3*n+2].Text,
			Status: "pending", KYCStatus: "pending", KYCProvider: "MANUAL",
		}
	}
	a, b := p.Add(token, person(0)), p.Add(other, person(1))
	status := func(status string) func() { return func() { p.SetStatus(token, a, status) } }
	tells := func(types ...schemas.Type) []schemas.Type { return types }
	return handlerstest.Stage{
		Handler:  p,
		Settings: settings("https://api.tokeny.com", token, other),
		Login:    func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/signin") },
		Expire:   p.Revoke,
		Personal: birds,
		First:    tells(schemas.InvestorAdded, schemas.InvestorAdded),
		Happenings: []handlerstest.Happening{
			{Name: "added", Do: func() { p.Add(other, person(2)) }, Tells: tells(schemas.InvestorAdded)},
			{Name: "qualified", Do: status("qualified"), Tells: tells(schemas.InvestorStatusChanged, schemas.InvestorQualified)},
			{
				Name: "checked", Do: func() { p.SetKYC(other, b, "approved", "MANUAL") },
				Tells: tells(schemas.InvestorKYCChanged),
			},
			{
				Name: "wallet", Do: func() { p.SetWallet(token, a, p.Wallet(), "USER_MANAGED") },
				Tells: tells(schemas.InvestorWalletChanged),
			},
			{
				Name: "renamed", Do: func() { p.Rename(token, a, birds[6].Text, birds[7].Text) },
				Tells: tells(schemas.InvestorIdentityChanged),
			},
			{Name: "removed", Do: func() { p.Remove(token, a) }, Tells: tells(schemas.InvestorAbsent), Scans: 2},
		},
		There: handlerstest.Happening{Do: status("qualified"), Tells: tells(schemas.InvestorStatusChanged, schemas.InvestorQualified)},
		Back:  handlerstest.Happening{Do: status("pending"), Tells: tells(schemas.InvestorStatusChanged, schemas.InvestorDisqualified)},
		Gone:  handlerstest.Happening{Do: func() { p.Remove(token, a) }, Tells: tells(schemas.InvestorAbsent)},
	}
}
