package schemas

import "github.com/go-json-experiment/json/jsontext"

// exampleContract makes e the event that the JSON Schema of a contract's type
// shows.
func exampleContract(e Event) Event {
	str := func(s string) *string { return &s }
	const pseudonym = "q3Zk0cT1mV8sYb2LdXeHfA"
	c := Contract{
		Platform:    "concedus",
		Observed:    Observed{Revision: 3, ChangedBetween: []string{"2026-04-14T10:19:30.000Z", "2026-04-14T10:20:30.000Z"}},
		ContractKey: str(pseudonym), List: str("agent"),
		Product: str("North Bond"), Amount: &Money{Value: "1200.00", Currency: "EUR"}, FrontEndFee: &Money{Value: "36.00", Currency: "EUR"},
		Signed: str("2026-04-12"), Updated: str("2026-04-14T10:20:01.12Z"),
		NativeType: str("PV2"), Derived: &ContractType{InvestorClass: "professional", Market: "secondary", Stage: 2, Inferred: true},
	}
	key := "agent-" + pseudonym
	switch e.Type {
	case SubscriptionSubmittedToIssuer:
		key = "issuer-77-" + pseudonym
		c.List, c.Owner, c.Signed, c.Created = str("issuer"), str("77"), nil, str("2026-04-12T09:30:00+02:00")
	case SubscriptionChanged:
		c.Changes = []Difference{{Path: "/product", Op: "replace", Old: jsontext.Value(`"Nort Bond"`), New: jsontext.Value(`"North Bond"`)}}
	case SubscriptionAgentApproved:
		c.Evidence = &Evidence{By: "issuer_list", AbsentSince: "2026-04-14T10:18:30.000Z", Owner: str("77")}
	case SubscriptionRejected:
		c.Evidence = &Evidence{By: "compliance_status", AbsentSince: "2026-04-14T10:18:30.000Z", Bucket: str("rejected")}
	case SubscriptionUndetermined:
		c.Evidence = &Evidence{By: "deadline", AbsentSince: "2026-04-11T10:18:30.000Z", Bucket: str("released")}
	case SubscriptionComplianceChanged:
		c.Compliance = &Compliance{Bucket: str("waiting"), Previous: str("released"), Modified: str("2026-04-14T12:20:01+02:00")}
	}
	e.Source, e.Channel, e.Key = "concedus", ChannelPoll, key
	e.ID = "concedus:subscription:" + IDPart(key) + ":g7k2.3:" + e.Type.Event() + ":n4q9w2x7y1"
	e.Sequence = "0000000000000003"
	e.Data = c
	e.Restricted = &Restricted{Personal: map[string]string{"contractKey": "N-CONTRACT-0042"}}
	return e
}
