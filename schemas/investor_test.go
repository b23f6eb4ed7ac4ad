package schemas

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// exampleInvestor makes e the example of an event of an investor.
func exampleInvestor(e *Event) {
	str := func(s string) *string { return &s }
	const (
		token     = "3f0c1b7e-5d0a-4c55-9c1e-7a2f4be0d911"
		candidate = "b1e3a6d2-0c47-4f19-8a5e-61d9f7c02e34"
		email     = "q0Wc4hT2mN8xRz5vKb1LpA"
		wallet    = "Yt7Jd3sVf9GkQe6UoI2MnB"
		former    = "Hx5Ra8PwC1zTl0EuS4ZiDg"
	)
	i := Investor{
		Platform: "tokeny", TokenID: token, CandidateID: candidate,
		NativeStatus: str("pending"), KYCStatus: str("pending"), KYCProvider: str("MANUAL"),
		WalletHash: str(wallet), WalletProvider: str("USER_MANAGED"), EmailHash: str(email),
		InvestorType: str("individual"), Country: str("NLD"), CreatedAt: str("2026-04-10T07:15:00.250Z"),
		Observed: Observed{Revision: 4, ChangedBetween: []string{"2026-04-14T10:19:30.000Z", "2026-04-14T10:20:30.400Z"}},
	}
	e.Source, e.Channel, e.Key = "fund-one", ChannelPoll, token+"-"+candidate
	e.ID = "fund-one:investor:" + e.Key + ":3.4:" + e.Type.Event() + ":n3Kc8yB0sWqXv5TjRf1LmA"
	e.Sequence = "0000000000000004"
	found := false
	switch e.Type {
	case InvestorAdded:
		i.Observed = Observed{Revision: 1, Bootstrap: true}
		e.Time = *i.CreatedAt
	case InvestorStatusChanged:
		i.PreviousStatus, i.CurrentSection = str("registered"), nil
		i.Changes = []Difference{
			{Path: "/nativeStatus", Op: "replace", Old: jsontext.Value(`"registered"`), New: jsontext.Value(`"pending"`)},
			{Path: "/currentSection", Op: "remove", Old: jsontext.Value(`"Agreements"`)},
		}
	case InvestorKYCChanged:
		i.KYCStatus, i.PreviousKYCStatus = str("approved"), str("pending")
		i.Changes = []Difference{{Path: "/kycStatus", Op: "replace", Old: jsontext.Value(`"pending"`), New: jsontext.Value(`"approved"`)}}
	case InvestorWalletChanged:
		i.PreviousWallet = str(former)
		i.Changes = []Difference{{Path: "/walletHash", Op: "replace", Old: jsontext.Value(`"` + former + `"`), New: jsontext.Value(`"` + wallet + `"`)}}
	case InvestorIdentityChanged:
		i.Changes = []Difference{{Path: "/identity", Op: "replace"}}
	case InvestorQualified:
		i.NativeStatus, i.PreviousStatus = str("qualified"), str("pending")
	case InvestorDisqualified:
		i.PreviousStatus = str("qualified")
	case InvestorAbsent:
		i.Holder = &InvestorHolder{Found: &found}
	}
	e.Recorded = time.Date(2026, 4, 14, 10, 20, 32, 10e6, time.UTC)
	e.Data = i
}
