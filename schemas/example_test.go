package schemas

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// exampleEvent is the event that a type's JSON Schema shows. Its values are
// made up.
func exampleEvent(t *testing.T, d Definition) Event {
	t.Helper()
	const process = "5b7e1c34-90aa-4c1e-8f57-6d2b9e0c4a18"
	str := func(s string) *string { return &s }
	block := int64(731)
	e := Event{
		Source:     "corastone",
		Type:       d.Type,
		Time:       "2026-04-14T10:20:30.400Z",
		Recorded:   time.Date(2026, 4, 14, 10, 20, 31, 25e6, time.UTC),
		DeliveryID: "9f2c4e6a8b0d1f3355779911bbddeeff",
		Channel:    ChannelPush,
	}
	switch d.Data.(type) {
	case Process:
		p := Process{
			Platform: "corastone", ProcessID: process, Method: "confirmSubscription", NativeType: "lifecycle",
			NativeStatus: natively(d.Type), OrgID: str("ORG7"),
			Ledger:  &Ledger{Channel: "northg2", Block: &block, TransactionID: "c0ffee1234567890"},
			Affects: map[string][]string{"assetIds": {"NORTHA1B2C3D"}},
		}
		e.ID, e.Key = "corastone:process:"+process+":"+IDPart(p.NativeStatus), process
		e.Sequence = "northg2:0000000000000731"
		switch d.Type {
		case ProcessDetailsAdded:
			p.OrchestrationID = str("orc-2026-0007")
			p.Added = []string{"orchestrationId"}
			e.ID += ":details"
			e.CorrelationID = *p.OrchestrationID
		case ProcessReported:
			e.Unknown = true
		}
		e.Data = p
	case Orchestration:
		o := Orchestration{
			Platform: "corastone", OrchestrationID: "orc-2026-0007", NativeStatus: natively(d.Type),
			StartDate: str("2026-04-14T10:20:00.000Z"), ProcessIDs: []string{process},
		}
		e.ID, e.Key = "corastone:orchestration:orc-2026-0007:"+IDPart(o.NativeStatus), o.OrchestrationID
		e.CorrelationID = o.OrchestrationID
		e.Unknown = d.Type == OrchestrationReported
		e.Data = o
	case LoggedError:
		e.ID, e.Key = "corastone:error:err-88", "err-88"
		e.Data = LoggedError{Platform: "corastone", ErrorID: "err-88", Action: &ErrorAction{
			ID: str("SB004"), Name: str("Confirm Subscription"), Method: str("POST"), Path: str("/v1/subscriptions/confirm"),
		}}
	case Job:
		e.ID, e.Key = "corastone:job:"+Token(""), Token("")
		e.Data = Job{Platform: "corastone"}
		e.Restricted = &Restricted{Native: jsontext.Value(`{"job":"nightly"}`)}
	case Subscription:
		s := Subscription{Platform: "corastone", Topic: "arn:aws:sns:eu-central-1:000000000000:north"}
		if d.Type == PlatformConfirmationRequested {
			s.Deadline = str("2026-04-17T10:20:30.400Z")
		}
		fact := "corastone:platform:" + IDPart(s.Topic) + ":8d3f-0001:"
		if d.Type == PlatformPushConfirmed {
			e.DeliveryID, e.Channel, e.CausationID = "", "", fact+PlatformConfirmationRequested.Event()
		}
		e.ID = fact + d.Type.Event()
		e.Key = s.Topic
		e.Data = s
	case Conflict:
		told := "corastone:process:" + process + ":success"
		e.ID, e.Key = "corastone:platform:conflict:"+e.DeliveryID, e.Source
		e.Data = Conflict{Platform: "corastone", Event: &told, Fields: []string{"method"}}
	case Drift:
		e.ID, e.Key = "corastone:platform:schema_drift:"+Token("transaction.status\x00parked")[1:], e.Source
		e.Data = Drift{Platform: "corastone", Path: "transaction.status", Value: str("parked")}
	case Rejection:
		e.DeliveryID, e.Channel = "", ""
		e.ID, e.Key = "corastone:platform:push_rejected:signature:2026-04-14t10", e.Source
		e.Data = Rejection{Platform: "corastone", Reason: "signature", Count: 3}
	case Contract:
		e = exampleContract(e)
	case Action:
		a := Action{Actor: "alice"}
		switch d.Type {
		case OperatorQuarantineReleased:
			a.Outcome = str("told")
			fallthrough
		case OperatorQuarantineDiscarded:
			a.Target = str("9f2c4e6a8b0d1f3355779911bbddeeff")
		case OperatorUnsealed:
			a.Target = str("POSTERN_REJECTED/42")
		case OperatorSubscriptionConfirmed, OperatorReconciled:
			a.Target = str("corastone")
		case OperatorPollerRun, OperatorPollerPaused, OperatorPollerResumed, OperatorScanAccepted:
			a.Target = str("concedus/agent-list")
		}
		e = OperatorAction(d.Type, "VPXMDJIMVZTMYSV5Y3XO2QJ3JI", e.Recorded, a)
	case Investor:
		exampleInvestor(&e)
	case Asset:
		exampleAsset(&e)
	case Security:
		exampleSecurity(&e)
	case Failure, ErrorDetails:
		exampleFailure(&e)
	case OfferingFlags, Access, Grant:
		e = accessExample(d, e)
	case PollFailure, PollRecovery, AuthFailure, ScanSuspicion, FollowUpRequest, Repair:
		e = pollExample(d, e)
	default:
		t.Fatalf("%s: its JSON Schema needs an example", d.Type)
	}
	if err := e.Validate(); err != nil {
		t.Fatalf("%s: example: %v", d.Type, err)
	}
	return e
}

// natively is the word that a platform may have for a type's status.
func natively(t Type) string {
	switch t {
	case ProcessSucceeded, ProcessDetailsAdded, OrchestrationSucceeded:
		return "success"
	case ProcessReported, OrchestrationReported:
		return "parked"
	case OrchestrationDeadLettered:
		return "dlq"
	}
	return t.Event()
}
