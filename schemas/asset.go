package schemas

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of what happens to a subscription on a ledger.
const (
	SubscriptionCreated                            Type = "subscription.created"
	SubscriptionModified                           Type = "subscription.modified"
	SubscriptionRemediationRequested               Type = "subscription.remediation_requested"
	SubscriptionRemediationReasonsAdded            Type = "subscription.remediation_reasons_added"
	SubscriptionRemediated                         Type = "subscription.remediated"
	SubscriptionAccepted                           Type = "subscription.accepted"
	SubscriptionCommitmentAccepted                 Type = "subscription.commitment_accepted"
	SubscriptionReviewStatusUpdated                Type = "subscription.review_status_updated"
	SubscriptionDeclined                           Type = "subscription.declined"
	SubscriptionDisposed                           Type = "subscription.disposed"
	SubscriptionCanceled                           Type = "subscription.canceled"
	SubscriptionIssued                             Type = "subscription.issued"
	SubscriptionExternallyIssued                   Type = "subscription.externally_issued"
	SubscriptionSettled                            Type = "subscription.settled"
	SubscriptionRefunded                           Type = "subscription.refunded"
	SubscriptionOfflineAssetCreated                Type = "subscription.offline_asset_created"
	SubscriptionRecallRequested                    Type = "subscription.recall_requested"
	SubscriptionRecallRejected                     Type = "subscription.recall_rejected"
	SubscriptionRecallAccepted                     Type = "subscription.recall_accepted"
	SubscriptionWired                              Type = "subscription.wired"
	SubscriptionBusted                             Type = "subscription.busted"
	SubscriptionExternalStateUpdated               Type = "subscription.external_state_updated"
	SubscriptionAssetPositionSet                   Type = "subscription.asset_position_set"
	SubscriptionCapitalCallCured                   Type = "subscription.capital_call_cured"
	SubscriptionCapitalCallFailed                  Type = "subscription.capital_call_failed"
	SubscriptionCapitalCallSettled                 Type = "subscription.capital_call_settled"
	SubscriptionCapitalCallOverSettled             Type = "subscription.capital_call_over_settled"
	SubscriptionCapitalCallPartialSettled          Type = "subscription.capital_call_partial_settled"
	SubscriptionNAVNew                             Type = "subscription.nav_new"
	SubscriptionNAVCanceled                        Type = "subscription.nav_canceled"
	SubscriptionNAVUpdated                         Type = "subscription.nav_updated"
	SubscriptionTenderOfferOutputAssetCreated      Type = "subscription.tender_offer_output_asset_created"
	SubscriptionTenderTradeProposed                Type = "subscription.tender_trade_proposed"
	SubscriptionTenderAllAssetParentLock           Type = "subscription.tender_all_asset_parent_lock"
	SubscriptionTenderCanceledDisposed             Type = "subscription.tender_canceled_disposed"
	SubscriptionTenderCanceledIssued               Type = "subscription.tender_canceled_issued"
	SubscriptionTenderPriceApplied                 Type = "subscription.tender_price_applied"
	SubscriptionTenderTradeSettled                 Type = "subscription.tender_trade_settled"
	SubscriptionTradeProposed                      Type = "subscription.trade_proposed"
	SubscriptionTradeMatched                       Type = "subscription.trade_matched"
	SubscriptionTransferParentInTransfer           Type = "subscription.transfer_parent_in_transfer"
	SubscriptionTransferCanceled                   Type = "subscription.transfer_canceled"
	SubscriptionTransferCompleted                  Type = "subscription.transfer_completed"
	SubscriptionRemovedFromTransfer                Type = "subscription.removed_from_transfer"
	SubscriptionLockedForRedemption                Type = "subscription.locked_for_redemption"
	SubscriptionRedemptionCanceled                 Type = "subscription.redemption_canceled"
	SubscriptionRedeemed                           Type = "subscription.redeemed"
	SubscriptionAssetManualUpdate                  Type = "subscription.asset_manual_update"
	SubscriptionModelAssetCashSleeveAssetConfirmed Type = "subscription.model_asset_cash_sleeve_asset_confirmed"
	SubscriptionRebalanceRequestInitiated          Type = "subscription.rebalance_request_initiated"
	SubscriptionRebalanceRequestSettled            Type = "subscription.rebalance_request_settled"
	SubscriptionStatusChanged                      Type = "subscription.status_changed"
)

