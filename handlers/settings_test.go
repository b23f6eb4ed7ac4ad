package handlers_test

import (
	"bytes"
	"encoding"
	stdjson "encoding/json" //nolint:depguard // libraries that print settings may use it
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

func TestNothingPrintsASecret(t *testing.T) {
	const value = "hunter2"
	type exported struct {
		S handlers.Secret  `json:"s" yaml:"s"`
		P *handlers.Secret `json:"p" yaml:"p"`
	}
	type unexported struct{ s, t handlers.Secret }
	s := handlers.NewSecret(value)
	read := handlers.Secret{File: "f"}.WithValue(value)
	things := map[string]any{
		"value":      s,
		"pointer":    &s,
		"read":       read,
		"slice":      []handlers.Secret{s, read},
		"map":        map[string]handlers.Secret{"k": s},
		"struct":     exported{s, &s},
		"unexported": unexported{s, read},
		"deep":       []any{map[string]any{"k": &unexported{s, s}}},
		"wrapped":    fmt.Errorf("with %v: %w", s, errors.New("an error")),
	}
	hidden := func(t *testing.T, how, text string) {
		t.Helper()
		// %x and %d print text as numbers.
		for _, v := range []string{value, "68756e74657232", "68 75 6e", "104 117 110", "hunter"} {
			if strings.Contains(strings.ToLower(text), v) {
				t.Errorf("%s prints the secret: %s", how, text)
			}
		}
	}
	for name, thing := range things {
		t.Run(name, func(t *testing.T) {
			for _, verb := range "vTtbcdoOqxXUeEfFgGspw" {
				for _, flags := range []string{"", "+", "#", " ", "-40", "020"} {
					format := "%" + flags + string(verb)
					hidden(t, format, fmt.Sprintf(format, thing))
				}
			}
			hidden(t, "Print", fmt.Sprint(thing))
			if b, err := json.Marshal(thing); err == nil {
				hidden(t, "JSON", string(b))
			}
			if b, err := stdjson.Marshal(thing); err == nil {
				hidden(t, "the standard library's JSON", string(b))
			}
			if b, err := yaml.Marshal(thing); err == nil {
				hidden(t, "YAML", string(b))
			}
			var b bytes.Buffer
			if err := template.Must(template.New("").Parse("{{.}} {{printf \"%s\" .}}")).Execute(&b, thing); err == nil {
				hidden(t, "a template", b.String())
			}
			for kind, handler := range map[string]slog.Handler{
				"slog as JSON": slog.NewJSONHandler(&b, nil),
				"slog as text": slog.NewTextHandler(&b, nil),
			} {
				b.Reset()
				slog.New(handler).Info("constant", "thing", thing)
				hidden(t, kind, b.String())
			}
		})
	}
}

func TestASecretSaysThatItIsHidden(t *testing.T) {
	s := handlers.Secret{File: "key.txt"}.WithValue("hunter2")
	if s.Value() != "hunter2" || s.File != "key.txt" {
		t.Errorf("value %q, file %q", s.Value(), s.File)
	}
	if got := (handlers.Secret{Env: "X"}).Value(); got != "" {
		t.Errorf("a secret that was not read has the value %q", got)
	}
	for _, got := range []string{s.String(), fmt.Sprintf("%v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%d", s), s.LogValue().String()} {
		if got != "[redacted]" {
			t.Errorf("got %q, want [redacted]", got)
		}
	}
	if b, err := json.Marshal(s); err != nil || string(b) != `"[redacted]"` {
		t.Errorf("JSON %s, %v", b, err)
	}
}

func TestPrefixReadsAddressesAndCIDRs(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.10":              "203.0.113.10/32",
		"203.0.113.0/24":            "203.0.113.0/24",
		"0.0.0.0/0":                 "0.0.0.0/0",
		"127.0.0.1":                 "127.0.0.1/32",
		"::1":                       "::1/128",
		"2001:db8::/32":             "2001:db8::/32",
		"2001:DB8:0:0::7":           "2001:db8::7/128",
		"::ffff:203.0.113.10":       "203.0.113.10/32",
		"::ffff:cb00:710a":          "203.0.113.10/32",
		"0:0:0:0:0:ffff:cb00:710a":  "203.0.113.10/32",
		"64:ff9b::203.0.113.10/128": "64:ff9b::cb00:710a/128",
	} {
		var p handlers.Prefix
		if err := p.UnmarshalText([]byte(in)); err != nil || p.String() != want {
			t.Errorf("%q: %v, %v, want %s", in, p, err, want)
			continue
		}
		var again handlers.Prefix
		text, err := p.MarshalText()
		if err != nil || again.UnmarshalText(text) != nil || again != p {
			t.Errorf("%q: written as %q, %v, read as %v", in, text, err, again)
		}
	}
}

func TestPrefixRefusesWhatIsNoneOrWider(t *testing.T) {
	for _, in := range []string{
		"", " ", "localhost", "203.0.113", "203.0.113.256", "203.0.113.010", "203.0.113.10:80", "[::1]",
		"fe80::1%eth0", "fe80::1%eth0/64", "fe80::%25eth0/64", "::ffff:203.0.113.10%1",
		"203.0.113.0/33", "203.0.113.0/-1", "203.0.113.0/", "203.0.113.0/024", "/24",
		"203.0.113.1/24", "2001:db8::1/32", // bits behind the mask
		"::ffff:203.0.113.0/120", // could be meant either way
		" 203.0.113.10", "203.0.113.10\n", "*", "203.0.113.*",
	} {
		p := handlers.Prefix{}
		if err := p.UnmarshalText([]byte(in)); err == nil || p.IsValid() {
			t.Errorf("%q was read as %v, %v", in, p, err)
		}
	}
	var p handlers.Prefix
	if err := p.UnmarshalText([]byte("203.0.113.77/24")); err == nil || !strings.Contains(err.Error(), "203.0.113.0/24") {
		t.Errorf("the error doesn't say what was meant: %v", err)
	}
}

