package canaries_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
)

// noise is what a file of ours looks like from outside.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// writers write a text in ways that programs do, each by other means than the
// ear uses.
var writers = map[string]func(text string) []byte{
	"text":       func(s string) []byte { return []byte(s) },
	"lower case": func(s string) []byte { return []byte(strings.ToLower(s)) },
	"upper case": func(s string) []byte { return []byte(strings.ToUpper(s)) },
	"quoted":     func(s string) []byte { return []byte(strconv.Quote("said " + s)) },
	"quoted as ASCII": func(s string) []byte {
		return []byte(strings.ReplaceAll(strconv.QuoteToASCII(s), `\U0000`, `\u`))
	},
	"JSON": func(s string) []byte {
		b, err := json.Marshal(map[string]string{s: s})
		if err != nil {
			panic(err)
		}
		return b
	},
	"JSON in JSON": func(s string) []byte {
		inner, err := jsontext.AppendQuote(nil, strconv.QuoteToASCII(s))
		if err != nil {
			panic(err)
		}
		return inner
	},
	"URL query": func(s string) []byte { return []byte(url.Values{"q": {s}}.Encode()) },
	"URL path":  func(s string) []byte { return []byte((&url.URL{Scheme: "https", Host: "x", Path: "/a/" + s}).String()) },
	"hex":       func(s string) []byte { return []byte(hex.EncodeToString([]byte("ab" + s))) },
	"hex dump":  func(s string) []byte { return []byte(strings.ToUpper(hex.EncodeToString([]byte(s)))) },
	"bytes":     func(s string) []byte { return fmt.Appendf(nil, "%v", []byte("name="+s)) },
	"base64 0":  func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte("abc" + s + "z"))) },
	"base64 1":  func(s string) []byte { return []byte(base64.URLEncoding.EncodeToString([]byte("a" + s + "zzz"))) },
	"base64 2":  func(s string) []byte { return []byte(base64.RawStdEncoding.EncodeToString([]byte(`{"` + s))) },
	"UTF-16": func(s string) []byte {
		b := []byte{0xff, 0xfe}
		for _, c := range utf16.Encode([]rune(s)) {
			b = append(b, byte(c), byte(c>>8))
		}
		return b
	},
	"cut off": func(s string) []byte { return []byte("invalid character after " + s[:len(s)-3] + "…") },
}

func TestEarHearsEveryCanaryHoweverItIsWritten(t *testing.T) {
	all := canaries.Some(20, 200)
	ear := canaries.NewEar(all)
	for name, write := range writers {
		for i, c := range all {
			hidden := append(noise(uint64(i), 100+i), write(c.Text)...)
			hidden = append(hidden, noise(uint64(i+1), 100)...)
			heard := ear.Hear(hidden)
			if len(heard) == 0 {
				t.Errorf("%s: the %s %q is not heard", name, c.Kind, c.Text)
			}
			for _, h := range heard {
				if h.Canary != c {
					t.Errorf("%s: instead of %q it heard %v", name, c.Text, h)
				}
			}
		}
	}
}

func TestEarHearsNothingWhereNothingIs(t *testing.T) {
	ear := canaries.NewEar(canaries.Some(20, 200))
	other := bytes.NewBuffer(noise(1, 4<<20))
	other.Write(make([]byte, 1<<20))
	for _, c := range canaries.Some(21, 200) { // these nobody listens for
		for _, write := range writers {
			other.Write(write(c.Text))
		}
	}
	if heard := ear.Hear(other.Bytes()); len(heard) > 0 {
		t.Errorf("heard %v", heard)
	}
}

func TestCanariesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range canaries.Some(3, 1000) {
		if seen[c.Text[:10]] || len(c.Text) < 10 || c.Kind == "" {
			t.Errorf("%q is there before, or too short", c.Text)
		}
		seen[c.Text[:10]] = true
	}
}
