package accesscontrols

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// document is the tracked projection of a document: what of it matters, in one
// spelling, with no user's id in it.
type document struct {
	API        string         `json:"api"` // v1 or v2
	View       View           `json:"view,omitempty"`
	Shared     bool           `json:"shared,omitzero"`
	ID         string         `json:"id"` // the tranche's or deal's
	RowVersion *int64         `json:"rowVersion,omitempty"`
	CreatedAt  string         `json:"createdAt,omitempty"`  // RFC 3339
	CreatedBy  string         `json:"createdBy,omitempty"`  // a pseudonym
	ModifiedAt string         `json:"modifiedAt,omitempty"` // RFC 3339
	ModifiedBy string         `json:"modifiedBy,omitempty"` // a pseudonym
	ZoneGuess  bool           `json:"zoneGuess,omitzero"`   // a time had no zone
	Doc        jsontext.Value `json:"doc"`
}

// flags is the tracked projection of an offering.
type flags struct {
	TrancheID  string          `json:"trancheId"`
	Shared     bool            `json:"shared,omitzero"`
	Flags      map[string]bool `json:"flags"`
	ReleaseAPI string          `json:"releaseApi"` // where allocationsReleased comes from: v1 or v2
	SourceID   string          `json:"sourceId,omitempty"`
	ModifiedAt string          `json:"modifiedAt,omitempty"`
	ModifiedBy string          `json:"modifiedBy,omitempty"`
}

// The flags of a v1 document that say how an offering is.
const (
	flagBook       = "bookOpen"
	flagHedgeBook  = "hedgeBookOpen"
	flagReleased   = "allocationsReleased"
	flagTranche    = "trancheVisible"
	flagAllocation = "allocationsVisible"
	flagInvestor   = "allocationsVisibleToInvestor"
)

var offeringFlags = []string{flagBook, flagHedgeBook, flagReleased, flagTranche, flagAllocation, flagInvestor}

// projector makes projections. It is for documents of one view.
type projector struct {
	full      bool
	pseudonym func(string) string
}

// project returns the projection of a document, without the names of members
// that are taken out of it first.
func (p projector) project(native map[string]any, s *shape, without []string) document {
	var d document
	rest := make(map[string]any, len(native))
	for name, v := range native {
		rest[name] = v
	}
	take := func(names ...string) any {
		var v any
		for _, name := range names {
			if found := member(rest, name); v == nil {
				v = found
			}
			for other := range rest {
				if strings.EqualFold(other, name) {
					delete(rest, other)
				}
			}
		}
		return v
	}
	take("trancheId", "dealId")
	if n, err := strconv.ParseInt(textOf(take("rowVersion")), 10, 64); err == nil && n >= 0 {
		d.RowVersion = &n
	}
	d.CreatedAt = d.time(take("createdTimestamp", "createdDateTime"))
	d.ModifiedAt = d.time(take("lastModifiedTimestamp", "lastModifiedDateTime"))
	d.CreatedBy = p.user(take("createdByUserId", "createdBy"))
	d.ModifiedBy = p.user(take("lastModifiedByUserId", "lastModifiedBy"))
	for _, name := range without {
		take(name)
	}
	doc, _ := p.value(rest, s)
	d.Doc = encode(doc)
	return d
}

// time reads one of .NET's times: RFC 3339 with up to seven digits of a
// fraction. One without a zone is taken for UTC and flagged.
func (d *document) time(v any) string {
	s, _ := v.(string)
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		if t.Year() > 1 && schemas.IsTime(s) { // DateTime's default is the year 1
			return s
		}
		return ""
	}
	if t, err := time.Parse("2006-01-02T15:04:05", s); err == nil && t.Year() > 1 {
		d.ZoneGuess = true
		return schemas.FormatTime(t)
	}
	return ""
}

func (p projector) user(v any) string {
	if s := textOf(v); s != "" {
		return p.pseudonym(s)
	}
	return ""
}

