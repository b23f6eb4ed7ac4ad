// Package canaries makes up personal data and hears it where it has no business.
// It serves tests.
package canaries

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Canary is made-up personal data that is planted where such data may come
// from, to be listened for where it has no business.
type Canary struct {
	Kind string // what it looks like
	Text string
}

// Some returns n canaries that differ from each other in their first ten
// bytes, the same ones for the same seed. No text holds a quote, a backslash or
// a control character.
func Some(seed uint64, n int) []Canary {
	random := rand.New(rand.NewPCG(seed, 1))
	list := make([]Canary, 0, n)
	begun := map[string]bool{}
	for len(list) < n {
		c := kinds[len(list)%len(kinds)](random)
		if begun[beginning(c.Text)] {
			continue
		}
		begun[beginning(c.Text)] = true
		list = append(list, c)
	}
	return list
}

// kinds make one canary each.
var kinds = []func(*rand.Rand) Canary{
	func(r *rand.Rand) Canary { return Canary{"name", "Jörg-" + word(r, 5) + " Müßiggang"} },
	func(r *rand.Rand) Canary { return Canary{"mail", word(r, 10) + ".kanarie@example.org"} },
	func(r *rand.Rand) Canary { return Canary{"passport", "C" + digits(r, 9) + "<<" + word(r, 4)} },
	func(r *rand.Rand) Canary { return Canary{"IBAN", "DE" + digits(r, 20)} },
	func(r *rand.Rand) Canary {
		return Canary{"birth date", fmt.Sprintf("%02d.%02d.19%02d %s", 1+r.IntN(28), 1+r.IntN(12), r.IntN(40), word(r, 6))}
	},
	func(r *rand.Rand) Canary { return Canary{"phone", "+49 " + digits(r, 4) + "/" + digits(r, 7)} },
	func(r *rand.Rand) Canary {
		return Canary{"social security", digits(r, 3) + "-" + digits(r, 2) + "-" + digits(r, 4) + " " + word(r, 3)}
	},
	func(r *rand.Rand) Canary { return Canary{"address", word(r, 8) + "straße 7ä, 80331 München"} },
	func(r *rand.Rand) Canary { return Canary{"wallet", "0x" + hex.EncodeToString([]byte(word(r, 20)))} },
	func(r *rand.Rand) Canary { return Canary{"name", "José " + word(r, 7) + " Ñúñez 王"} },
}

func word(r *rand.Rand, n int) string {
	const letters = "bcdfghjkmnpqrstvwxzBCDFGHJKMNPQRSTVWXZ"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

func digits(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('0' + r.IntN(10))
	}
	return string(b)
}

// beginning returns the first ten bytes, or a little more, of whole characters.
func beginning(text string) string {
	end := min(10, len(text))
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end++
	}
	return text[:end]
}

// window is how much of a form is looked up at every byte.
const window = 8

// Ear hears canaries in anything, however they are written: in any case, in
// JSON, URLs, hex, base64, UTF-16 or Latin 1, printed as bytes, or cut off.
// It never changes and is safe for concurrent use.
type Ear struct {
	forms  []form
	by     map[uint64][]int // forms by their first bytes
	filter [1 << 12]uint64  // bits of the hashes in by
}

// form is one way to write a canary, in lower case.
type form struct {
	text string
	as   string
	of   Canary
}

// Heard is a canary that was heard.
type Heard struct {
	Canary
	As string // how it was written
	At int    // the byte where it begins
}

// String implements fmt.Stringer.
func (h Heard) String() string { return fmt.Sprintf("%s %q as %s at %d", h.Kind, h.Text, h.As, h.At) }

// NewEar returns an ear for canaries, each of ten bytes or more.
func NewEar(canaries []Canary) *Ear {
	e := &Ear{by: map[uint64][]int{}}
	for _, c := range canaries {
		for as, texts := range formsOf(c.Text) {
			for _, text := range texts {
				e.add(form{lower(text), as, c})
			}
		}
	}
	return e
}

