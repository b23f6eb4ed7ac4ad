package corastone

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// field says where a value may be in an answer whose body is undocumented:
// dotted paths, the likeliest first.
type field struct {
	name  string // as the vocabulary calls it
	paths []string
	// documented says that the first path is one that the guide names, for
	// this object or in a filter of its endpoint.
	documented bool
}

// Where values are looked for. This is the only place that guesses: what is
// not found under any of these names is null, what is found under a guessed one
// is listed under inferred, and everything is verbatim on the twin.
var (
	assetID       = field{"assetId", []string{"assetId", "id"}, true}
	assetStatus   = field{"nativeStatus", []string{"status", "assetStatus", "state"}, true}
	securityID    = field{"securityId", []string{"securityId", "issuanceId", "transactionData.securityId", "security.securityId"}, true}
	shareClassID  = field{"shareClassId", []string{"shareClassSecurityId", "shareClassId", "shareClass.securityId"}, false}
	correlations  = field{"correlationIds", []string{"correlationData", "correlationIds", "correlations"}, true}
	amount        = field{"amount", []string{"amount", "investmentAmount", "transactionData.amount", "subscriptionAmount", "totalAmount"}, false}
	currency      = field{"currency", []string{"currency", "currencyCode", "transactionData.currency", "security.currency"}, false}
	units         = field{"units", []string{"units", "sharesNumber", "numberOfUnits", "transactionData.units", "quantity"}, false}
	price         = field{"price", []string{"price", "unitPrice", "pricePerUnit", "transactionData.price"}, false}
	frontEndFee   = field{"frontEndFee", []string{"frontEndFee", "fees.frontEndFee", "transactionData.frontEndFee"}, false}
	issueDate     = field{"issueDate", []string{"issueDate", "issuedDate"}, false}
	settledDate   = field{"settlementDate", []string{"settlementDate", "settledDate", "settleDate"}, false}
	securityState = field{"nativeStatus", []string{"status", "securityStatus", "state"}, true}
	securityName  = field{"name", []string{"name", "securityName", "title"}, false}
	securityType  = field{"securityType", []string{"type", "securityType"}, true}
	restricted    = field{"nativeRestricted", []string{"restricted", "isRestricted"}, false}
	orgID         = field{"orgId", []string{"orgId", "organization.orgId"}, true}
	commentID     = field{"commentId", []string{"commentId"}, true}
	rowStatus     = field{"nativeStatus", []string{"status"}, true}
)

// row is an answer's row, of which values are looked for.
type row struct {
	members  map[string]jsontext.Value
	inferred []string
}

// readRow reads an object. It reports whether it is one.
func readRow(v jsontext.Value) (*row, bool) {
	r := &row{}
	if v.Kind() != jsontext.KindBeginObject || json.Unmarshal(v, &r.members) != nil {
		return nil, false
	}
	return r, true
}

// find returns the value of a field, nil if it is absent or null.
func (r *row) find(f field) jsontext.Value {
	for i, path := range f.paths {
		v := lookUp(r.members, path)
		if !isSaid(v) {
			continue
		}
		if (i > 0 || !f.documented) && !slices.Contains(r.inferred, f.name) {
			r.inferred = append(r.inferred, f.name)
		}
		return v
	}
	return nil
}

func lookUp(members map[string]jsontext.Value, path string) jsontext.Value {
	name, rest, nested := strings.Cut(path, ".")
	v := members[name]
	if !nested || v.Kind() != jsontext.KindBeginObject {
		if nested {
			return nil
		}
		return v
	}
	var inner map[string]jsontext.Value
	if json.Unmarshal(v, &inner) != nil {
		return nil
	}
	return lookUp(inner, rest)
}

// text returns a field that is a text or a number, "" if it is neither.
func (r *row) text(f field) string { return scalar(r.find(f)) }

// optional returns a field that is a text or a number.
func (r *row) optional(f field) *string { return optional(r.text(f)) }

func scalar(v jsontext.Value) string {
	switch v.Kind() {
	case jsontext.KindString:
		var s string
		if json.Unmarshal(v, &s) == nil {
			return s
		}
	case jsontext.KindNumber:
		return string(v)
	}
	return ""
}

// money returns an amount, with the row's currency if it says one; an amount
// can be an object of both as well.
func (r *row) money(f field) *schemas.Money {
	v := r.find(f)
	if v.Kind() == jsontext.KindBeginObject {
		inner, ok := readRow(v)
		if !ok {
			return nil
		}
		value := inner.text(field{paths: []string{"value", "amount"}})
		if !isDecimal(value) {
			return nil
		}
		return &schemas.Money{Value: value, Currency: inner.text(field{paths: []string{"currency", "currencyCode"}})}
	}
	value := scalar(v)
	if !isDecimal(value) {
		return nil
	}
	code := r.text(currency)
	r.inferred = slices.DeleteFunc(r.inferred, func(name string) bool { return name == currency.name })
	return &schemas.Money{Value: value, Currency: code}
}

// isDecimal reports whether a text is a number that can be handed on as it is.
func isDecimal(s string) bool {
	v := jsontext.Value(s)
	return v.IsValid() && v.Kind() == jsontext.KindNumber && !strings.ContainsAny(s, "eE") && len(s) <= 64
}

// decimal returns a field that is a number.
func (r *row) decimal(f field) *string {
	if s := r.text(f); isDecimal(s) {
		return &s
	}
	return nil
}

// date returns a field that is a time, as the platform wrote it.
func (r *row) date(f field) *string {
	v := r.find(f)
	var m moment
	if v == nil || json.Unmarshal(v, &m) != nil || m.at == "" {
		return nil
	}
	return optional(scalar(v))
}

// boolean returns a field that is true or false.
func (r *row) boolean(f field) *bool {
	switch r.find(f).Kind() {
	case jsontext.KindTrue:
		yes := true
		return &yes
	case jsontext.KindFalse:
		no := false
		return &no
	}
	return nil
}

// correlationIDs returns the ids that organisations gave something: a list of
// objects, or of texts.
func (r *row) correlationIDs() *[]schemas.CorrelationID {
	v := r.find(correlations)
	var list []jsontext.Value
	if v.Kind() == jsontext.KindBeginObject {
		list = []jsontext.Value{v}
	} else if v.Kind() != jsontext.KindBeginArray || json.Unmarshal(v, &list) != nil {
		return nil
	}
	ids := []schemas.CorrelationID{}
	for _, v := range list {
		if s := scalar(v); s != "" {
			ids = append(ids, schemas.CorrelationID{CorrelationID: s})
			continue
		}
		inner, ok := readRow(v)
		if !ok {
			continue
		}
		if id := inner.text(field{paths: []string{"correlationId", "id"}}); id != "" {
			ids = append(ids, schemas.CorrelationID{CorrelationID: id, OrgID: inner.optional(orgID)})
		}
	}
	return &ids
}

// guessed returns the names of the fields that were found under a name that
// the platform does not document, sorted.
func (r *row) guessed() []string {
	slices.Sort(r.inferred)
	return r.inferred
}
