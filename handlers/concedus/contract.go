package concedus

import (
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/unicode/norm"

	"github.com/seed75441868/postern/handlers"
)

// nativeContract is a contract as the lists show it (Tied agent: Get open
// contracts; Issuer: Get open contracts). The agent's says when it was signed,
// issuers' who invests and when it was created.
type nativeContract struct {
	Key          text           `json:"key"`
	UpdatedDate  text           `json:"updatedDate"`
	Signed       text           `json:"signed"`
	Created      text           `json:"created"`
	Type         text           `json:"type"`
	Product      text           `json:"product"`
	InvestorName text           `json:"investorName"`
	Share        amount         `json:"share"`
	Agio         amount         `json:"agio"`
	Unknown      jsontext.Value `json:",embed"`
}

// contract is the tracked projection of a contract: all that is known of it.
// It is sealed wherever it is kept.
type contract struct {
	Key       string `json:"key"`       // Concedus' own, personal
	Pseudonym string `json:"pseudonym"` // what stands for it
	Owner     string `json:"owner,omitempty"`

	Updated      *moment `json:"updated,omitempty"`
	Signed       *moment `json:"signed,omitempty"`
	Created      *moment `json:"created,omitempty"`
	Type         *string `json:"type,omitempty"`
	Product      *string `json:"product,omitempty"`
	InvestorName *string `json:"investorName,omitempty"` // personal
	Share        string  `json:"share,omitempty"`
	Agio         string  `json:"agio,omitempty"`

	Repaired bool     `json:"repaired,omitzero"` // it was no UTF-8
	Strange  []string `json:"strange,omitempty"` // members that are unknown or not as documented
}

// maxStrange is how many strange members a contract may name.
const maxStrange = 16

// readContract reads an element of a list. It fails with
// [handlers.ErrIncomplete] if that is no contract with a key.
func readContract(element []byte, owner string, pseudonym func(string) string) (contract, error) {
	element, repaired := repair(element)
	var n nativeContract
	if err := json.Unmarshal(element, &n, tolerant); err != nil || n.Key.value == "" {
		return contract{}, handlers.ErrIncomplete
	}
	c := contract{
		Key: n.Key.value, Pseudonym: pseudonym(norm.NFC.String(n.Key.value)), Owner: owner,
		Updated: n.UpdatedDate.moment(), Signed: n.Signed.moment(), Created: n.Created.moment(),
		Type: n.Type.composed(), Product: n.Product.composed(), InvestorName: n.InvestorName.composed(),
		Share: n.Share.value, Agio: n.Agio.value,
		Repaired: repaired,
	}
	for _, member := range []struct {
		name string
		odd  bool
	}{
		{"updatedDate", n.UpdatedDate.odd || c.Updated.unclear()},
		{"signed", n.Signed.odd || c.Signed.unclear()},
		{"created", n.Created.odd || c.Created.unclear()},
		{"type", n.Type.odd},
		{"product", n.Product.odd},
		{"investorName", n.InvestorName.odd},
		{"share", n.Share.odd},
		{"agio", n.Agio.odd},
	} {
		if member.odd {
			c.Strange = append(c.Strange, member.name)
		}
	}
	c.Strange = append(c.Strange, namesOf(n.Unknown)...)
	c.Strange = c.Strange[:min(len(c.Strange), maxStrange)]
	return c, nil
}

func (t text) moment() *moment {
	if t.value == "" {
		return nil
	}
	m := readMoment(t.value)
	return &m
}

func (m *moment) unclear() bool { return m != nil && m.At == "" }

// identifier is what programmers call a field. Other names may be anything.
var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// namesOf returns the names of the members that nobody knows, in order.
func namesOf(unknown jsontext.Value) []string {
	var members map[string]jsontext.Value
	if len(unknown) == 0 || json.Unmarshal(unknown, &members, jsontext.AllowInvalidUTF8(true)) != nil {
		return nil
	}
	var names []string
	for name := range members {
		if identifier.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// state returns the projection as it is kept.
func (c contract) state() (jsontext.Value, error) {
	b, err := json.Marshal(c, json.Deterministic(true))
	if err != nil {
		return nil, handlers.ErrIncomplete // the library's errors quote values
	}
	return b, nil
}

// decodeContract reads what state wrote.
func decodeContract(state jsontext.Value) (contract, bool) {
	var c contract
	err := json.Unmarshal(state, &c)
	return c, err == nil && c.Pseudonym != ""
}

// entity returns the key of the record of a contract on a list: a pseudonym
// behind the list's name. It has the characters of a subject token, which a
// hash behind "=" in its midst would not be.
func (c contract) entity() string {
	if c.Owner == "" {
		return "agent-" + c.Pseudonym
	}
	return "issuer-" + c.Owner + "-" + c.Pseudonym
}
