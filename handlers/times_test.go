package handlers_test

import (
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

func TestTimeReadsWhatPlatformsWrite(t *testing.T) {
	for in, want := range map[string]string{
		"2026-03-02T08:15:30.250Z":            "2026-03-02T08:15:30.250Z",
		"2026-03-02T08:15:30Z":                "2026-03-02T08:15:30Z",
		"2026-03-02T08:15:30.000000000+05:30": "2026-03-02T08:15:30.000000000+05:30",
		"2024-02-29T00:00:00-00:00":           "2024-02-29T00:00:00-00:00",
		"2026-03-02":                          "2026-03-02T00:00:00Z",
		"2024-02-29":                          "2024-02-29T00:00:00Z",
		"1772439330250":                       "2026-03-02T08:15:30.250Z",
		"1772439330000":                       "2026-03-02T08:15:30.000Z",
		"100000000000":                        "1973-03-03T09:46:40.000Z",
		"253402300799999":                     "9999-12-31T23:59:59.999Z",
		"0001-01-01T00:00:00Z":                "0001-01-01T00:00:00Z",
	} {
		got, ok := handlers.Time(in)
		if !ok || got != want {
			t.Errorf("Time(%q) = %q, %v, want %q", in, got, ok, want)
		}
	}
}

func TestTimeGuessesNothing(t *testing.T) {
	for _, in := range []string{
		"", " ", "now", "null", "NaN", "02.03.2026", "03/02/2026", "2026-3-2", "26-03-02",
		"2026-03-02T08:15:30",       // no zone
		"2026-03-02 08:15:30Z",      // no T
		"2026-03-02T08:15:30,5Z",    // a comma
		"2026-03-02T8:15:30Z",       // one digit
		"2026-03-02T08:15:30+24:00", // no such offset
		"2026-03-02T24:00:00Z",
		"2026-12-31T23:59:60Z", // a leap second
		"2026-02-29", "2025-02-29T00:00:00Z", "2026-13-01", "2026-00-10",
		"0000-01-01", "0000-01-01T00:00:00Z", // there was no year 0
		"0", "1772439330", "20260302", // seconds, or a date
		"-1772439330250", "+1772439330250", "1772439330250.5", "1.77e12", "0x19cabc", "1_772_439_330_250",
		"253402300800000", "9223372036854775808", "99999999999999999999999",
		" 2026-03-02", "2026-03-02 ", "2026-03-02\n",
	} {
		if got, ok := handlers.Time(in); ok || got != "" {
			t.Errorf("Time(%q) = %q, %v, want nothing", in, got, ok)
		}
	}
}

func TestTimeOfAnyMomentIsTheSameMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(100_000_000_000, 253_402_300_799_999).Draw(t, "ms")
		text, ok := handlers.Time(strconv.FormatInt(ms, 10))
		if !ok || !schemas.IsTime(text) {
			t.Fatalf("Time(%d) = %q, %v", ms, text, ok)
		}
		if at, err := time.Parse(time.RFC3339, text); err != nil || at.UnixMilli() != ms {
			t.Fatalf("Time(%d) = %q, which is %v, %v", ms, text, at.UnixMilli(), err)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, seed := range []string{"2026-03-02T08:15:30.25+01:00", "2026-03-02", "1772439330250", "", "-0", "2026-03-02T08:15:30,5Z"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, ok := handlers.Time(s)
		if !ok {
			if text != "" {
				t.Fatalf("Time(%q) = %q without ok", s, text)
			}
			return
		}
		if !schemas.IsTime(text) {
			t.Fatalf("Time(%q) = %q, which is no time", s, text)
		}
		if again, ok := handlers.Time(text); !ok || again != text {
			t.Fatalf("Time(%q) = %q, but Time of that is %q", s, text, again)
		}
	})
}
