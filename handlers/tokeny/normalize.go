package tokeny

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// The words that the vocabulary knows. Others are passed on and flagged. Who
// performs a KYC is a name and not one of some words.
var known = map[string]map[string]bool{
	"status":         words("registered pending qualified"),
	"kycStatus":      words("not_checked pending approved"),
	"investorType":   words("individual institution"),
	"walletProvider": words("user_managed integrated"),
}

// normalize implements the Normalize of [handlers.Platform].
func normalize(d handlers.Delivery) (handlers.Output, error) {
	switch d.Role {
	case RoleCandidates:
	case RoleDrift:
		return normalizeDrift(d)
	default:
		return handlers.Output{}, unusable(schemas.ReasonUnknownKind, "role is none of "+Name)
	}
	c, err := handlers.DecodeChange(d.Payload)
	if err != nil {
		return handlers.Output{}, unusable(schemas.ReasonBadJSON, err.Error())
	}
	if c.Role != RoleCandidates {
		return handlers.Output{}, unusable(schemas.ReasonUnknownKind, "the part that changed is none of "+Name)
	}
	t, err := newTranslation(d, c)
	if err != nil {
		return handlers.Output{}, err
	}
	t.translate()
	return t.out, nil
}

// translation is the state of translating one change.
type translation struct {
	delivery  handlers.Delivery
	change    handlers.Change
	first     bool // it was not known before
	was, is   seen
	token, id string
	out       handlers.Output
}

// seen is an investor as it was seen last, and whether it still is.
type seen struct {
	tracked
	absent bool
	holder *holding // what was said by the list of holders, if it was asked
}

// qualified reports whether the investor may hold the token, as far as is
// known: being listed nowhere ends it, and not being listed among candidates
// doesn't.
func (s seen) qualified() bool {
	gone := s.absent && s.holder != nil && s.holder.Found != nil && !*s.holder.Found
	return s.tracked.qualified() && !gone
}

func newTranslation(d handlers.Delivery, c handlers.Change) (*translation, error) {
	before, after := c.Before(), c.After()
	t := &translation{delivery: d, change: c, first: before.State == nil, token: after.Container}
	id, ok := strings.CutPrefix(c.Key, after.Container+"-")
	if !ok || !isID(id) || !isID(after.Container) {
		return nil, unusable(schemas.ReasonInvalidEvent, "key is none of an investor of the token")
	}
	t.id = id
	var err error
	if t.is, err = look(after); err != nil {
		return nil, err
	}
	if !t.first {
		t.was, err = look(before)
	}
	return t, err
}

func look(p handlers.Part) (seen, error) {
	t, err := decodeTracked(p.State)
	if err != nil {
		return seen{}, unusable(schemas.ReasonInvalidEvent, err.Error())
	}
	s := seen{tracked: t, absent: p.Absent, holder: t.Holder}
	if p.Absent && p.Evidence != nil {
		s.holder = &holding{}
		if json.Unmarshal(p.Evidence, s.holder) != nil {
			return seen{}, unusable(schemas.ReasonInvalidEvent, "evidence is none of "+Name)
		}
	}
	return s, nil
}

// difference is a member of the data that may differ.
type difference struct {
	typ      schemas.Type // of the event that tells it
	path     string
	old, new string
	hidden   bool // only that it differs is told
}

func (t *translation) differences() []difference {
	was, is := t.was, t.is
	return []difference{
		{schemas.InvestorIdentityChanged, "/identity", was.Identity, is.Identity, true},
		{schemas.InvestorIdentityChanged, "/emailHash", was.EmailHash, is.EmailHash, false},
		{schemas.InvestorIdentityChanged, "/investorType", was.InvestorType, is.InvestorType, false},
		{schemas.InvestorIdentityChanged, "/country", was.Country, is.Country, false},
		{schemas.InvestorIdentityChanged, "/createdAt", was.CreatedAt, is.CreatedAt, false},
		{schemas.InvestorStatusChanged, "/nativeStatus", was.Status, is.Status, false},
		{schemas.InvestorStatusChanged, "/currentSection", was.Section, is.Section, false},
		{schemas.InvestorKYCChanged, "/kycStatus", was.KYCStatus, is.KYCStatus, false},
		{schemas.InvestorKYCChanged, "/kycProvider", was.KYCProvider, is.KYCProvider, false},
		{schemas.InvestorWalletChanged, "/walletHash", was.WalletHash, is.WalletHash, false},
		{schemas.InvestorWalletChanged, "/walletProvider", was.WalletProvider, is.WalletProvider, false},
	}
}

