// Package schemas is the vocabulary: the events that Postern publishes,
// whatever platform they come from, how they are validated, and how they are
// laid out on the bus (streams, subjects, headers, bodies). It imports nothing
// else of this module, and everything else may import it.
package schemas

import (
	"cmp"
	"slices"
	"strings"
)

// Type names what happened: an entity and an event, "process.succeeded".
type Type string

// The types of Corastone's sequence entries.
const (
	ProcessQueued       Type = "process.queued"
	ProcessInProgress   Type = "process.in_progress"
	ProcessSucceeded    Type = "process.succeeded"
	ProcessFailed       Type = "process.failed"
	ProcessTimedOut     Type = "process.timed_out"
	ProcessReported     Type = "process.reported"
	ProcessDetailsAdded Type = "process.details_added"

	OrchestrationQueued       Type = "orchestration.queued"
	OrchestrationInProgress   Type = "orchestration.in_progress"
	OrchestrationSucceeded    Type = "orchestration.succeeded"
	OrchestrationFailed       Type = "orchestration.failed"
	OrchestrationDeadLettered Type = "orchestration.dead_lettered"
	OrchestrationReported     Type = "orchestration.reported"

	ErrorLogged Type = "error.logged"
	JobReported Type = "job.reported"
)

// The types that tell of a platform's feed itself. They go to POSTERN_OPS.
const (
	PlatformConfirmationRequested Type = "platform.push_confirmation_requested"
	PlatformPushConfirmed         Type = "platform.push_confirmed"
	PlatformPushEnded             Type = "platform.push_ended"
	PlatformConflict              Type = "platform.conflict"
	PlatformSchemaDrift           Type = "platform.schema_drift"
	PlatformPushRejected          Type = "platform.push_rejected"
)

// The types of polled subscriptions and offerings.
const (
	SubscriptionReleased          Type = "subscription.released"
	SubscriptionSubmittedToIssuer Type = "subscription.submitted_to_issuer"
	SubscriptionChanged           Type = "subscription.changed"
	SubscriptionAbsent            Type = "subscription.absent"
	SubscriptionReappeared        Type = "subscription.reappeared"
	SubscriptionAgentApproved     Type = "subscription.agent_approved"
	SubscriptionRejected          Type = "subscription.rejected"
	SubscriptionUndetermined      Type = "subscription.undetermined"
	SubscriptionComplianceChanged Type = "subscription.compliance_changed"

	OfferingBookOpened            Type = "offering.book_opened"
	OfferingBookClosed            Type = "offering.book_closed"
	OfferingHedgeBookOpened       Type = "offering.hedge_book_opened"
	OfferingHedgeBookClosed       Type = "offering.hedge_book_closed"
	OfferingAllocationsReleased   Type = "offering.allocations_released"
	OfferingAllocationsUnreleased Type = "offering.allocations_unreleased"
	OfferingVisibilityChanged     Type = "offering.visibility_changed"

	AccessCreated    Type = "access.created"
	AccessChanged    Type = "access.changed"
	AccessAbsent     Type = "access.absent"
	AccessReappeared Type = "access.reappeared"
	AccessGranted    Type = "access.granted"
	AccessRevoked    Type = "access.revoked"

	InvestorAdded           Type = "investor.added"
	InvestorStatusChanged   Type = "investor.status_changed"
	InvestorKYCChanged      Type = "investor.kyc_changed"
	InvestorQualified       Type = "investor.qualified"
	InvestorDisqualified    Type = "investor.disqualified"
	InvestorWalletChanged   Type = "investor.wallet_changed"
	InvestorIdentityChanged Type = "investor.identity_changed"
	InvestorAbsent          Type = "investor.absent"
	InvestorReappeared      Type = "investor.reappeared"
)

// The types that tell what operators did. Their source is [ReservedSource],
// and they go to POSTERN_OPS too.
const (
	OperatorQuarantineReleased    Type = "operator.quarantine_released"
	OperatorQuarantineDiscarded   Type = "operator.quarantine_discarded"
	OperatorUnsealed              Type = "operator.unsealed"
	OperatorReloaded              Type = "operator.reloaded"
	OperatorKeysRotated           Type = "operator.keys_rotated"
	OperatorSubscriptionConfirmed Type = "operator.subscription_confirmed"
	OperatorBackupMade            Type = "operator.backup_made"
	OperatorPollerRun             Type = "operator.poller_run"
	OperatorPollerPaused          Type = "operator.poller_paused"
	OperatorPollerResumed         Type = "operator.poller_resumed"
	OperatorScanAccepted          Type = "operator.scan_accepted"
	OperatorReconciled            Type = "operator.reconciled"
)

// A Definition says what a type means and what its data looks like.
type Definition struct {
	Type    Type
	Meaning string // one sentence, for the JSON Schema and the catalogue
	Data    Data   // a zero value of the data's type
}

