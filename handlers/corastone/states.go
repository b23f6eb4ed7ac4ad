package corastone

import (
	"slices"
	"strings"

	"github.com/seed75441868/postern/schemas"
)

// assetStatuses are those that the guide lists for the filter of Get Asset
// Details.
var assetStatuses = []string{
	"deleted", "preSynced", "created", "modified", "confirmed", "settlement_confirmation_pending", "settled", "issued",
	"busted", "canceled", "disposed", "recalled", "remediated", "remediation_pending", "locked", "trade_proposed",
	"in_trade", "in_trade_pending", "in_transfer", "in_transfer_pending", "restricted", "retired", "refunded",
	"in_tender", "in_tender_pending", "template", "locked_for_redemption",
}

// securityStatuses are those for the filter of Get Security Details.
var securityStatuses = []string{
	"deleted", "preSync", "active", "closed", "completed", "bust_in_progress", "busted", "cancel_in_progress", "canceled",
	"refund_in_progress", "retired", "approved_revert_to_active", "paused", "archived",
}

func knownAssetStatus(status string) bool { return among(assetStatuses, status) }

func among(list []string, s string) bool {
	return slices.ContainsFunc(list, func(other string) bool { return strings.EqualFold(other, s) })
}

// offeringType returns what it is called when an offering's status becomes
// another one, and whether the vocabulary knows that. From is "" at first
// sight.
func offeringType(from, to string) (typ schemas.Type, known bool) {
	from = strings.ToLower(from)
	switch strings.ToLower(to) {
	case "active":
		switch from {
		case "", "presync":
			return schemas.OfferingOpened, true
		case "paused":
			return schemas.OfferingResumed, true
		case "completed", "approved_revert_to_active":
			return schemas.OfferingRevertedToActive, true
		}
	case "paused":
		return schemas.OfferingPaused, true
	case "completed":
		return schemas.OfferingCompleted, true
	case "closed":
		return schemas.OfferingClosed, true
	case "approved_revert_to_active":
		return schemas.OfferingRevertApproved, true
	case "canceled":
		if from == "refund_in_progress" { // it was canceled before
			return schemas.OfferingStatusChanged, true
		}
		return schemas.OfferingCanceled, true
	case "busted":
		return schemas.OfferingBusted, true
	}
	return schemas.OfferingStatusChanged, among(securityStatuses, to)
}

// assignmentType returns what it is called when the assignment of our
// organisation becomes another one, "" if that is nothing to tell.
func assignmentType(from, to string) (typ schemas.Type, known bool) {
	switch strings.ToLower(to) {
	case "assigned":
		return schemas.OfferingAssigned, true
	case "accepted":
		return schemas.OfferingAssignmentAccepted, true
	case "rejected":
		return schemas.OfferingAssignmentRejected, true
	case "inactive":
		if from == "" { // it never was
			return "", true
		}
		return schemas.OfferingAssignmentRemoved, true
	}
	return schemas.OfferingStatusChanged, false
}
