package accesscontrols

import (
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// normalize implements the Normalize of [handlers.Platform].
func normalize(d handlers.Delivery) (handlers.Output, error) {
	if d.Role == RoleDowngrade {
		private := "private"
		return handlers.Output{Drift: []schemas.Drift{{Platform: Name, Path: "x-access-type", Value: &private}}}, nil
	}
	s, ok := shapeOf(d.Role)
	if !ok {
		return handlers.Output{}, unknownRole("role is none of " + Name)
	}
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, badJSON("payload is no change")
	}
	if c.Role != d.Role {
		return handlers.Output{}, unknownRole("the part that changed is not the role's")
	}
	switch {
	case d.Role == RoleGrants:
		return normalizeGrant(d, c)
	case isOffering(c.After().State):
		return normalizeOffering(d, c)
	}
	return normalizeDocument(d, c, s)
}

// shapeOf returns the shape of the documents of a role.
func shapeOf(role string) (*shape, bool) {
	switch role {
	case RoleTranchesV1:
		return documented.tranchesV1, true
	case RoleTranchesV2:
		return documented.tranchesV2, true
	case RoleDeals:
		return documented.deals, true
	case RoleGrants:
		return nil, true
	}
	return nil, false
}

func isOffering(state jsontext.Value) bool {
	_, err := readFlags(state)
	return err == nil
}

// normalizeGrant tells that a grant is there, or is not any more.
func normalizeGrant(d handlers.Delivery, c handlers.Change) (handlers.Output, error) {
	var g grantState
	if json.Unmarshal(c.After().State, &g) != nil || c.Key != g.key() {
		return handlers.Output{}, badJSON("state is none of a grant")
	}
	var out handlers.Output
	typ := schemas.AccessGranted
	switch before, after := c.Before().Present(), c.After().Present(); {
	case before == after: // it is seen in another view
		return out, nil
	case before:
		typ = schemas.AccessRevoked
	}
	e := c.Event(d, typ, c.Key, schemas.Grant{
		Observed: c.Observed(), Platform: Name, TrancheID: g.TrancheID,
		ByFirmID: g.ByFirmID, ToFirmID: g.ToFirmID, AccessType: g.AccessType, Shared: g.Shared,
	})
	if !slices.Contains(accessTypes, g.AccessType) {
		e.Unknown = true
		out.Drift = append(out.Drift, driftOf("grants.accessType", g.AccessType))
	}
	out.Events = append(out.Events, e)
	return out, nil
}

// normalizeDocument tells what is different in a document.
func normalizeDocument(d handlers.Delivery, c handlers.Change, s *shape) (handlers.Output, error) {
	now, after, err := readDocument(c.After().State)
	if err != nil || now.ID == "" || now.API == "" || c.Key == "" {
		return handlers.Output{}, badJSON("state is none of a document")
	}
	var was document
	var before any
	if c.Before().State != nil {
		if was, before, err = readDocument(c.Before().State); err != nil {
			return handlers.Output{}, badJSON("previous state is none of a document")
		}
	}
	t := documentChange{delivery: d, change: c, was: was, now: now}
	if !c.After().Present() {
		return t.absent(), nil
	}
	drift, known := drifted(before, after, s)
	var typ schemas.Type
	switch {
	case c.Before().State == nil:
		typ = schemas.AccessCreated
		t.changes, t.truncated = whole(after)
	default:
		typ = schemas.AccessChanged
		// Two views say different things of the same document.
		if was.View == now.View && was.Shared == now.Shared {
			settle(before, after)
			t.changes, t.truncated = diff(before, after)
		}
		if c.Before().Absent {
			typ = schemas.AccessReappeared
		} else if len(t.changes) == 0 && !t.truncated && !t.versioned() {
			return handlers.Output{Drift: drift}, nil // its times alone say nothing
		}
	}
	e := c.Event(d, typ, c.Key, t.data())
	if at := t.when(typ); schemas.IsTime(at) {
		e.Time = at
	}
	e.Unknown = !known
	return handlers.Output{Events: []schemas.Event{e}, Drift: drift}, nil
}

// settle takes from two trees of a document what says nothing when it differs:
// who modified the source last, and that the source could not be resolved.
func settle(before, after any) {
	const metadata = "sourceMetadata"
	b, _ := before.(map[string]any)
	a, _ := after.(map[string]any)
	for _, tree := range []map[string]any{b, a} {
		if m, ok := tree[metadata].(map[string]any); ok {
			delete(m, "sourceLastModifiedBy")
		}
	}
	if b[metadata] == nil || a[metadata] == nil {
		delete(b, metadata)
		delete(a, metadata)
	}
}

// documentChange is the state of translating one change of a document.
type documentChange struct {
	delivery  handlers.Delivery
	change    handlers.Change
	was, now  document
	changes   []schemas.Difference
	truncated bool
}

// versioned reports whether the document has another version than before.
func (t documentChange) versioned() bool {
	return t.was.RowVersion != nil && t.now.RowVersion != nil && *t.was.RowVersion != *t.now.RowVersion
}

// when returns the platform's time of what is told, "" if it has none.
func (t documentChange) when(typ schemas.Type) string {
	switch {
	case typ == schemas.AccessCreated:
		return t.now.CreatedAt
	case typ == schemas.AccessChanged && t.now.ModifiedAt != t.was.ModifiedAt:
		return t.now.ModifiedAt
	}
	return ""
}

func (t documentChange) absent() handlers.Output {
	if t.change.Before().Absent {
		return handlers.Output{}
	}
	a := t.data()
	a.RowVersionTo, a.ChangesTruncated = nil, false
	a.RowVersionFrom = t.now.RowVersion
	var evidence struct {
		Status int64 `json:"status"`
	}
	if json.Unmarshal(t.change.After().Evidence, &evidence) == nil && evidence.Status != 0 {
		a.HTTPStatus = &evidence.Status
	}
	return handlers.Output{Events: []schemas.Event{t.change.Event(t.delivery, schemas.AccessAbsent, t.change.Key, a)}}
}

func (t documentChange) data() schemas.Access {
	tree, _ := parse(t.now.Doc) // it was read before
	a := schemas.Access{
		Observed: t.change.Observed(), Platform: Name, API: t.now.API, View: optional(string(t.now.View)), Shared: t.now.Shared,
		SourceID: optional(textOf(at(tree, "sourceMetadata", "sourceId"))), FirmID: optional(textOf(at(tree, "sourceMetadata", "firmId"))),
		RowVersionFrom: t.was.RowVersion, RowVersionTo: t.now.RowVersion,
		VersionRegressed: t.versioned() && *t.now.RowVersion < *t.was.RowVersion,
		CreatedAt:        optional(t.now.CreatedAt), CreatedBy: optional(t.now.CreatedBy),
		ModifiedAt: optional(t.now.ModifiedAt), ModifiedBy: optional(t.now.ModifiedBy),
		TimeZoneAssumed: t.now.ZoneGuess,
		Changes:         t.changes, ChangesTruncated: t.truncated,
	}
	if t.delivery.Role == RoleDeals {
		a.DealID = &t.now.ID
	} else {
		a.TrancheID = &t.now.ID
	}
	return a
}

func badJSON(detail string) error {
	return &handlers.UnusableError{Reason: schemas.ReasonBadJSON, Detail: detail}
}

func unknownRole(detail string) error {
	return &handlers.UnusableError{Reason: schemas.ReasonUnknownKind, Detail: detail}
}

// optional returns nil for an empty text, which says as much as none.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