// Or returns a zero value of other data that events of this type can have,
// because platforms know different things of the same; nil if there is none.
func (d Definition) Or() Data {
	if d.Type == SubscriptionRejected {
		return Asset{}
	}
	return nil
}

// definitions lists every type. Within version 1 of a type, fields are only
// added.
var definitions = slices.Concat(entryDefinitions, contractDefinitions, feedDefinitions, pollDefinitions, operatorDefinitions, investorDefinitions, assetDefinitions, securityDefinitions, failureDefinitions, offeringFlagDefinitions, accessDefinitions)

var entryDefinitions = []Definition{
	{ProcessQueued, "A transaction waits to be executed.", Process{}},
	{ProcessInProgress, "A transaction is being executed.", Process{}},
	{ProcessSucceeded, "A transaction succeeded.", Process{}},
	{ProcessFailed, "A transaction failed.", Process{}},
	{ProcessTimedOut, "A transaction timed out.", Process{}},
	{ProcessReported, "A transaction has a status that the vocabulary has no word for.", Process{}},
	{ProcessDetailsAdded, "A later telling of a transaction said more than the first.", Process{}},
	{OrchestrationQueued, "A sequence of transactions waits to be executed.", Orchestration{}},
	{OrchestrationInProgress, "A sequence of transactions is being executed.", Orchestration{}},
	{OrchestrationSucceeded, "All transactions of a sequence succeeded.", Orchestration{}},
	{OrchestrationFailed, "A transaction of a sequence failed, and with it those behind it.", Orchestration{}},
	{OrchestrationDeadLettered, "A sequence of transactions was given up by the platform.", Orchestration{}},
	{OrchestrationReported, "A sequence of transactions has a status that the vocabulary has no word for.", Orchestration{}},
	{ErrorLogged, "An action failed and the platform logged an error.", LoggedError{}},
	{JobReported, "The platform performed a task.", Job{}},
}

var feedDefinitions = []Definition{
	{PlatformConfirmationRequested, "A push subscription waits to be confirmed.", Subscription{}},
	{PlatformPushConfirmed, "A push subscription that waited was confirmed.", Subscription{}},
	{PlatformPushEnded, "A push subscription was ended by somebody.", Subscription{}},
	{PlatformConflict, "Two tellings of one fact disagree; the later one is in quarantine.", Conflict{}},
	{PlatformSchemaDrift, "A platform used a field or value that the vocabulary doesn't know.", Drift{}},
	{PlatformPushRejected, "Pushes were refused though their caller's address is allowed; told once for each reason and hour.", Rejection{}},
}

var operatorDefinitions = []Definition{
	{OperatorQuarantineReleased, "An operator had a delivery in quarantine translated again.", Action{}},
	{OperatorQuarantineDiscarded, "An operator deleted a delivery from quarantine.", Action{}},
	{OperatorUnsealed, "An operator opened something that is sealed.", Action{}},
	{OperatorReloaded, "An operator had the configuration read again.", Action{}},
	{OperatorKeysRotated, "An operator rotated the seal keys.", Action{}},
	{OperatorSubscriptionConfirmed, "An operator confirmed a push subscription.", Action{}},
	{OperatorBackupMade, "An operator made a backup.", Action{}},
	{OperatorPollerRun, "An operator had a poller scan at once.", Action{}},
	{OperatorPollerPaused, "An operator paused a poller.", Action{}},
	{OperatorPollerResumed, "An operator resumed a poller.", Action{}},
	{OperatorScanAccepted, "An operator believed a suspect scan.", Action{}},
	{OperatorReconciled, "An operator had a platform and the bus compared.", Action{}},
}

var byType = func() map[Type]Definition {
	m := make(map[Type]Definition, len(definitions))
	for _, d := range definitions {
		m[d.Type] = d
	}
	return m
}()

// Definitions returns every type that can be published, sorted by name.
func Definitions() []Definition {
	return slices.SortedFunc(slices.Values(definitions), func(a, b Definition) int {
		return cmp.Compare(a.Type, b.Type)
	})
}

// Known reports whether t is part of the vocabulary.
func (t Type) Known() bool {
	_, ok := byType[t]
	return ok
}

// Entity returns the part before the dot: "process".
func (t Type) Entity() string {
	entity, _, _ := strings.Cut(string(t), ".")
	return entity
}

// Event returns the part after the dot: "succeeded".
func (t Type) Event() string {
	_, event, _ := strings.Cut(string(t), ".")
	return event
}

// Versioned returns the type with its version: "process.succeeded.v1".
func (t Type) Versioned() string { return string(t) + ".v1" }

// Stream returns the stream that keeps events of this type.
func (t Type) Stream() Stream {
	switch t.Entity() {
	case "platform", "operator":
		return StreamOps
	}
	return StreamEvents
}
