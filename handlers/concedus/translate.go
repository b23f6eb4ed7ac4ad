package concedus

import (
	"regexp"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// code is what a kind of contract looks like. Anything else might be text about
// somebody.
var code = regexp.MustCompile(`^[A-Za-z0-9_-]{1,16}$`)

// usualType is a kind of the usual form.
var usualType = regexp.MustCompile(`^([PR])([PV])([0-9])$`)

// contract returns the data that all events of a contract have.
func (t *telling) contract() schemas.Contract {
	is := t.is
	list := "agent"
	if is.Owner != "" {
		list = "issuer"
	}
	data := schemas.Contract{
		Platform: Name, Observed: t.c.Observed(),
		ContractKey: &is.Pseudonym, List: &list, Owner: optional(is.Owner),
		Product: is.Product, Amount: money(is.Share), FrontEndFee: money(is.Agio),
		Derived: is.derived(), EncodingRepaired: is.Repaired,
	}
	if is.Type != nil && code.MatchString(*is.Type) {
		data.NativeType = is.Type
	}
	if is.Signed != nil {
		data.Signed = optional(is.Signed.At) // a date stays one
	}
	data.Created, data.Updated = optional(is.Created.rfc3339()), optional(is.Updated.rfc3339())
	for _, of := range is.moments() {
		if of.at == nil || of.at.At == "" {
			continue
		}
		if of.at.Raw != of.at.At {
			if data.AsSaid == nil {
				data.AsSaid = map[string]string{}
			}
			data.AsSaid[of.name] = of.at.Raw
		}
		if of.at.Assumed {
			data.ZoneAssumed = append(data.ZoneAssumed, of.name)
		}
	}
	return data
}

// dated is a time of a contract, by the vocabulary's name.
type dated struct {
	name string
	at   *moment
}

func (c contract) moments() []dated {
	return []dated{{"created", c.Created}, {"signed", c.Signed}, {"updated", c.Updated}}
}

// hidden returns what the open events don't say because it may be anything: the
// times that can't be read, and a kind that is no code.
func (c contract) hidden() (asSaid map[string]string, nativeType *string) {
	for _, of := range c.moments() {
		if of.at.unclear() {
			if asSaid == nil {
				asSaid = map[string]string{}
			}
			asSaid[of.name] = of.at.Raw
		}
	}
	if c.Type != nil && !code.MatchString(*c.Type) {
		nativeType = c.Type
	}
	return asSaid, nativeType
}

// derived returns what a kind of the usual form seems to say: who invests, on
// which market, and how far the contract is. It is inferred from the lists that
// show which kinds, and nothing follows from it here.
func (c contract) derived() *schemas.ContractType {
	if c.Type == nil {
		return nil
	}
	m := usualType.FindStringSubmatch(*c.Type)
	if m == nil {
		return nil
	}
	stage, _ := strconv.Atoi(m[3]) // a digit
	return &schemas.ContractType{
		InvestorClass: map[string]string{"P": "professional", "R": "retail"}[m[1]],
		Market:        map[string]string{"P": "primary", "V": "secondary"}[m[2]],
		Stage:         stage, Inferred: true,
	}
}

// drift returns what the vocabulary doesn't know of a contract, and did not
// meet in the contract before.
func (c contract) drift(before *contract) []schemas.Drift {
	var drift []schemas.Drift
	for _, name := range c.Strange {
		if before == nil || !slices.Contains(before.Strange, name) {
			drift = append(drift, schemas.Drift{Platform: Name, Path: "contracts." + name})
		}
	}
	if c.Type != nil && c.derived() == nil && (before == nil || !sameText(before.Type, c.Type)) {
		d := schemas.Drift{Platform: Name, Path: "contracts.type"}
		if code.MatchString(*c.Type) {
			d.Value = c.Type
		}
		drift = append(drift, d)
	}
	return drift
}

// drift returns what the vocabulary doesn't know of a compliance status. A
// grave code is not told even so.
func (s *status) drift() []schemas.Drift {
	if s == nil {
		return nil
	}
	var drift []schemas.Drift
	for _, name := range s.Strange {
		drift = append(drift, schemas.Drift{Platform: Name, Path: "compliance." + name})
	}
	if !s.known() {
		d := schemas.Drift{Platform: Name, Path: "compliance.status"}
		if !s.grave() {
			d.Value = optional(strconv.Itoa(s.Code))
		}
		drift = append(drift, d)
	}
	return drift
}

// differences is what is different in a contract.
type differences struct {
	open      []schemas.Difference // without personal values
	personal  []schemas.Difference // with their values
	regressed bool
}

// diff compares two states of a contract. A later updatedDate alone is no
// difference: the platform touched it, and nothing came of it.
func (c contract) diff(now contract) differences {
	var d differences
	add := func(path string, old, now jsontext.Value) {
		if x, different := difference(path, old, now); different {
			d.open = append(d.open, x)
		}
	}
	secret := func(path string, old, now *string) {
		if x, different := difference(path, literal(old), literal(now)); different {
			d.personal = append(d.personal, x)
			d.open = append(d.open, schemas.Difference{Path: x.Path, Op: x.Op})
		}
	}
	if !sameAmount(c.Share, now.Share) {
		add("/amount", literal(money(c.Share)), literal(money(now.Share)))
	}
	if !sameAmount(c.Agio, now.Agio) {
		add("/frontEndFee", literal(money(c.Agio)), literal(money(now.Agio)))
	}
	if !c.Created.same(now.Created) {
		add("/created", literal(optional(c.Created.rfc3339())), literal(optional(now.Created.rfc3339())))
	}
	if !c.Signed.same(now.Signed) {
		add("/signed", literal(c.Signed.text()), literal(now.Signed.text()))
	}
	add("/product", literal(c.Product), literal(now.Product))
	if isCode(c.Type) && isCode(now.Type) {
		add("/nativeType", literal(c.Type), literal(now.Type))
	} else {
		secret("/nativeType", c.Type, now.Type)
	}
	secret("/investorName", c.InvestorName, now.InvestorName)

	before, okBefore := c.Updated.instant()
	after, okAfter := now.Updated.instant()
	if d.regressed = okBefore && okAfter && after.Before(before); d.regressed {
		add("/updated", literal(optional(c.Updated.rfc3339())), literal(optional(now.Updated.rfc3339())))
	}
	return d
}

func isCode(s *string) bool { return s == nil || code.MatchString(*s) }

// text returns the time as it is told, nil for none.
func (m *moment) text() *string {
	if m == nil {
		return nil
	}
	return optional(m.At)
}

func difference(path string, old, now jsontext.Value) (schemas.Difference, bool) {
	d := schemas.Difference{Path: path, Old: old, New: now}
	switch {
	case string(old) == string(now):
		return d, false
	case old == nil:
		d.Op = "add"
	case now == nil:
		d.Op = "remove"
	default:
		d.Op = "replace"
	}
	return d, true
}