func (t *translation) translate() {
	switch {
	case t.first:
		t.tell(schemas.InvestorAdded, nil)
	case t.was.absent && !t.is.absent:
		t.tell(schemas.InvestorReappeared, nil)
	}
	if !t.first {
		changes := map[schemas.Type][]schemas.Difference{}
		for _, d := range t.differences() {
			if d.old != d.new {
				changes[d.typ] = append(changes[d.typ], d.told())
			}
		}
		for _, typ := range []schemas.Type{
			schemas.InvestorIdentityChanged, schemas.InvestorStatusChanged, schemas.InvestorKYCChanged, schemas.InvestorWalletChanged,
		} {
			if len(changes[typ]) > 0 {
				t.tell(typ, changes[typ])
			}
		}
	}
	if t.is.absent && !t.was.absent {
		t.tell(schemas.InvestorAbsent, nil)
	}
	switch before := !t.first && t.was.qualified(); {
	case !before && t.is.qualified():
		t.tell(schemas.InvestorQualified, nil)
	case before && !t.is.qualified():
		t.tell(schemas.InvestorDisqualified, nil)
	}
	t.drift("status", t.was.Status, t.is.Status)
	t.drift("kycStatus", t.was.KYCStatus, t.is.KYCStatus)
	t.drift("investorType", t.was.InvestorType, t.is.InvestorType)
	t.drift("walletProvider", t.was.WalletProvider, t.is.WalletProvider)
}

// told returns how a difference is told.
func (d difference) told() schemas.Difference {
	out := schemas.Difference{Path: d.path, Op: "replace"}
	switch {
	case d.old == "":
		out.Op = "add"
	case d.new == "":
		out.Op = "remove"
	}
	if d.hidden {
		return out
	}
	out.Old, out.New = quoted(d.old), quoted(d.new)
	return out
}

// quoted returns a text as JSON, nothing if it is empty.
func quoted(s string) jsontext.Value {
	if s == "" {
		return nil
	}
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return nil // it was decoded strictly, so this can't be
	}
	return b
}

func (t *translation) tell(typ schemas.Type, changes []schemas.Difference) {
	e := t.change.Event(t.delivery, typ, t.change.Key, t.data(changes))
	if typ == schemas.InvestorAdded && t.is.CreatedAt != "" {
		e.Time = t.is.CreatedAt
	}
	e.Unknown = strange("status", t.is.Status) || strange("kycStatus", t.is.KYCStatus) ||
		strange("investorType", t.is.InvestorType) || strange("walletProvider", t.is.WalletProvider)
	t.out.Events = append(t.out.Events, e)
}

func (t *translation) data(changes []schemas.Difference) schemas.Investor {
	i := schemas.Investor{
		Platform: Name, TokenID: t.token, CandidateID: t.id,
		NativeStatus: optional(t.is.Status), CurrentSection: optional(t.is.Section),
		KYCStatus: optional(t.is.KYCStatus), KYCProvider: optional(t.is.KYCProvider),
		WalletHash: optional(t.is.WalletHash), WalletProvider: optional(t.is.WalletProvider),
		EmailHash: optional(t.is.EmailHash), InvestorType: optional(t.is.InvestorType),
		Country: optional(t.is.Country), CreatedAt: optional(t.is.CreatedAt),
		Changes: changes, Observed: t.change.Observed(),
	}
	if t.was.Status != t.is.Status {
		i.PreviousStatus = optional(t.was.Status)
	}
	if t.was.KYCStatus != t.is.KYCStatus {
		i.PreviousKYCStatus = optional(t.was.KYCStatus)
	}
	if t.was.WalletHash != t.is.WalletHash {
		i.PreviousWallet = optional(t.was.WalletHash)
	}
	if h := t.is.holder; h != nil {
		i.Holder = &schemas.InvestorHolder{Found: h.Found, Status: optional(h.Status)}
		if h.Code != 0 {
			i.Holder.Code = &h.Code
		}
	}
	return i
}

// drift notes a word that the vocabulary doesn't know when it is there first.
// One that doesn't look like a word may be anything, and is not repeated.
func (t *translation) drift(name, was, is string) {
	if is == was || !strange(name, is) {
		return
	}
	d := schemas.Drift{Platform: Name, Path: "candidates.items." + name}
	if isName(strings.ReplaceAll(is, "-", "_")) {
		d.Value = &is
	}
	t.out.Drift = append(t.out.Drift, d)
}

// strange reports whether a word is none that the vocabulary knows.
func strange(name, word string) bool {
	return word != "" && !known[name][strings.ToLower(word)]
}

func unusable(reason schemas.Reason, detail string) error {
	return &handlers.UnusableError{Reason: reason, Detail: detail}
}

// optional returns nil for an empty text, which says as much as none.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