func TestDurationReadsDays(t *testing.T) {
	const day = 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "250ms": 250 * time.Millisecond,
		"0": 0, "0s": 0, "0d": 0, "1d": day, "30d": 30 * day, "36500d": 36500 * day, "1.5h": 90 * time.Minute,
	} {
		var d handlers.Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || d.Std() != want {
			t.Errorf("%q: %v, %v, want %v", in, d.Std(), err, want)
		}
	}
	for _, in := range []string{"", "d", "90", "-1s", "-1d", "1.5d", "1d12h", "1 d", "36501d", "99999999999999999999d", "1w", "1D", "s", "9999999h"} {
		d := handlers.Duration(7)
		if err := d.UnmarshalText([]byte(in)); err == nil || d != 7 {
			t.Errorf("%q was read as %v, %v", in, d.Std(), err)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", time.Hour: "1h", 100 * time.Minute: "1h40m",
		day: "1d", 30 * day: "30d", day + time.Hour: "25h", time.Hour + time.Second: "1h0m1s", 250 * time.Millisecond: "250ms",
	} {
		if text, err := handlers.Duration(d).MarshalText(); err != nil || string(text) != want {
			t.Errorf("%v is written as %q, %v, want %q", d, text, err, want)
		}
	}
}

func TestSizeReadsUnits(t *testing.T) {
	for in, want := range map[string]handlers.Size{
		"0B": 0, "1B": 1, "512KiB": 512 << 10, "1MiB": 1 << 20, "10GiB": 10 << 30, "2TiB": 2 << 40,
		"5KB": 5e3, "5MB": 5e6, "5GB": 5e9, "5TB": 5e12, "4194304TiB": 1 << 62,
	} {
		var s handlers.Size
		if err := s.UnmarshalText([]byte(in)); err != nil || s != want {
			t.Errorf("%q: %d, %v, want %d", in, s, err, want)
		}
	}
	for _, in := range []string{"", "1", "B", "MiB", "-1MiB", "1.5MiB", "1 MiB", "1mib", "1kB", "1PiB", "4194305TiB", "99999999999999999999B", "1MiBB"} {
		s := handlers.Size(7)
		if err := s.UnmarshalText([]byte(in)); err == nil || s != 7 {
			t.Errorf("%q was read as %d, %v", in, s, err)
		}
	}
	for s, want := range map[handlers.Size]string{
		0: "0B", 1: "1B", 1000: "1000B", 1 << 10: "1KiB", 1536: "1536B", 3 << 19: "1536KiB", 10 << 30: "10GiB", 1 << 40: "1TiB", 1 << 50: "1024TiB",
	} {
		if text, err := s.MarshalText(); err != nil || string(text) != want {
			t.Errorf("%d is written as %q, %v, want %q", int64(s), text, err, want)
		}
	}
}

func TestSettingsAreReadBackAsTheyWereWritten(t *testing.T) {
	back := func(t *rapid.T, in encoding.TextMarshaler, out encoding.TextUnmarshaler) {
		text, err := in.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := out.UnmarshalText(text); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := reflect.ValueOf(out).Elem().Interface(); !reflect.DeepEqual(got, in) {
			t.Fatalf("%v was written as %q and read as %v", in, text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]int64{1, 1e6, 1e9, 60e9, 3600e9, 86400e9}).Draw(t, "unit")
		// Years beyond 100 are refused as days.
		n := rapid.Int64Range(0, min(math.MaxInt64, 36500*86400e9)/unit).Draw(t, "n")
		back(t, handlers.Duration(n*unit), new(handlers.Duration))
		back(t, handlers.Size(rapid.Int64Range(0, 1<<62).Draw(t, "size")), new(handlers.Size))
		back(t, handlers.File{Path: rapid.StringN(1, -1, -1).Draw(t, "path")}, new(handlers.File))
	})
}

func TestFileMustNameSomething(t *testing.T) {
	var f handlers.File
	if err := f.UnmarshalText(nil); err == nil {
		t.Error("an empty path was taken")
	}
	if err := f.UnmarshalText([]byte("sns.pem")); err != nil || f.Path != "sns.pem" || f.Contents != nil {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestErrorsSayWhichDecisionTheyAsk(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("source: %w", err) }
	var refused *handlers.RefusedError
	if err := wrap(&handlers.RefusedError{Reason: handlers.ReasonTopic, Detail: "it is not listed"}); !errors.As(err, &refused) ||
		err.Error() != "source: refused, topic: it is not listed" {
		t.Error(err)
	}
	var unchecked *handlers.UncheckableError
	if err := wrap(&handlers.UncheckableError{Detail: "no certificate"}); !errors.As(err, &unchecked) ||
		err.Error() != "source: can't be checked: no certificate" {
		t.Error(err)
	}
	var unusable *handlers.UnusableError
	if err := wrap(&handlers.UnusableError{Reason: schemas.ReasonBadJSON, Detail: "it is cut"}); !errors.As(err, &unusable) ||
		err.Error() != "source: unusable, bad_json: it is cut" {
		t.Error(err)
	}
}
