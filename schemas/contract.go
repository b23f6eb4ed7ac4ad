package schemas

// contractDefinitions are the types of contracts that a platform shows in
// lists of what is open, and nowhere else.
var contractDefinitions = []Definition{
	{SubscriptionReleased, "A contract entered the agent's list: the platform released it finally, and it is legally binding.", Contract{}},
	{SubscriptionSubmittedToIssuer, "A contract entered an issuer's list.", Contract{}},
	{SubscriptionChanged, "A contract on a list is different from what it was.", Contract{}},
	{SubscriptionAbsent, "A contract left a list; why is not known yet.", Contract{}},
	{SubscriptionReappeared, "A contract that had left a list is on it again.", Contract{}},
	{SubscriptionAgentApproved, "A contract left the agent's list because the agent approved it: an issuer's list shows it.", Contract{}},
	{SubscriptionRejected, "A subscription was rejected.", Contract{}},
	{SubscriptionUndetermined, "A contract left a list, and it could not be found out why.", Contract{}},
	{SubscriptionComplianceChanged, "The compliance status of a contract is in another bucket than before.", Contract{}},
}

// Contract is a subscription as a list of open contracts shows it. Its key is
// that of an entry of a list: the list, and a pseudonym of the contract's key.
type Contract struct {
	Platform string `json:"platform" validate:"required" doc:"The platform that keeps the list."`
	Observed
	ContractKey  *string       `json:"contractKey" validate:"omitempty,max=200" doc:"A pseudonym of the contract's key, the same on all lists; the key itself is on the twin, because it may name a person."`
	List         *string       `json:"list" doc:"Whose list it is: agent or issuer."`
	Owner        *string       `json:"owner" doc:"Whose products an issuer's list is about; null for the agent's."`
	NativeStatus *string       `json:"nativeStatus" doc:"The status, in the platform's word; null where lists show none."`
	Product      *string       `json:"product" doc:"The name of the product."`
	Amount       *Money        `json:"amount" doc:"The nominal amount, without the fee."`
	FrontEndFee  *Money        `json:"frontEndFee" doc:"The fee on top of it."`
	Signed       *string       `json:"signed" doc:"When it was signed: a date at the place of signing, or RFC 3339."`
	Created      *string       `json:"created" doc:"When it was created: RFC 3339."`
	Updated      *string       `json:"updated" doc:"When the platform updated it last: RFC 3339."`
	NativeType   *string       `json:"nativeType" doc:"The kind of contract, in the platform's word."`
	Derived      *ContractType `json:"derived" doc:"What the kind seems to say; null when it is not of the usual form."`

	AsSaid           map[string]string `json:"asSaid,omitempty" doc:"Times of other fields that are not RFC 3339, as the platform said them."`
	ZoneAssumed      []string          `json:"zoneAssumed,omitempty" doc:"Fields whose time came without a zone, for which Europe/Berlin is assumed."`
	EncodingRepaired bool              `json:"encodingRepaired,omitzero" doc:"True when the platform's text was not UTF-8 and was read as Windows-1252; else absent."`

	Changes    []Difference `json:"changes,omitempty" doc:"What is different; personal values are on the twin only."`
	Regressed  bool         `json:"regressed,omitzero" doc:"True when updated went back; else absent."`
	Compliance *Compliance  `json:"compliance,omitempty" doc:"The compliance status; only in compliance_changed."`
	Evidence   *Evidence    `json:"evidence,omitempty" doc:"What an outcome was concluded from; only in agent_approved, rejected and undetermined."`
}

// Facets is empty: the id of what was observed has a digest of it.
func (Contract) Facets() Facets { return Facets{} }

// ContractType is what the kind of a contract seems to say.
type ContractType struct {
	InvestorClass string `json:"investorClass" doc:"The class of the investor: professional or retail."`
	Market        string `json:"market" doc:"The market: primary or secondary."`
	Stage         int    `json:"stage" doc:"How far it is; grows from list to list."`
	Inferred      bool   `json:"inferred" doc:"Always true: the platform does not document it."`
}

// Compliance is a compliance status, without what only few may know of it.
type Compliance struct {
	Bucket   *string `json:"bucket" doc:"The group of its status: released, waiting, rejected, inquiry, payment, dunning, cancellation, data_change, or other; null without a record. The code is on the twin."`
	Previous *string `json:"previous" doc:"The bucket that it was in; null when there was no record."`
	Modified *string `json:"modified" doc:"When the platform changed it: RFC 3339."`
}

// Evidence is what the outcome of an absence was concluded from.
type Evidence struct {
	By          string  `json:"by" validate:"required" doc:"What told: issuer_list, compliance_status, or deadline when nothing did."`
	AbsentSince string  `json:"absentSince" doc:"Since when it is known to be absent: RFC 3339."`
	Owner       *string `json:"owner" doc:"Whose list showed it; null unless an issuer's did."`
	Bucket      *string `json:"bucket" doc:"The bucket of the compliance status that was read last; null when none was read or there is no record."`
}
