package corastone

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// Roles of what follow-ups found.
const (
	RoleStep    = "asset-step" // a step of an asset's history
	RoleReasons = "reasons"    // reasons for a remediation, which came later
)

// Where values are in a row of an asset's history, whose shape is that of the
// documented histories of other things.
var (
	stepAsset       = field{"assetId", []string{"assetId", "update.assetId", "asset.assetId", "entityId"}, false}
	stepEvent       = field{"nativeEvent", []string{"event"}, true}
	stepTransaction = field{"transactionId", []string{"transactionId", "blockchainDetails.transactionId"}, true}
	stepChannel     = field{"channelName", []string{"channelName", "blockchainDetails.channelName"}, true}
	stepBlock       = field{"blockNumber", []string{"blockNumber", "blockchainDetails.blockNumber"}, true}
	stepTime        = field{"timestamp", []string{"timestamp"}, true}
	stepStatus      = field{"nativeStatus", []string{"update.status", "status", "assetStatus"}, false}
)

// stepTypes are what the steps are called, by the platform's names (the event
// filter of Get Asset History).
var stepTypes = map[string]schemas.Type{
	"Created": schemas.SubscriptionCreated, "Modified": schemas.SubscriptionModified,
	"RemediationRequested": schemas.SubscriptionRemediationRequested, "Remediated": schemas.SubscriptionRemediated,
	"Confirmed": schemas.SubscriptionAccepted, "CommitmentAccepted": schemas.SubscriptionCommitmentAccepted,
	"ReviewStatusUpdated": schemas.SubscriptionReviewStatusUpdated, "Rejected": schemas.SubscriptionRejected,
	"Declined": schemas.SubscriptionDeclined, "Disposed": schemas.SubscriptionDisposed, "Canceled": schemas.SubscriptionCanceled,
	"Issued": schemas.SubscriptionIssued, "ExternallyIssued": schemas.SubscriptionExternallyIssued,
	"Settled": schemas.SubscriptionSettled, "Refunded": schemas.SubscriptionRefunded,
	"OfflineAssetCreated": schemas.SubscriptionOfflineAssetCreated, "Recalled": schemas.SubscriptionRecallRequested,
	"RecallRejected": schemas.SubscriptionRecallRejected, "RecallAccepted": schemas.SubscriptionRecallAccepted,
	"Wired": schemas.SubscriptionWired, "Busted": schemas.SubscriptionBusted,
	"ExternalStateUpdated": schemas.SubscriptionExternalStateUpdated, "AssetPositionSet": schemas.SubscriptionAssetPositionSet,
	"CapitalCallCured": schemas.SubscriptionCapitalCallCured, "CapitalCallFailed": schemas.SubscriptionCapitalCallFailed,
	"CapitalCallSettled": schemas.SubscriptionCapitalCallSettled, "CapitalCallOverSettled": schemas.SubscriptionCapitalCallOverSettled,
	"CapitalCallPartialSettled": schemas.SubscriptionCapitalCallPartialSettled,
	"NewNAV":                    schemas.SubscriptionNAVNew, "CanceledNAV": schemas.SubscriptionNAVCanceled, "UpdatedNAV": schemas.SubscriptionNAVUpdated,
	"TenderOfferOutputAssetCreated": schemas.SubscriptionTenderOfferOutputAssetCreated,
	"TenderTradeProposed":           schemas.SubscriptionTenderTradeProposed, "TenderAllAssetParentLock": schemas.SubscriptionTenderAllAssetParentLock,
	"TenderCanceledDisposed": schemas.SubscriptionTenderCanceledDisposed, "TenderCanceledIssued": schemas.SubscriptionTenderCanceledIssued,
	"TenderPriceApplied": schemas.SubscriptionTenderPriceApplied, "TenderTradeSettled": schemas.SubscriptionTenderTradeSettled,
	"TradeProposed": schemas.SubscriptionTradeProposed, "TradeMatched": schemas.SubscriptionTradeMatched,
	"TransferParentInTransfer": schemas.SubscriptionTransferParentInTransfer, "TransferCanceled": schemas.SubscriptionTransferCanceled,
	"TransferCompleted": schemas.SubscriptionTransferCompleted, "RemovedFromTransfer": schemas.SubscriptionRemovedFromTransfer,
	"LockedForRedemption": schemas.SubscriptionLockedForRedemption, "RedemptionCanceled": schemas.SubscriptionRedemptionCanceled,
	"Redeemed": schemas.SubscriptionRedeemed, "AssetManualUpdate": schemas.SubscriptionAssetManualUpdate,
	"ModelAssetCashSleeveAssetConfirmed": schemas.SubscriptionModelAssetCashSleeveAssetConfirmed,
	"RebalanceRequestInitiated":          schemas.SubscriptionRebalanceRequestInitiated,
	"RebalanceRequestSettled":            schemas.SubscriptionRebalanceRequestSettled,
}

