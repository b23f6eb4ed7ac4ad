package concedus

import (
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/shopspring/decimal"

	"github.com/seed75441868/postern/schemas"
)

// currency is that of all amounts: Concedus names none, and means euros.
const currency = "EUR"

// plainAmount is an amount that is kept to the letter; largeAmount is one that
// can be written as such, without filling the memory with zeros.
var (
	plainAmount = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,30})?$`)
	largeAmount = regexp.MustCompile(`^-?[0-9]{1,30}(\.[0-9]{1,30})?[eE][+-]?0*[0-9]{1,2}$`)
)

// amount is a number of euros as decimal text, never a float. It is absent if
// null, and odd if it is no number of a size that amounts have.
type amount struct {
	value string
	odd   bool
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *amount) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	var t text
	if err := t.UnmarshalJSONFrom(dec); err != nil {
		return err
	}
	s := strings.TrimSpace(t.value)
	switch {
	case !t.present:
		*a = amount{odd: t.odd}
	case plainAmount.MatchString(s):
		*a = amount{value: s}
	case largeAmount.MatchString(s):
		d, err := decimal.NewFromString(s)
		*a = amount{value: d.String(), odd: err != nil}
	default:
		*a = amount{odd: true}
	}
	return nil
}

// number returns the amount to calculate with, 0 if there is none.
func number(value string) decimal.Decimal {
	d, err := decimal.NewFromString(value)
	if err != nil {
		return decimal.Zero
	}
	return d
}

// sameAmount reports whether two amounts are the same, however many zeros they
// end with.
func sameAmount(a, b string) bool {
	return a == b || a != "" && b != "" && number(a).Equal(number(b))
}

func money(value string) *schemas.Money {
	if value == "" {
		return nil
	}
	return &schemas.Money{Value: value, Currency: currency}
}