func (e *Ear) add(f form) {
	if len(f.text) < window {
		panic(fmt.Sprintf("%q as %s is too short to be told from noise", f.text, f.as))
	}
	key := binary.LittleEndian.Uint64([]byte(f.text))
	e.forms = append(e.forms, f)
	e.by[key] = append(e.by[key], len(e.forms)-1)
	h := hash(key)
	e.filter[h/64] |= 1 << (h % 64)
}

// hash returns 18 bits.
func hash(key uint64) uint64 { return key * 0x9e3779b97f4a7c15 >> 46 }

// Hear returns what is heard in data, each canary at most once for every way
// to write it.
func (e *Ear) Hear(data []byte) []Heard {
	var heard []Heard
	seen := map[int]bool{}
	var key uint64
	for i, c := range data {
		key = key>>8 | uint64(lowered(c))<<56
		h := hash(key)
		if i < window-1 || e.filter[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		at := i - window + 1
		for _, f := range e.by[key] {
			if !seen[f] && begins(data[at:], e.forms[f].text) {
				seen[f] = true
				heard = append(heard, Heard{e.forms[f].of, e.forms[f].as, at})
			}
		}
	}
	return heard
}

func begins(data []byte, text string) bool {
	if len(data) < len(text) {
		return false
	}
	for i := range len(text) {
		if lowered(data[i]) != text[i] {
			return false
		}
	}
	return true
}

func lowered(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func lower(text string) string {
	b := []byte(text)
	for i, c := range b {
		b[i] = lowered(c)
	}
	return string(b)
}

// formsOf returns how a text may be written. The case of ASCII letters does
// not matter.
func formsOf(text string) map[string][]string {
	escaped, all := jsonEscaped(text, false), jsonEscaped(text, true)
	forms := map[string][]string{
		"text":        {text, strings.ToLower(text), strings.ToUpper(text)},
		"a beginning": {beginning(text)},
		"JSON": {
			escaped, strings.ReplaceAll(escaped, `\`, `\\`),
			all, strings.ReplaceAll(all, `\`, `\\`),
		},
		"URL": {
			url.QueryEscape(text), url.PathEscape(text), url.QueryEscape(url.QueryEscape(text)),
			percent(text), (&url.URL{Path: text}).EscapedPath(),
		},
		"hex":    {hex.EncodeToString([]byte(text)), fmt.Sprintf("% x", text)},
		"bytes":  {numbers(text, " "), numbers(text, ","), numbers(text, ", ")},
		"base64": slices.Concat(inBase64(base64.RawStdEncoding, text), inBase64(base64.RawURLEncoding, text)),
		"UTF-16": {wide(text, binary.LittleEndian), wide(text, binary.BigEndian)},
	}
	if latin, ok := latin1(text); ok {
		forms["Latin 1"] = []string{latin, percent(latin)}
	}
	return forms
}

// jsonEscaped escapes what is no ASCII, or everything.
func jsonEscaped(text string, all bool) string {
	var b strings.Builder
	for _, c := range utf16.Encode([]rune(text)) {
		if all || c >= utf8.RuneSelf {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

// numbers returns the bytes of text as they are printed by who takes them for
// numbers.
func numbers(text, between string) string {
	list := make([]string, len(text))
	for i := range len(text) {
		list[i] = strconv.Itoa(int(text[i]))
	}
	return strings.Join(list, between)
}

func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}

// inBase64 returns what of text can be seen in base64, wherever it begins
// within the three bytes that make four characters.
func inBase64(enc *base64.Encoding, text string) []string {
	var forms []string
	for before := range 3 {
		encoded := enc.EncodeToString([]byte(strings.Repeat("x", before) + text))
		from, to := (before*8+5)/6, (before+len(text))*8/6
		forms = append(forms, encoded[from:to])
	}
	return forms
}

func wide(text string, order binary.AppendByteOrder) string {
	var b []byte
	for _, c := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, c)
	}
	return string(b)
}

func latin1(text string) (string, bool) {
	var b []byte
	for _, c := range text {
		if c > 0xff {
			return "", false
		}
		b = append(b, byte(c))
	}
	return string(b), true
}
