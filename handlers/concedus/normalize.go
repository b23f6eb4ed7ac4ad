package concedus

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// The outcomes of absences.
const (
	approvedByAgent  = schemas.SubscriptionAgentApproved
	rejectedContract = schemas.SubscriptionRejected
	undetermined     = schemas.SubscriptionUndetermined
)

// normalize implements the Normalize of [handlers.Platform].
func normalize(d handlers.Delivery) (handlers.Output, error) {
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, err.Error())
	}
	switch d.Role {
	case RoleAgentList, RoleIssuerList:
		return listed(d, c)
	case RoleCompliance:
		return judged(d, c)
	}
	return handlers.Output{}, unusable(schemas.ReasonUnknownKind, "role is none of this platform's")
}

func unusable(reason schemas.Reason, detail string) error {
	return &handlers.UnusableError{Reason: reason, Detail: detail}
}

// listed tells what became of a contract on a list.
func listed(d handlers.Delivery, c handlers.Change) (handlers.Output, error) {
	before, after := c.Before(), c.After()
	is, ok := decodeContract(after.State)
	if !ok {
		return handlers.Output{}, unusable(schemas.ReasonInvalidEvent, "its state is no contract")
	}
	t := telling{d: d, c: c, is: is}
	if before.State == nil {
		entered := schemas.SubscriptionReleased
		if d.Role == RoleIssuerList {
			entered = schemas.SubscriptionSubmittedToIssuer
		}
		t.drift = is.drift(nil)
		t.tell(entered, t.contract(), is.Updated, nil)
		return t.output(), nil
	}
	was, ok := decodeContract(before.State)
	if !ok {
		return handlers.Output{}, unusable(schemas.ReasonInvalidEvent, "its former state is no contract")
	}
	if after.Absent {
		if !before.Absent {
			t.tell(schemas.SubscriptionAbsent, t.contract(), nil, nil)
		}
		return t.output(), nil
	}
	t.drift = is.drift(&was)
	updated := is.Updated
	if updated.same(was.Updated) {
		updated = nil // it was not this that the platform dates
	}
	if before.Absent {
		t.tell(schemas.SubscriptionReappeared, t.contract(), updated, nil)
	}
	if diff := was.diff(is); len(diff.open) > 0 {
		data := t.contract()
		data.Changes, data.Regressed = diff.open, diff.regressed
		t.tell(schemas.SubscriptionChanged, data, updated, &personal{Changes: diff.personal})
	}
	return t.output(), nil
}

// judged tells that a compliance status is another one, and what became of a
// contract that had left.
func judged(d handlers.Delivery, c handlers.Change) (handlers.Output, error) {
	was, ok := decodeStanding(c.Before().State)
	is, okToo := decodeStanding(c.After().State)
	part, _ := listPart(c.Current)
	contract, known := decodeContract(part.State)
	if !ok || !okToo || !known {
		return handlers.Output{}, unusable(schemas.ReasonInvalidEvent, "its state is no compliance status of a contract")
	}
	t := telling{d: d, c: c, is: contract}
	if was.Status == nil || !sameText(was.Status.bucket(), is.Status.bucket()) {
		t.drift = is.Status.drift()
	}
	// What it was when it was asked for first is no change.
	if was.Status != nil && is.Status != nil && !sameText(was.Status.bucket(), is.Status.bucket()) {
		data := t.contract()
		data.Compliance = &schemas.Compliance{Bucket: is.Status.bucket(), Previous: was.Status.bucket()}
		at := is.Status.Modified
		if at.rfc3339() != "" {
			data.Compliance.Modified = optional(at.rfc3339())
			if at.Assumed {
				data.ZoneAssumed = append(data.ZoneAssumed, "compliance.modified")
			}
		}
		if at.same(was.Status.Modified) {
			at = nil
		}
		e := t.tell(schemas.SubscriptionComplianceChanged, data, at, &personal{Compliance: codeOf(is.Status), PreviousCompliance: codeOf(was.Status)})
		e.Unknown = e.Unknown || !is.Status.known()
	}
	if o := is.Outcome; o != nil && (was.Outcome == nil || !was.Outcome.Absence.Equal(o.Absence)) {
		data := t.contract()
		data.Evidence = &schemas.Evidence{
			By: o.By, AbsentSince: schemas.FormatTime(o.Absence), Owner: optional(o.Owner), Bucket: is.Status.bucket(),
		}
		t.tell(o.Type, data, nil, &personal{Compliance: codeOf(is.Status)})
	}
	return t.output(), nil
}

// listPart returns what a list says of an entity.
func listPart(r handlers.Record) (handlers.Part, string) {
	for _, role := range []string{RoleAgentList, RoleIssuerList} {
		if part := r.Parts[role]; part.State != nil {
			return part, role
		}
	}
	return handlers.Part{}, ""
}

// telling is the state of translating a change.
type telling struct {
	d      handlers.Delivery
	c      handlers.Change
	is     contract
	events []schemas.Event
	drift  []schemas.Drift
}

func (t *telling) output() handlers.Output {
	return handlers.Output{Events: t.events, Drift: t.drift}
}

// tell adds an event with its twin, and returns it to be completed. Its time is
// at, or the observation's if that is nil.
func (t *telling) tell(typ schemas.Type, data schemas.Contract, at *moment, p *personal) *schemas.Event {
	e := t.c.Event(t.d, typ, t.c.Key, data)
	if said := at.rfc3339(); said != "" {
		e.Time = said
	}
	if p == nil {
		p = &personal{}
	}
	p.ContractKey, p.InvestorName = t.is.Key, t.is.InvestorName
	p.AsSaid, p.NativeType = t.is.hidden()
	e.Restricted = &schemas.Restricted{Personal: p}
	e.Unknown = t.is.Type != nil && data.Derived == nil
	t.events = append(t.events, e)
	return &t.events[len(t.events)-1]
}

// personal is what only the twin says.
type personal struct {
	ContractKey        string               `json:"contractKey"`
	InvestorName       *string              `json:"investorName"`
	NativeType         *string              `json:"nativeType,omitempty"` // if it is no code
	AsSaid             map[string]string    `json:"asSaid,omitempty"`     // times that can't be read
	Changes            []schemas.Difference `json:"changes,omitempty"`    // with their values
	Compliance         *int                 `json:"complianceCode,omitempty"`
	PreviousCompliance *int                 `json:"previousComplianceCode,omitempty"`
}

func codeOf(s *status) *int {
	if s == nil || !s.Found {
		return nil
	}
	return &s.Code
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func sameText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// literal returns a value as JSON, nil for none.
func literal(v any) jsontext.Value {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil || string(b) == "null" {
		return nil
	}
	return b
}
