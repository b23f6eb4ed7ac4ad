package schemas

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// exampleAsset fills in what a step of a subscription looks like.
func exampleAsset(e *Event) {
	str := func(s string) *string { return &s }
	block := int64(733)
	a := Asset{
		Platform: "corastone", AssetID: "NORTHA1B2C3D", SecurityID: str("NORTHS9X8I00"), ShareClassID: str("NORTHS9X8I01"),
		CorrelationIDs: &[]CorrelationID{{CorrelationID: "SUB-2026-118", OrgID: str("ORG7")}},
		NativeEvent:    str("Issued"), NativeStatus: str("issued"), PreviousStatus: str("settled"),
		Amount: &Money{"250000.00", "USD"}, Units: str("2500"), Price: &Money{"100.00", "USD"}, IssueDate: str("2026-04-14"),
		Ledger:   &Ledger{Channel: "northg2", Block: &block, TransactionID: "beefcafe12345678"},
		Inferred: []string{"amount", "issueDate", "price", "units"},
	}
	e.ID, e.Key = "corastone:asset:northg2:beefcafe12345678:northa1b2c3d:"+e.Type.Event(), a.AssetID
	e.Sequence, e.CausationID = "northg2:0000000000000733", "corastone:process:5b7e1c34-90aa-4c1e-8f57-6d2b9e0c4a18:success"
	e.Channel = ChannelPoll
	switch e.Type {
	case SubscriptionRemediationRequested, SubscriptionRemediationReasonsAdded:
		a.NativeEvent, a.NativeStatus, a.PreviousStatus = str("RemediationRequested"), str("remediation_pending"), str("created")
		a.Reasons = &RemediationReasons{{Category: "EC003", Label: str("Subscription documents"), Documents: []RemediationDocument{{FileID: str("FILE77N03I12"), Pages: []int64{2, 5}}}}}
		e.Restricted = &Restricted{Native: jsontext.Value(`{"reason":[{"category":"EC003","message":"page 2 is not signed"}]}`)}
	case SubscriptionStatusChanged:
		a.NativeEvent, a.Ledger, e.Sequence, e.CausationID = nil, nil, "", ""
		a.Revision, a.ChangedBetween = 4, []string{"2026-04-14T04:20:00.000Z", "2026-04-14T10:20:30.400Z"}
		e.ID = fmt.Sprintf("corastone:subscription:%s:k3f9.4:status_changed:Zk3qv0m8W1yT5uXr2pLdNa", IDPart(a.AssetID))
	}
	e.Data = a
}

// exampleSecurity fills in what a change of an offering looks like.
func exampleSecurity(e *Event) {
	str := func(s string) *string { return &s }
	e.Key = "NORTHS9X8I00"
	e.ID = "corastone:offering:norths9x8i00:k3f9.7:" + e.Type.Event() + ":Zk3qv0m8W1yT5uXr2pLdNa"
	e.Channel, e.Sequence = ChannelPoll, "0000000000000007"
	e.Data = Security{
		Platform: "corastone", SecurityID: e.Key, Name: str("North Growth II"), SecurityType: str("lpUnits"),
		CorrelationIDs: &[]CorrelationID{{CorrelationID: "FUND-12", OrgID: str("ORG7")}},
		NativeStatus:   str("active"), PreviousStatus: str("paused"),
		Observed: Observed{Revision: 7, ChangedBetween: []string{"2026-04-14T04:20:00.000Z", "2026-04-14T10:20:30.400Z"}},
	}
}

// exampleFailure fills in what an explained failure looks like.
func exampleFailure(e *Event) {
	str := func(s string) *string { return &s }
	again := true
	codes := []ErrorCode{{
		Code: "OG0013", Family: str("organization"),
		Message:   str("Organization '{orgId}' is locked for edit by another process. Please try again later."),
		Retryable: &again,
	}}
	e.Channel = ChannelPoll
	if e.Type == ProcessFailureExplained {
		e.Key = "5b7e1c34-90aa-4c1e-8f57-6d2b9e0c4a18"
		e.ID, e.CausationID = "corastone:process:"+e.Key+":failed:explained", "corastone:process:"+e.Key+":failed"
		e.Data = Failure{Platform: "corastone", ProcessID: e.Key, NativeStatus: str("failed"), ErrorIDs: []string{"err-88"}, Codes: codes}
		return
	}
	e.ID, e.Key = "corastone:error:err-88:detailed", "err-88"
	e.CausationID = "corastone:error:err-88"
	e.Data = ErrorDetails{
		Platform: "corastone", ErrorID: e.Key, Action: &ErrorAction{ID: str("SB004"), Name: str("Confirm Subscription")},
		TrackingID: str("orc-2026-0007"), Codes: codes, Affects: map[string][]string{"securityIds": {"NORTHS9X8I00"}},
	}
}