var assetDefinitions = []Definition{
	{SubscriptionCreated, "A subscription was created.", Asset{}},
	{SubscriptionModified, "A subscription was modified.", Asset{}},
	{SubscriptionRemediationRequested, "The issuer asks for a subscription to be remedied; the reasons say why, if they are there already.", Asset{}},
	{SubscriptionRemediationReasonsAdded, "The reasons for a remediation, which came later than the request.", Asset{}},
	{SubscriptionRemediated, "A subscription was remedied.", Asset{}},
	{SubscriptionAccepted, "The issuer accepted a subscription.", Asset{}},
	{SubscriptionCommitmentAccepted, "The issuer accepted a commitment.", Asset{}},
	{SubscriptionReviewStatusUpdated, "The issuer's review of a subscription has another status.", Asset{}},
	{SubscriptionDeclined, "A subscription was declined, because it was not paid for example.", Asset{}},
	{SubscriptionDisposed, "A subscription was disposed of.", Asset{}},
	{SubscriptionCanceled, "A subscription was canceled.", Asset{}},
	{SubscriptionIssued, "The securities were issued.", Asset{}},
	{SubscriptionExternallyIssued, "The securities were issued outside of the platform.", Asset{}},
	{SubscriptionSettled, "A subscription was settled.", Asset{}},
	{SubscriptionRefunded, "A subscription was refunded.", Asset{}},
	{SubscriptionOfflineAssetCreated, "A subscription that was made outside of the platform was recorded.", Asset{}},
	{SubscriptionRecallRequested, "The investor asks for a subscription to be recalled.", Asset{}},
	{SubscriptionRecallRejected, "The issuer rejected a recall.", Asset{}},
	{SubscriptionRecallAccepted, "The issuer accepted a recall.", Asset{}},
	{SubscriptionWired, "The payment was wired.", Asset{}},
	{SubscriptionBusted, "A subscription was busted.", Asset{}},
	{SubscriptionExternalStateUpdated, "The state that others keep of a subscription was updated.", Asset{}},
	{SubscriptionAssetPositionSet, "The position of a subscription was set.", Asset{}},
	{SubscriptionCapitalCallCured, "A failed capital call was cured.", Asset{}},
	{SubscriptionCapitalCallFailed, "A capital call failed.", Asset{}},
	{SubscriptionCapitalCallSettled, "A capital call was settled.", Asset{}},
	{SubscriptionCapitalCallOverSettled, "More than was called was settled.", Asset{}},
	{SubscriptionCapitalCallPartialSettled, "A part of a capital call was settled.", Asset{}},
	{SubscriptionNAVNew, "There is a net asset value.", Asset{}},
	{SubscriptionNAVCanceled, "A net asset value was canceled.", Asset{}},
	{SubscriptionNAVUpdated, "A net asset value was updated.", Asset{}},
	{SubscriptionTenderOfferOutputAssetCreated, "A tender offer led to another asset.", Asset{}},
	{SubscriptionTenderTradeProposed, "A trade of a tender was proposed.", Asset{}},
	{SubscriptionTenderAllAssetParentLock, "All of an asset was locked for a tender.", Asset{}},
	{SubscriptionTenderCanceledDisposed, "A tender was canceled and what it led to disposed of.", Asset{}},
	{SubscriptionTenderCanceledIssued, "A tender was canceled and the asset is issued as before.", Asset{}},
	{SubscriptionTenderPriceApplied, "The price of a tender was applied.", Asset{}},
	{SubscriptionTenderTradeSettled, "A trade of a tender was settled.", Asset{}},
	{SubscriptionTradeProposed, "A trade was proposed.", Asset{}},
	{SubscriptionTradeMatched, "A trade was matched.", Asset{}},
	{SubscriptionTransferParentInTransfer, "A part of an asset is being transferred.", Asset{}},
	{SubscriptionTransferCanceled, "A transfer was canceled.", Asset{}},
	{SubscriptionTransferCompleted, "A transfer was completed.", Asset{}},
	{SubscriptionRemovedFromTransfer, "An asset was taken out of a transfer.", Asset{}},
	{SubscriptionLockedForRedemption, "An asset is locked for its redemption.", Asset{}},
	{SubscriptionRedemptionCanceled, "A redemption was canceled.", Asset{}},
	{SubscriptionRedeemed, "An asset was redeemed.", Asset{}},
	{SubscriptionAssetManualUpdate, "An asset was updated by hand.", Asset{}},
	{SubscriptionModelAssetCashSleeveAssetConfirmed, "The cash sleeve of a model was accepted.", Asset{}},
	{SubscriptionRebalanceRequestInitiated, "A rebalancing was asked for.", Asset{}},
	{SubscriptionRebalanceRequestSettled, "A rebalancing was settled.", Asset{}},
	{SubscriptionStatusChanged, "The status of a subscription changed, and no step is known that explains it.", Asset{}},
}