// stepFact is the payload of a delivery with the role [RoleStep] or
// [RoleReasons]: what a follow-up found of one asset.
type stepFact struct {
	Cause           string           `json:"cause"` // id of the event that was followed up
	OrchestrationID string           `json:"orchestrationId,omitempty"`
	Channel         string           `json:"channel,omitempty"`
	TransactionID   string           `json:"transactionId,omitempty"`
	Block           *int64           `json:"block,omitempty"`
	AssetID         string           `json:"assetId"`
	Previous        string           `json:"previous,omitempty"` // the status that was known
	Step            jsontext.Value   `json:"step,omitempty"`     // the row of the history
	Asset           jsontext.Value   `json:"asset,omitempty"`    // its details
	Comments        []jsontext.Value `json:"comments,omitempty"`
}

// tellStep hands on a step.
func (v *visible) tellStep(ctx context.Context, p process, st step, asset jsontext.Value, comments []jsontext.Value, s handlers.Scan) error {
	known, err := s.Record(ctx, st.assetID)
	if err != nil {
		return err
	}
	before, _ := decodeSeen(known.Parts[RoleAssets].State)
	f := stepFact{
		Cause: p.event.ID, OrchestrationID: p.orchestrationID, AssetID: st.assetID,
		Step: st.native, Asset: asset,
	}
	if p.ledger != nil {
		f.Channel, f.TransactionID, f.Block = p.ledger.Channel, p.ledger.TransactionID, p.ledger.Block
	}
	if precedes(before.Status, st) {
		f.Previous = before.Status
	}
	if st.event == stepRemediation {
		if err := f.remediation(p, known, comments, s); err != nil {
			return err
		}
	}
	return tellFact(s, RoleStep, strings.Join([]string{"step", f.Channel, f.TransactionID, f.AssetID, st.event, scalar(rowTime(st.native))}, ":"), f)
}

// precedes reports whether a status that was known can be the one before a
// step. What is known may be newer than that: then it isn't known.
func precedes(status string, st step) bool {
	if status == "" {
		return false
	}
	named := false
	for _, t := range AssetTransitions() {
		if !strings.EqualFold(t.Event, st.event) {
			continue
		}
		if named = true; among(t.From, status) {
			return true
		}
	}
	if named {
		return false
	}
	r, ok := readRow(st.native)
	return ok && !strings.EqualFold(status, r.text(stepStatus))
}

func rowTime(native jsontext.Value) jsontext.Value {
	if r, ok := readRow(native); ok {
		return r.find(stepTime)
	}
	return nil
}

// reasons returns the reasons that the step or the comments give, nil if there
// are none.
func (f stepFact) reasons() []schemas.RemediationReason {
	if all := reasonsOf([]jsontext.Value{f.Step}); len(all) > 0 {
		return all
	}
	return reasonsOf(f.Comments)
}

// tellReasons hands on the reasons of a remediation that came later, and notes
// that they have.
func tellReasons(s handlers.Scan, asset string, w waiting, details jsontext.Value, comments []jsontext.Value) error {
	f := stepFact{
		Cause: w.Cause, OrchestrationID: w.OrchestrationID, Channel: w.Channel, TransactionID: w.TransactionID, Block: w.Block,
		AssetID: asset, Asset: details, Comments: comments,
	}
	if err := tellFact(s, RoleReasons, strings.Join([]string{"reasons", w.Channel, w.TransactionID, asset}, ":"), f); err != nil {
		return err
	}
	w.Told, w.Used = true, used(w.Used, comments)
	return s.Saw(handlers.Sighting{Key: asset, Role: RoleRemediation, Alone: true, State: w.encode()})
}

func tellFact(s handlers.Scan, role, transportID string, f any) error {
	payload, err := json.Marshal(f, json.Deterministic(true), jsontext.PreserveRawStrings(true))
	if err != nil {
		return errNoEvent // the library's errors quote values
	}
	return s.Tell(handlers.Fact{Role: role, TransportID: transportID, Content: sha256.Sum256(payload), Payload: payload})
}

