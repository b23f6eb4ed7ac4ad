package schemas

var investorDefinitions = []Definition{
	{InvestorAdded, "An investor is among the candidates of a token.", Investor{}},
	{InvestorStatusChanged, "The platform has another status for an investor, or another section of the onboarding that they are in.", Investor{}},
	{InvestorKYCChanged, "The status of an investor's KYC changed, or who performs it.", Investor{}},
	{InvestorQualified, "An investor is qualified to hold a token.", Investor{}},
	{InvestorDisqualified, "An investor is not qualified to hold a token any more.", Investor{}},
	{InvestorWalletChanged, "An investor has another wallet, or another provider of it.", Investor{}},
	{InvestorIdentityChanged, "Who an investor is changed: name, mail address, type, country or time of creation.", Investor{}},
	{InvestorAbsent, "An investor is not listed any more; why is not known.", Investor{}},
	{InvestorReappeared, "An investor that was absent is listed again.", Investor{}},
}

// Investor is somebody who wants to hold a token, or does, as far as it is no
// personal data: personal values are pseudonyms, or not there at all. Its key
// is the id of the token, a hyphen and the id of the candidate.
type Investor struct {
	Platform    string `json:"platform" validate:"required" doc:"The platform that the token is on."`
	TokenID     string `json:"tokenId" validate:"required,max=200" doc:"The token's id."`
	CandidateID string `json:"candidateId" validate:"required,max=200" doc:"The platform's id of the investor, for this token."`

	NativeStatus      *string         `json:"nativeStatus" validate:"omitempty,max=200" doc:"The status, in the platform's word; of an investor that is absent, the last one."`
	PreviousStatus    *string         `json:"previousStatus" validate:"omitempty,max=200" doc:"The status before, if it is another one."`
	CurrentSection    *string         `json:"currentSection" validate:"omitempty,max=200" doc:"The section of the onboarding that the investor is in."`
	KYCStatus         *string         `json:"kycStatus" validate:"omitempty,max=200" doc:"The status of the KYC, in the platform's word."`
	PreviousKYCStatus *string         `json:"previousKycStatus" validate:"omitempty,max=200" doc:"The status of the KYC before, if it is another one."`
	KYCProvider       *string         `json:"kycProvider" validate:"omitempty,max=200" doc:"Who performs the KYC, in the platform's word."`
	WalletHash        *string         `json:"walletHash" validate:"omitempty,max=200" doc:"The pseudonym of the wallet's address in lower case."`
	PreviousWallet    *string         `json:"previousWalletHash" validate:"omitempty,max=200" doc:"The pseudonym of the wallet before, if it is another one."`
	WalletProvider    *string         `json:"walletProvider" validate:"omitempty,max=200" doc:"Who manages the wallet, in the platform's word."`
	EmailHash         *string         `json:"emailHash" validate:"omitempty,max=200" doc:"The pseudonym of the mail address in lower case."`
	InvestorType      *string         `json:"investorType" validate:"omitempty,max=200" doc:"The kind of investor, in the platform's word."`
	Country           *string         `json:"country" validate:"omitempty,max=200" doc:"The investor's country, as the platform writes it."`
	CreatedAt         *string         `json:"createdAt" doc:"When the platform first knew the investor: RFC 3339."`
	Holder            *InvestorHolder `json:"holder" doc:"What the list of the token's holders said, if it was asked because the investor is no candidate any more."`
	Changes           []Difference    `json:"changes,omitempty" doc:"What of it is different, if that is what the event tells. A changed identity has neither old nor new."`
	Observed
}

// Facets is empty: the id of each change is its own.
func (Investor) Facets() Facets { return Facets{} }

// InvestorHolder is what a list of holders said of an investor.
type InvestorHolder struct {
	Found  *bool   `json:"found" doc:"Whether the investor is among the holders; null if these could not be read, or not all of them."`
	Status *string `json:"status" validate:"omitempty,max=200" doc:"The holder's status, in the platform's word."`
	Code   *int64  `json:"code" doc:"The status with which the platform refused to list the holders."`
}
