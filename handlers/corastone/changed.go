package corastone

import (
	"strings"
	"unicode/utf8"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// normalizeChange translates what a poller or a follow-up saw to be different.
func normalizeChange(d handlers.Delivery) (handlers.Output, error) {
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "change is not readable")
	}
	now, ok := decodeSeen(c.After().State)
	if !ok || c.After().Absent {
		// What isn't listed any more was not told to have gone: no step says so.
		return handlers.Output{}, nil
	}
	if utf8.RuneCountInString(c.Key) > maxText {
		return handlers.Output{}, invalid("key is too long")
	}
	before, _ := decodeSeen(c.Before().State)
	if strings.EqualFold(before.Status, now.Status) {
		return handlers.Output{}, nil
	}
	t := translation{delivery: d}
	r, ok := readRow(now.Native)
	if !ok {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, "row is not readable")
	}
	var e schemas.Event
	switch c.Role {
	case RoleAssets:
		if c.Bootstrap || d.View == ViewExplained {
			return handlers.Output{}, nil
		}
		e = t.assetChanged(c, r, before, now)
	case RoleSecurities:
		e = t.securityChanged(c, r, before, now)
	case RoleExclusivity:
		typ, ok := assignmentType(before.Status, now.Status)
		if typ == "" {
			return handlers.Output{}, nil
		}
		e = c.Event(d, typ, c.Key, t.security(c, r, before, now))
		t.status(&e, ok, "exclusivity.status", now.Status)
	default:
		return handlers.Output{}, unusable(schemas.ReasonUnknownKind, "role is none of this platform")
	}
	e.Restricted = &schemas.Restricted{Native: now.Native}
	return handlers.Output{Events: []schemas.Event{e}, Drift: t.drift}, nil
}

// assetChanged tells that an asset has another status, of which no step is
// known that explains it.
func (t *translation) assetChanged(c handlers.Change, r *row, before, now seen) schemas.Event {
	a := assetOf(r, c.Key)
	a.NativeStatus, a.PreviousStatus = &now.Status, optional(before.Status)
	o := c.Observed()
	a.Revision, a.ChangedBetween = o.Revision, o.ChangedBetween
	e := c.Event(t.delivery, schemas.SubscriptionStatusChanged, c.Key, a)
	t.status(&e, knownAssetStatus(now.Status), "asset.status", now.Status)
	return e
}

// assetOf returns what a row says of an asset.
func assetOf(r *row, id string) schemas.Asset {
	a := schemas.Asset{
		Platform:       Name,
		AssetID:        id,
		SecurityID:     r.optional(securityID),
		ShareClassID:   r.optional(shareClassID),
		CorrelationIDs: r.correlationIDs(),
		NativeStatus:   r.optional(assetStatus),
		Amount:         r.money(amount),
		Units:          r.decimal(units),
		Price:          r.money(price),
		FrontEndFee:    r.money(frontEndFee),
		IssueDate:      r.date(issueDate),
		SettlementDate: r.date(settledDate),
	}
	a.Inferred = r.guessed()
	return a
}

func (t *translation) securityChanged(c handlers.Change, r *row, before, now seen) schemas.Event {
	typ, known := offeringType(before.Status, now.Status)
	e := c.Event(t.delivery, typ, c.Key, t.security(c, r, before, now))
	t.status(&e, known, "security.status", now.Status)
	return e
}

// security returns what a row says of an offering.
func (t *translation) security(c handlers.Change, r *row, before, now seen) schemas.Security {
	s := schemas.Security{
		Platform:       Name,
		SecurityID:     c.Key,
		NativeStatus:   &now.Status,
		PreviousStatus: optional(before.Status),
		Observed:       c.Observed(),
	}
	if c.Role == RoleSecurities { // the rows of assignments are of an organisation
		s.CorrelationIDs = r.correlationIDs()
		s.Name, s.SecurityType, s.Restricted = r.optional(securityName), r.optional(securityType), r.boolean(restricted)
	}
	s.Inferred = r.guessed()
	return s
}
