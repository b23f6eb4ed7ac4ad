package concedus

import (
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/unicode/norm"
)

// repair reads the bytes that are no UTF-8 as Windows-1252, and reports whether
// there were any.
func repair(b []byte) ([]byte, bool) {
	if utf8.Valid(b) {
		return b, false
	}
	var out []byte
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 {
			r = charmap.Windows1252.DecodeByte(b[0])
		}
		out, b = utf8.AppendRune(out, r), b[size:]
	}
	return out, true
}

// text is a string, or a number in its own letters. It is absent if null, and
// odd if something else.
type text struct {
	value   string
	present bool
	odd     bool
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (t *text) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case jsontext.KindString, jsontext.KindNumber:
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		*t = text{value: strings.Clone(token.String()), present: true}
		return nil
	case jsontext.KindNull:
		*t = text{}
	default:
		*t = text{odd: true}
	}
	return dec.SkipValue()
}

// composed returns the text with its letters and accents in one, however they
// were written: NFC. It is nil if absent.
func (t text) composed() *string {
	if !t.present {
		return nil
	}
	s := norm.NFC.String(t.value)
	return &s
}

// unread is a value that is not even looked at.
type unread struct{}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (*unread) UnmarshalJSONFrom(dec *jsontext.Decoder) error { return dec.SkipValue() }