// value projects what is at a place. What says nothing is not kept: null, an
// empty set, an object without members.
func (p projector) value(v any, s *shape) (out any, keep bool) {
	if v == nil {
		return nil, false
	}
	switch s.kind {
	case kindObject, kindDict:
		if object, ok := v.(map[string]any); ok {
			return p.object(object, s)
		}
	case kindRule:
		if b, ok := v.(bool); ok {
			return b, true
		}
		if p.full {
			return p.set(v, documented.rule)
		}
	case kindSet:
		return p.set(v, s)
	case kindBool:
		if b, ok := v.(bool); ok {
			return b, true
		}
	case kindEnum:
		if e, ok := v.(string); ok && identifier(e) {
			return e, true
		}
	case kindText:
		if t := textOf(v); t != "" && len(t) <= 200 {
			return t, true
		}
	case kindWord:
		if t := textOf(v); isWord(t) {
			return t, true
		}
	case kindUser:
		if t := textOf(v); t != "" {
			return p.pseudonym(t), true
		}
	case kindNumber:
		if n, ok := number(textOf(v)); ok {
			return n, true
		}
	}
	if v == "" {
		return nil, false
	}
	return p.unknown(v), true
}

func (p projector) object(object map[string]any, s *shape) (any, bool) {
	out := map[string]any{}
	put := func(within, name string, v any) {
		to := out
		if within != "" {
			inner, ok := out[within].(map[string]any)
			if !ok {
				inner = map[string]any{}
				out[within] = inner
			}
			to = inner
		}
		if _, taken := to[name]; !taken {
			to[name] = v
		}
	}
	for _, name := range spelled(object, s) {
		if s.kind == kindDict {
			v, keep := p.value(object[name], s.of)
			if !keep { // that it is there says something
				v = map[string]any{}
			}
			put("", p.name(name), v)
			continue
		}
		at, known := s.find(name)
		switch v := object[name]; {
		case v == nil:
		case !known:
			put("", p.name(name), p.unknown(v))
		default:
			if v, keep := p.value(v, at.shape); keep {
				put(at.within, at.name, v)
			}
		}
	}
	return out, len(out) > 0
}

// spelled returns the names of an object's members, first those that are
// spelled as documented, and those that belong into others last.
func spelled(object map[string]any, s *shape) []string {
	rank := func(name string) int {
		switch at, known := s.find(name); {
		case known && at.within != "":
			return 2
		case known && at.name == name:
			return 0
		}
		return 1
	}
	names := sortedKeys(object)
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}

// set projects an array whose order says nothing. A single element may stand
// without its array.
func (p projector) set(v any, s *shape) (any, bool) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	type element struct {
		tree any
		text []byte
	}
	elements := make([]element, 0, len(list))
	for _, e := range list {
		if tree, keep := p.value(e, s.of); keep {
			elements = append(elements, element{tree, encode(tree)})
		}
	}
	slices.SortFunc(elements, func(a, b element) int { return bytes.Compare(a.text, b.text) })
	elements = slices.CompactFunc(elements, func(a, b element) bool { return bytes.Equal(a.text, b.text) })
	out := make([]any, len(elements))
	for i, e := range elements {
		out[i] = e.tree
	}
	return out, len(out) > 0
}

// unknown returns what may be kept of something that nobody knows, which may be
// personal: what is true or false, and of all else whether it changes.
func (p projector) unknown(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, m := range v {
			out[p.name(name)] = p.unknown(m)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = p.unknown(e)
		}
		return out
	case string:
		return hidden + p.pseudonym(v)
	case jsontext.Value:
		return hidden + p.pseudonym(string(v))
	}
	return v
}

// hidden begins what stands for something that was not kept.
const hidden = "="

// name returns a member's name, unless it doesn't look like one.
func (p projector) name(s string) string {
	if identifier(s) {
		return s
	}
	return hidden + p.pseudonym(s)
}

var (
	word = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,63}$`)
	uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// isWord reports whether s looks like the name of a role or a region. One with
// many digits may be somebody's number.
func isWord(s string) bool { return word.MatchString(s) && digits(s) <= 4 || uuid.MatchString(s) }

// identifier reports whether s looks like what programmers call something. One
// with many digits may be somebody's number.
func identifier(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64 && digits(s) <= 4
}

func digits(s string) int {
	n := 0
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			n++
		}
	}
	return n
}

// plainNumber is a decimal number without an exponent.
var plainNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?$`)

// number returns a number in one spelling: 5, 5.0 and 5.00 are the same.
func number(s string) (jsontext.Value, bool) {
	if !plainNumber.MatchString(s) {
		return nil, false
	}
	if strings.Contains(s, ".") {
		s = strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		s = "0"
	}
	return jsontext.Value(s), true
}

// sourceID returns the id that the document's source has for it.
func (d document) sourceID() string {
	tree, err := parse(d.Doc)
	if err != nil {
		return ""
	}
	return textOf(at(tree, "sourceMetadata", "sourceId"))
}
