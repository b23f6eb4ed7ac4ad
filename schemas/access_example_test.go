package schemas

import "github.com/go-json-experiment/json/jsontext"

// accessExample completes the example of a type of Access Controls.
func accessExample(d Definition, e Event) Event {
	const tranche = "3f0c5a52-7c1e-4f0b-9d55-0c8b1f6e2a77"
	str := func(s string) *string { return &s }
	num := func(n int64) *int64 { return &n }
	e.Source, e.Channel, e.Sequence = "cas", ChannelPoll, "0000000000000004"
	seen := Observed{Revision: 4, ChangedBetween: []string{"2026-04-14T10:19:30.100Z", "2026-04-14T10:20:30.400Z"}}
	user := "q7Zt0cV1yB3mN5xK8sL2dA"
	switch d.Data.(type) {
	case OfferingFlags:
		f := OfferingFlags{
			Observed: seen, Platform: "accesscontrols", TrancheID: tranche, API: "v1",
			ModifiedAt: str("2026-04-14T10:20:02.5310000+00:00"), ModifiedBy: &user,
		}
		on := func(name, now, was string) { f.NativeType, f.NativeStatus, f.PreviousStatus = name, &now, &was }
		switch d.Type {
		case OfferingBookOpened:
			on("bookOpen", "true", "false")
		case OfferingBookClosed:
			on("bookOpen", "false", "true")
		case OfferingHedgeBookOpened:
			on("hedgeBookOpen", "true", "false")
		case OfferingHedgeBookClosed:
			on("hedgeBookOpen", "false", "true")
		case OfferingAllocationsReleased:
			on("allocationsReleased", "true", "false")
		case OfferingAllocationsUnreleased:
			on("allocationsReleased", "false", "true")
		default:
			f.NativeType = "visibility"
			f.Changes = []Difference{{Path: "/allocations", Op: "replace", Old: jsontext.Value("false"), New: jsontext.Value("true")}}
		}
		e.Key, e.Data = tranche, f
	case Access:
		a := Access{
			Observed: seen, Platform: "accesscontrols", API: "v2", View: str("full"), TrancheID: str(tranche), FirmID: str("4821"),
			RowVersionFrom: num(11), RowVersionTo: num(12), CreatedAt: str("2026-04-01T08:00:00+00:00"), CreatedBy: &user,
			ModifiedAt: str("2026-04-14T10:20:02.5310000+00:00"), ModifiedBy: &user,
		}
		switch d.Type {
		case AccessCreated:
			a.RowVersionFrom, a.RowVersionTo = nil, num(1)
			a.Changes = []Difference{{Op: "add", New: jsontext.Value(`{"view":[{"action":"Default","roles":["sales"]}]}`)}}
		case AccessAbsent:
			a.RowVersionFrom, a.RowVersionTo, a.HTTPStatus = num(12), nil, num(403)
		default:
			a.Changes = []Difference{{
				Path: "/indication/add", Op: "replace",
				Old: jsontext.Value(`[{"action":"Default","roles":["sales"]}]`),
				New: jsontext.Value(`[{"action":"Default","roles":["sales","syndicate"]}]`),
			}}
		}
		e.Key, e.Data = "tranche-v2-"+tranche, a
	case Grant:
		e.Key = tranche + "-4821-733-indication-view"
		e.Data = Grant{
			Observed: seen, Platform: "accesscontrols", TrancheID: tranche,
			ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view",
		}
	}
	e.ID = "cas:" + d.Type.Entity() + ":" + e.Key + ":m1x7qz.4:" + d.Type.Event() + ":b2R5cWx0V2k3ZkpYbTlOdQ"
	return e
}