// normalizeStep translates a step.
func normalizeStep(d handlers.Delivery) (handlers.Output, error) {
	var f stepFact
	if err := json.Unmarshal(d.Payload, &f); err != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "step is not readable")
	}
	st, ok := readRow(f.Step)
	if !ok {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "row of the history is not an object")
	}
	event := st.text(stepEvent)
	if err := required("asset history event", event); err != nil {
		return handlers.Output{}, err
	}
	t := translation{delivery: d}
	asset, ok := readRow(f.Asset)
	if !ok {
		asset = &row{}
	}
	a := assetOf(asset, f.AssetID)
	a.NativeEvent, a.PreviousStatus, a.Ledger = &event, optional(f.Previous), t.placeOf(f, st)
	if status := st.text(stepStatus); status != "" {
		a.NativeStatus = &status
	} else if a.NativeStatus != nil {
		a.Inferred = append(a.Inferred, "nativeStatus") // it is the status that the asset has now
	}
	typ, known := stepTypes[event]
	if !known {
		typ = schemas.SubscriptionStatusChanged
	}
	if typ == schemas.SubscriptionRemediationRequested {
		reasons := schemas.RemediationReasons(f.reasons())
		a.Reasons = &reasons
	}
	e := t.assetEvent(f, typ, event, st, a)
	t.status(&e, known, "asset.history.event", event)
	return handlers.Output{Events: []schemas.Event{e}, Drift: t.drift}, nil
}

// normalizeReasons translates reasons that came later.
func normalizeReasons(d handlers.Delivery) (handlers.Output, error) {
	var f stepFact
	if err := json.Unmarshal(d.Payload, &f); err != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "reasons are not readable")
	}
	t := translation{delivery: d}
	reasons := schemas.RemediationReasons(f.reasons())
	asset, ok := readRow(f.Asset)
	if !ok {
		asset = &row{}
	}
	a := assetOf(asset, f.AssetID)
	a.NativeStatus = nil // the asset may have moved on
	a.Ledger, a.Reasons = t.placeOf(f, &row{}), &reasons
	e := t.assetEvent(f, schemas.SubscriptionRemediationReasonsAdded, "RemediationReasonsAdded", &row{}, a)
	return handlers.Output{Events: []schemas.Event{e}}, nil
}

// placeOf returns a step's place on the ledger: that of its process, or what
// its row says.
func (t *translation) placeOf(f stepFact, st *row) *schemas.Ledger {
	l := schemas.Ledger{Channel: f.Channel, TransactionID: f.TransactionID, Block: f.Block}
	if l.TransactionID == "" {
		l.TransactionID, l.Channel = st.text(stepTransaction), st.text(stepChannel)
	}
	if l.Block == nil {
		var b block
		if v := st.find(stepBlock); v != nil && json.Unmarshal(v, &b) == nil {
			l.Block = b.number
		}
	}
	if l.TransactionID == "" {
		return nil
	}
	return &l
}

// assetEvent makes the event of a step. What the platform said is on the twin.
func (t *translation) assetEvent(f stepFact, typ schemas.Type, native string, st *row, a schemas.Asset) schemas.Event {
	var m moment
	if v := st.find(stepTime); v != nil && json.Unmarshal(v, &m) != nil {
		m = moment{}
	}
	place := []string{"", m.at}
	if a.Ledger != nil {
		place = []string{strings.ToLower(a.Ledger.Channel), a.Ledger.TransactionID}
	}
	e := newEvent(t.delivery, typ, f.AssetID, m.at, a)
	e.ID = t.delivery.Source + ":asset"
	for _, part := range append(place, f.AssetID, native) {
		if part != "" {
			e.ID += ":" + schemas.IDPart(part)
		}
	}
	if l := a.Ledger; l != nil && l.Block != nil && l.Channel != "" {
		e.Sequence = fmt.Sprintf("%s:%016d", strings.ToLower(l.Channel), *l.Block)
	}
	e.CorrelationID, e.CausationID = f.OrchestrationID, f.Cause
	said := map[string]any{}
	for name, v := range map[string]jsontext.Value{"step": f.Step, "asset": f.Asset} {
		if v != nil {
			said[name] = v
		}
	}
	if f.Comments != nil {
		said["comments"] = f.Comments
	}
	if b, err := json.Marshal(said, json.Deterministic(true), jsontext.PreserveRawStrings(true)); err == nil {
		e.Restricted = &schemas.Restricted{Native: b}
	}
	return e
}
