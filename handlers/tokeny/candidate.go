package tokeny

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// candidate is an investor as the platform lists them (Get candidates). It
// lives only until it is [tracked]. A null says as much as an absent member.
type candidate struct {
	ID             string  `json:"id"`
	Email          string  `json:"email"`
	Name           string  `json:"name"`         // "" was seen
	InvestorType   string  `json:"investorType"` // individual, institution
	Status         string  `json:"status"`       // registered, pending, qualified
	KYCStatus      string  `json:"kycStatus"`    // not_checked, pending, approved
	KYCProvider    string  `json:"kycProvider"`  // a name; MANUAL was seen
	CurrentSection string  `json:"currentSection"`
	Country        string  `json:"country"` // ISO 3166, three letters
	Wallet         string  `json:"wallet"`  // its case varies
	WalletProvider string  `json:"walletProvider"`
	CreatedAt      string  `json:"createdAt"`
	LastLogin      skipped `json:"lastLogin"` // says how people behave, and nothing of what they are
	// Unknown has the names of all other members. Their values may be anything.
	Unknown map[string]skipped `json:",embed"`
}

// skipped is a value that is not kept.
type skipped struct{}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (*skipped) UnmarshalJSONFrom(dec *jsontext.Decoder) error { return dec.SkipValue() }

// tracked is what is remembered of an investor. Hashes are pseudonyms.
type tracked struct {
	Status         string `json:"status"` // never left out: an empty object would be
	Section        string `json:"section,omitempty"`
	KYCStatus      string `json:"kycStatus,omitempty"`
	KYCProvider    string `json:"kycProvider,omitempty"`
	WalletHash     string `json:"walletHash,omitempty"`
	WalletProvider string `json:"walletProvider,omitempty"`
	EmailHash      string `json:"emailHash,omitempty"`
	Identity       string `json:"identity,omitempty"` // of name and mail address together
	InvestorType   string `json:"investorType,omitempty"`
	Country        string `json:"country,omitempty"`
	CreatedAt      string `json:"createdAt,omitempty"` // RFC 3339
	// Holder is set if it was found among the holders and not among the
	// candidates. All but the status is as it was before then.
	Holder *holding `json:"holder,omitempty"`
}

// holding is what a list of holders said of an investor. It is the evidence of
// one that was looked for there in vain, too.
type holding struct {
	Found  *bool  `json:"found"`            // nil: not all holders could be read
	Status string `json:"status,omitempty"` // the holder's, if it says one
	Code   int64  `json:"code,omitempty"`   // what the platform answered instead of a list
}

// statusQualified is the status of a candidate that may hold the token.
const statusQualified = "qualified"

// qualified reports whether an investor may hold the token: its status says
// so, or it is a holder whose status says nothing.
func (t tracked) qualified() bool {
	return strings.EqualFold(t.Status, statusQualified) || t.Holder != nil && t.Holder.Status == ""
}

// encode appends the state of a sighting to dst, whose room it uses. It writes
// what package json would: there can be a hundred thousand in a scan.
func (t tracked) encode(dst []byte) (jsontext.Value, error) {
	dst, err := jsontext.AppendQuote(append(dst, `{"status":`...), t.Status)
	for _, member := range [...]struct{ name, value string }{
		{`,"section":`, t.Section},
		{`,"kycStatus":`, t.KYCStatus},
		{`,"kycProvider":`, t.KYCProvider},
		{`,"walletHash":`, t.WalletHash},
		{`,"walletProvider":`, t.WalletProvider},
		{`,"emailHash":`, t.EmailHash},
		{`,"identity":`, t.Identity},
		{`,"investorType":`, t.InvestorType},
		{`,"country":`, t.Country},
		{`,"createdAt":`, t.CreatedAt},
	} {
		if member.value != "" && err == nil {
			dst, err = jsontext.AppendQuote(append(dst, member.name...), member.value)
		}
	}
	if t.Holder != nil && err == nil {
		var holder []byte
		holder, err = json.Marshal(t.Holder, json.Deterministic(true))
		dst = append(append(dst, `,"holder":`...), holder...)
	}
	if err != nil {
		return nil, errNoUTF8
	}
	return append(dst, '}'), nil
}

var (
	errNoUTF8 = errors.New("a text is not UTF-8")
	errState  = errors.New("a state is none of an investor")
)

func decodeTracked(state jsontext.Value) (tracked, error) {
	var t tracked
	if json.Unmarshal(state, &t) != nil {
		return tracked{}, errState
	}
	return t, nil
}

// maxText is how long keys, statuses and other words may be.
const maxText = 200

// track forgets who it is. It fails with [handlers.ErrIncomplete] if it is no
// investor that could be told of.
func (c *candidate) track(pseudonym func(string) string) (tracked, error) {
	if !isID(c.ID) {
		return tracked{}, incomplete("items.id is missing or no id")
	}
	for _, word := range [...]struct{ name, text string }{
		{"status", c.Status},
		{"kycStatus", c.KYCStatus},
		{"kycProvider", c.KYCProvider},
		{"currentSection", c.CurrentSection},
		{"walletProvider", c.WalletProvider},
		{"investorType", c.InvestorType},
		{"country", c.Country},
	} {
		if len(word.text) > maxText && utf8.RuneCountInString(word.text) > maxText {
			return tracked{}, incomplete("items." + word.name + " is too long")
		}
	}
	created, _ := handlers.Time(c.CreatedAt)
	t := tracked{
		Status: c.Status, Section: c.CurrentSection, KYCStatus: c.KYCStatus, KYCProvider: c.KYCProvider,
		WalletProvider: c.WalletProvider, InvestorType: c.InvestorType, Country: c.Country, CreatedAt: created,
		WalletHash: hash(pseudonym, c.Wallet), EmailHash: hash(pseudonym, c.Email),
	}
	if c.Name != "" || c.Email != "" {
		t.Identity = pseudonym(c.Name + "\x00" + strings.ToLower(c.Email))
	}
	return t, nil
}

// hash returns the pseudonym of a value in lower case, "" if there is none.
func hash(pseudonym func(string) string, value string) string {
	if value == "" {
		return ""
	}
	return pseudonym(strings.ToLower(value))
}

// isID reports whether s looks like an id and like nothing personal: ids are
// UUIDs, but only what a mail address or a name would have is refused.
func isID(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// incomplete returns an [handlers.ErrIncomplete] with constant text.
func incomplete(what string) error { return fmt.Errorf("%w: %s", handlers.ErrIncomplete, what) }
