package schemas

// offeringFlagDefinitions are the types of offerings that a flag of theirs
// leads to.
var offeringFlagDefinitions = []Definition{
	{OfferingBookOpened, "The book of an offering is open.", OfferingFlags{}},
	{OfferingBookClosed, "The book of an offering is closed.", OfferingFlags{}},
	{OfferingHedgeBookOpened, "The hedge book of an offering is open.", OfferingFlags{}},
	{OfferingHedgeBookClosed, "The hedge book of an offering is closed.", OfferingFlags{}},
	{OfferingAllocationsReleased, "The allocations of an offering are released.", OfferingFlags{}},
	{OfferingAllocationsUnreleased, "The allocations of an offering are not released any more.", OfferingFlags{}},
	{OfferingVisibilityChanged, "Others see more or less of an offering.", OfferingFlags{}},
}

var accessDefinitions = []Definition{
	{AccessCreated, "Access controls were seen for the first time.", Access{}},
	{AccessChanged, "Access controls changed.", Access{}},
	{AccessAbsent, "Access controls can't be read any more: they are gone, or not for us.", Access{}},
	{AccessReappeared, "Access controls can be read again.", Access{}},
	{AccessGranted, "A firm granted another one access.", Grant{}},
	{AccessRevoked, "A firm's access, granted by another one, was revoked.", Grant{}},
}

// OfferingFlags is the data of events about what is on or off of an offering.
// Its key is the id of the offering's tranche.
type OfferingFlags struct {
	Observed
	Platform       string       `json:"platform" validate:"required" doc:"The platform that manages it."`
	TrancheID      string       `json:"trancheId" validate:"required,max=200" doc:"The tranche's id."`
	SourceID       *string      `json:"sourceId" doc:"The id that the tranche has in the system that it came from."`
	API            string       `json:"api" validate:"required" doc:"Which of the platform's documents said it: v1 or v2."`
	Shared         bool         `json:"shared,omitzero" doc:"True when it is shared data; else absent."`
	NativeType     string       `json:"nativeType" validate:"required" doc:"The flag, in the platform's word; visibility when there may be several."`
	NativeStatus   *string      `json:"nativeStatus" doc:"What the flag is: true or false. Null with visibility."`
	PreviousStatus *string      `json:"previousStatus" doc:"What the flag was; null when it was not seen before."`
	Changes        []Difference `json:"changes,omitempty" doc:"Which flags of visibility changed: tranche, allocations, allocationsToInvestor."`
	ModifiedAt     *string      `json:"modifiedAt" doc:"When the document was modified last, as the platform said it."`
	ModifiedBy     *string      `json:"modifiedBy" doc:"Pseudonym of who modified the document last."`
}

// Facets is empty: what is polled is told once.
func (OfferingFlags) Facets() Facets { return Facets{} }

// Access is the data of events about the access controls of a tranche or a
// deal. Its key is tranche-v1-, tranche-v2- or deal-v2- and the id.
type Access struct {
	Observed
	Platform         string       `json:"platform" validate:"required" doc:"The platform that manages it."`
	API              string       `json:"api" validate:"required" doc:"Which of the platform's documents it is: v1 or v2."`
	View             *string      `json:"view" doc:"Which view of the document it is: user, where permissions are booleans, or full, where they are rules. Null with v1."`
	Shared           bool         `json:"shared,omitzero" doc:"True when it is shared data; else absent."`
	TrancheID        *string      `json:"trancheId" doc:"The tranche's id; null with a deal."`
	DealID           *string      `json:"dealId" doc:"The deal's id; null with a tranche."`
	SourceID         *string      `json:"sourceId" doc:"The id that it has in the system that it came from."`
	FirmID           *string      `json:"firmId" doc:"The firm that it belongs to."`
	NativeStatus     *string      `json:"nativeStatus" doc:"Always null: documents have no status."`
	RowVersionFrom   *int64       `json:"rowVersionFrom" doc:"The document's version as it was seen before. Null when it has none, or was not seen."`
	RowVersionTo     *int64       `json:"rowVersionTo" doc:"The document's version."`
	VersionRegressed bool         `json:"versionRegressed,omitzero" doc:"True when the version went back: it was restored, or made anew. Else absent."`
	HTTPStatus       *int64       `json:"httpStatus,omitempty" doc:"What the platform answers instead of the document; only in access.absent."`
	CreatedAt        *string      `json:"createdAt" doc:"When the document was created, as the platform said it."`
	CreatedBy        *string      `json:"createdBy" doc:"Pseudonym of who created it."`
	ModifiedAt       *string      `json:"modifiedAt" doc:"When the document was modified last, as the platform said it."`
	ModifiedBy       *string      `json:"modifiedBy" doc:"Pseudonym of who modified it last."`
	TimeZoneAssumed  bool         `json:"timeZoneAssumed,omitzero" doc:"True when the platform said a time without its zone, which is taken for UTC; else absent."`
	Changes          []Difference `json:"changes,omitempty" doc:"What is different in the document. Sets of rules differ as a whole; users are pseudonyms. In access.created it is the document as a whole."`
	ChangesTruncated bool         `json:"changesTruncated,omitzero" doc:"True when there are more or larger differences than are told; else absent."`
}

// Facets is empty: what is polled is told once.
func (Access) Facets() Facets { return Facets{} }

// Grant is the data of events about access that a firm grants another one. Its
// key is made of the ids of tranche and firms and the kind of access.
type Grant struct {
	Observed
	Platform     string  `json:"platform" validate:"required" doc:"The platform that manages it."`
	TrancheID    string  `json:"trancheId" validate:"required,max=200" doc:"The tranche's id."`
	ByFirmID     string  `json:"byFirmId" validate:"required,max=200" doc:"The firm that granted it."`
	ToFirmID     string  `json:"toFirmId" validate:"required,max=200" doc:"The firm that it was granted to."`
	AccessType   string  `json:"accessType" validate:"required,max=200" doc:"What was granted, in the platform's word: indication.view and others."`
	Shared       bool    `json:"shared,omitzero" doc:"True when it is shared data; else absent."`
	NativeStatus *string `json:"nativeStatus" doc:"Always null: grants have no status, they are there or not."`
}

// Facets is empty: what is polled is told once.
func (Grant) Facets() Facets { return Facets{} }
