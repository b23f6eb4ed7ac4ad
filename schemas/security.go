package schemas

// The types of what happens to an offering on a ledger.
const (
	OfferingAssigned           Type = "offering.assigned"
	OfferingAssignmentAccepted Type = "offering.assignment_accepted"
	OfferingAssignmentRejected Type = "offering.assignment_rejected"
	OfferingAssignmentRemoved  Type = "offering.assignment_removed"

	OfferingOpened           Type = "offering.opened"
	OfferingPaused           Type = "offering.paused"
	OfferingResumed          Type = "offering.resumed"
	OfferingCompleted        Type = "offering.completed"
	OfferingClosed           Type = "offering.closed"
	OfferingRevertApproved   Type = "offering.revert_approved"
	OfferingRevertedToActive Type = "offering.reverted_to_active"
	OfferingCanceled         Type = "offering.canceled"
	OfferingBusted           Type = "offering.busted"
	OfferingStatusChanged    Type = "offering.status_changed"
)

var securityDefinitions = []Definition{
	{OfferingAssigned, "Our organisation was assigned to an offering, and may accept it.", Security{}},
	{OfferingAssignmentAccepted, "Our organisation's assignment to an offering was accepted.", Security{}},
	{OfferingAssignmentRejected, "Our organisation's assignment to an offering was rejected.", Security{}},
	{OfferingAssignmentRemoved, "Our organisation is not assigned to an offering any more.", Security{}},
	{OfferingOpened, "An offering is open.", Security{}},
	{OfferingPaused, "An offering is paused.", Security{}},
	{OfferingResumed, "An offering goes on after a pause.", Security{}},
	{OfferingCompleted, "An offering is completed.", Security{}},
	{OfferingClosed, "An offering is closed.", Security{}},
	{OfferingRevertApproved, "A completed offering may be taken back to active.", Security{}},
	{OfferingRevertedToActive, "A completed offering is active again.", Security{}},
	{OfferingCanceled, "An offering was canceled.", Security{}},
	{OfferingBusted, "An offering was busted.", Security{}},
	{OfferingStatusChanged, "The status of an offering changed in a way that has no name of its own.", Security{}},
}

// Security is an offering as a ledger has it. Its key is the securityId.
type Security struct {
	Platform       string           `json:"platform" validate:"required" doc:"The platform that keeps the ledger."`
	SecurityID     string           `json:"securityId" validate:"required,max=200" doc:"The offering's id."`
	Name           *string          `json:"name" doc:"The offering's name."`
	SecurityType   *string          `json:"securityType" doc:"The kind of security, in the platform's word."`
	CorrelationIDs *[]CorrelationID `json:"correlationIds" doc:"The ids that organisations gave the offering."`
	NativeStatus   *string          `json:"nativeStatus" doc:"The status, of the offering or of the assignment, in the platform's word."`
	PreviousStatus *string          `json:"previousStatus" doc:"The status that was known before."`
	Restricted     *bool            `json:"nativeRestricted" doc:"Whether the platform restricts what may be done with it."`
	Inferred       []string         `json:"inferred,omitempty" doc:"Which of these fields were found under a name that the platform does not document."`
	Observed
}

// Facets is empty: the id of what was observed has a digest of it.
func (Security) Facets() Facets { return Facets{} }
