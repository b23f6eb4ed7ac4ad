package corastone

// Transition is an arrow of one of Corastone's state machines: what an action
// of the platform does to a subscription, an offering or an assignment.
type Transition struct {
	// Action is what the Integration API guide calls it.
	Action string
	// When is what kind of offering it is for, "" for any.
	When string
	// From are the statuses that it starts from. None: what it is about comes
	// into being.
	From []string
	// To is the status that it leads to: "" if the status stays,
	// [StatusBefore] if it is the one before.
	To string
	// Event is what the history calls it. The guide lists events of assets
	// only.
	Event string
	// Offering are the statuses that a subscription's offering must have.
	// None: any.
	Offering []string
	// Restricted says that it is for restricted offerings too: others are
	// refused with IS0013.
	Restricted bool
	// Refused is the documented code of the error when the status is none of
	// From.
	Refused string
	// Inferred says that the guide gives the action and where it starts from,
	// but not literally what status or event it leads to.
	Inferred bool
}

// StatusBefore as a target is the status that a subscription had before the
// one it has.
const StatusBefore = "status before"

// The kinds of offerings that go another way at some point.
const (
	// WhenIssuedDirectly are those whose units are issued by the settlement,
	// without a close: money market funds and those with a static price.
	WhenIssuedDirectly = "issued directly"
	// WhenDrawdown are those that call capital: commitments are accepted, and
	// a close issues them without a settlement.
	WhenDrawdown = "drawdown"
)

// AssetTransitions returns the state machine of subscriptions, which the
// platform calls digital assets. Its source are the conditions that the
// endpoints of the Integration API guide give (Primary sales: "can be invoked
// if the asset is in …"), its Get Asset Details and Get Asset History for the
// words, and the asset manager's guide for what is disposed of and what
// returns to the list of incoming subscriptions. Of several transitions of an
// action, the first that fits the offering's kind counts.
func AssetTransitions() []Transition {
	open := []string{"created", "remediation_pending", "remediated", "modified"}
	recallable := []string{"created", "remediation_pending", "remediated", "modified", "confirmed"}
	wired := []string{"confirmed", "settlement_confirmation_pending"}
	held := []string{"created", "remediation_pending", "remediated", "modified", "confirmed", "settlement_confirmation_pending", "settled", "recalled"}
	active, selling, closing := []string{"active"}, []string{"active", "paused"}, []string{"active", "paused", "completed"}
	return []Transition{
		{Action: "Create Asset", To: "created", Event: "Created", Offering: active},
		{Action: "Modify Asset", From: []string{"created", "remediated", "modified"}, To: "modified", Event: "Modified", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Review Asset", From: open, Event: "ReviewStatusUpdated", Offering: selling, Refused: "AS0005"},
		{Action: "Mark Accepted", When: WhenDrawdown, From: open, To: "confirmed", Event: "CommitmentAccepted", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Mark Accepted", From: open, To: "confirmed", Event: "Confirmed", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Reject", From: open, To: "disposed", Event: "Rejected", Offering: selling, Refused: "AS0005"},
		{Action: "Request Remediation", From: []string{"created", "remediated", "modified"}, To: "remediation_pending", Event: "RemediationRequested", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Remediate", From: []string{"remediation_pending"}, To: "remediated", Event: "Remediated", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Recall", From: recallable, To: "recalled", Event: "Recalled", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Accept Recall", From: []string{"recalled"}, To: "disposed", Event: "RecallAccepted", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Reject Recall", From: []string{"recalled"}, To: StatusBefore, Event: "RecallRejected", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Mark Wired", From: []string{"confirmed"}, To: "settlement_confirmation_pending", Event: "Wired", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Decline", From: wired, To: "disposed", Event: "Declined", Offering: selling, Refused: "AS0005"},
		{Action: "Mark Settled", When: WhenIssuedDirectly, From: wired, To: "issued", Event: "Issued", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Mark Settled", From: wired, To: "settled", Event: "Settled", Offering: selling, Refused: "AS0005", Inferred: true},
		{Action: "Run Close", When: WhenDrawdown, From: []string{"confirmed"}, To: "issued", Event: "Issued", Offering: closing, Refused: "AS0005", Inferred: true},
		{Action: "Run Close", From: []string{"settled"}, To: "issued", Event: "Issued", Offering: closing, Refused: "AS0005", Inferred: true},
		{Action: "Cancel Offering", From: held, To: "canceled", Event: "Canceled", Restricted: true, Refused: "AS0005", Inferred: true},
		{Action: "Refund", From: []string{"canceled"}, To: "refunded", Event: "Refunded", Restricted: true, Refused: "AS0005", Inferred: true},
		{Action: "Bust", From: append(held, "issued"), To: "busted", Event: "Busted", Restricted: true, Refused: "AS0005", Inferred: true},
	}
}

// SecurityTransitions returns the state machine of offerings, which the
// platform calls securities or issuances. Its source are the conditions of the
// guide's endpoints under security-admin, and the statuses that Get Security
// Details filters by. A canceled offering never comes back.
func SecurityTransitions() []Transition {
	return []Transition{
		{Action: "Create", To: "preSync", Inferred: true},
		{Action: "Launch", From: []string{"preSync"}, To: "active", Refused: "IS0012", Inferred: true},
		{Action: "Pause", From: []string{"active"}, To: "paused", Refused: "IS0012"},
		{Action: "Unpause", From: []string{"paused"}, To: "active", Refused: "IS0012"},
		{Action: "Complete", From: []string{"active", "paused"}, To: "completed", Refused: "IS0012"},
		{Action: "Approve Revert Completed To Active", From: []string{"completed"}, To: "approved_revert_to_active", Refused: "IS0012"},
		{Action: "Revert Completed To Active", From: []string{"approved_revert_to_active"}, To: "active", Refused: "IS0012"},
		{Action: "Close", From: []string{"completed"}, To: "closed", Refused: "IS0012", Inferred: true},
		{Action: "Cancel Offering", From: []string{"active", "completed"}, To: "cancel_in_progress", Restricted: true, Refused: "IS0012"},
		{Action: "Finish Cancel", From: []string{"cancel_in_progress"}, To: "canceled", Restricted: true, Refused: "IS0012", Inferred: true},
		{Action: "Refund", From: []string{"canceled"}, To: "refund_in_progress", Restricted: true, Refused: "IS0012", Inferred: true},
		{Action: "Finish Refund", From: []string{"refund_in_progress"}, To: "canceled", Restricted: true, Refused: "IS0012", Inferred: true},
		{Action: "Bust", From: []string{"active", "paused", "completed", "closed"}, To: "bust_in_progress", Restricted: true, Refused: "IS0012", Inferred: true},
		{Action: "Finish Bust", From: []string{"bust_in_progress"}, To: "busted", Restricted: true, Refused: "IS0012", Inferred: true},
	}
}

// AssignmentTransitions returns the state machine of an investing
// organisation's place on an offering's exclusivity list. Its source are the
// statuses of the guide's Get Assigned Investing Orgs, which say what each is
// eligible for.
func AssignmentTransitions() []Transition {
	return []Transition{
		{Action: "Add", From: []string{"", "inactive"}, To: "assigned", Refused: "EX0006", Inferred: true},
		{Action: "Accept Fund Assignment", From: []string{"assigned", "rejected"}, To: "accepted", Refused: "EX0001"},
		{Action: "Reject Fund Assignment", From: []string{"assigned", "accepted"}, To: "rejected", Refused: "EX0001"},
		{Action: "Remove", From: []string{"assigned", "accepted", "rejected"}, To: "inactive", Refused: "EX0001"},
	}
}