// Asset is a subscription as a ledger has it. Its key is the assetId. What the
// platform didn't say is null: the shape of its answers is undocumented.
type Asset struct {
	Platform       string              `json:"platform" validate:"required" doc:"The platform that keeps the ledger."`
	AssetID        string              `json:"assetId" validate:"required,max=200" doc:"The subscription's id."`
	SecurityID     *string             `json:"securityId" doc:"The id of what is subscribed to."`
	ShareClassID   *string             `json:"shareClassId" doc:"The id of its share class."`
	CorrelationIDs *[]CorrelationID    `json:"correlationIds" doc:"The ids that organisations gave the subscription."`
	NativeEvent    *string             `json:"nativeEvent" doc:"The step, in the platform's word."`
	NativeStatus   *string             `json:"nativeStatus" doc:"The status after it, in the platform's word."`
	PreviousStatus *string             `json:"previousStatus" doc:"The status that was known before."`
	Amount         *Money              `json:"amount" doc:"The amount."`
	Units          *string             `json:"units" doc:"The number of units, in decimals."`
	Price          *Money              `json:"price" doc:"The price of a unit."`
	FrontEndFee    *Money              `json:"frontEndFee" doc:"The fee on top of the amount."`
	IssueDate      *string             `json:"issueDate" doc:"When it was issued, as the platform said it."`
	SettlementDate *string             `json:"settlementDate" doc:"When it was settled, as the platform said it."`
	Ledger         *Ledger             `json:"ledger" doc:"The step's place on the ledger."`
	Reasons        *RemediationReasons `json:"reasons,omitzero" doc:"Why it is to be remedied; only in remediation_requested, where null means that the reasons are not there yet, and remediation_reasons_added."`
	Inferred       []string            `json:"inferred,omitempty" doc:"Which of these fields were found under a name that the platform does not document."`
	Revision       int64               `json:"revision,omitzero" doc:"How often this subscription was seen to change; only in status_changed."`
	ChangedBetween []string            `json:"changedBetween,omitempty" doc:"Between which two observations it changed: RFC 3339; only in status_changed."`
}

// Facets compares the step, the status and the place on the ledger; amounts and
// ids may come later.
func (a Asset) Facets() Facets {
	f := Facets{}
	f.core("method", deref(a.NativeEvent))
	if a.Ledger != nil {
		f.core("transaction", a.Ledger.TransactionID)
	}
	return f
}

// CorrelationID is an id that an organisation gave something on a ledger.
type CorrelationID struct {
	CorrelationID string  `json:"correlationId" doc:"The id."`
	OrgID         *string `json:"orgId" doc:"The organisation that gave it."`
}

// RemediationReasons are why a subscription is to be remedied; nil, which is
// null in JSON, if they are not there yet.
type RemediationReasons []RemediationReason

// MarshalJSONTo implements json.MarshalerTo.
func (r RemediationReasons) MarshalJSONTo(enc *jsontext.Encoder) error {
	if r == nil {
		return enc.WriteToken(jsontext.Null)
	}
	return json.MarshalEncode(enc, []RemediationReason(r))
}

// RemediationReason is why a subscription is to be remedied. Messages, the
// names of files and the descriptions of pages are on the twin.
type RemediationReason struct {
	Category  string                `json:"category" doc:"The platform's code of the category: EC001 to EC006."`
	Label     *string               `json:"label" doc:"What the category means; null for one that is not documented."`
	Documents []RemediationDocument `json:"documents" doc:"The documents that it is about."`
}

// RemediationDocument is a document that something is wrong with.
type RemediationDocument struct {
	FileID *string `json:"fileId" doc:"The platform's id of the file."`
	Pages  []int64 `json:"pages" doc:"The numbers of the pages."`
}
