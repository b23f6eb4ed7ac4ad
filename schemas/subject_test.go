package schemas_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed75441868/postern/schemas"
)

var (
	legalToken = regexp.MustCompile(`^([A-Za-z0-9_-]+|=[A-Za-z0-9_-]{22})$`)
	legalPart  = regexp.MustCompile(`^([a-z0-9._-]+|=[A-Za-z0-9_-]{22})$`)
)

func TestTokenKeepsWhatIsLegalAndHashesTheRest(t *testing.T) {
	// The hashes are those of: printf %s … | openssl dgst -sha256 -binary |
	// basenc --base64url | cut -c1-22
	for in, want := range map[string]string{
		"PX4-asset_7": "PX4-asset_7",
		"MixedCase":   "MixedCase",
		"":            "=47DEQpj8HBSa-_TImW-5JC",
		"north fund":  "=-MFEeqnzGJf5ih12bZcGSr",
	} {
		if got := schemas.Token(in); got != want {
			t.Errorf("Token(%q) = %q, want %q", in, got, want)
		}
	}
	for _, s := range []string{"a.b", "a b", "a>b", "*", ">", "é", "=x", "a\r\nb", "a/b", "\xff"} {
		if got := schemas.Token(s); !strings.HasPrefix(got, "=") || len(got) != 23 {
			t.Errorf("Token(%q) = %q, want it hashed", s, got)
		}
	}
}

func TestIDPartLowersAndHashesWhatCannotStandInAnID(t *testing.T) {
	for in, want := range map[string]string{
		"3F-Ab.c_9": "3f-ab.c_9",
		"success":   "success",
		"":          "=47DEQpj8HBSa-_TImW-5JC",
	} {
		if got := schemas.IDPart(in); got != want {
			t.Errorf("IDPart(%q) = %q, want %q", in, got, want)
		}
	}
	for _, s := range []string{"a:b", "a b", "ä", "a\nb", "=", "a/b"} {
		if got := schemas.IDPart(s); !strings.HasPrefix(got, "=") || len(got) != 23 {
			t.Errorf("IDPart(%q) = %q, want it hashed", s, got)
		}
	}
	if a, b := schemas.IDPart("Fund: ÖL"), schemas.IDPart("fund: öl"); a != b {
		t.Errorf("spellings that differ in case only give %q and %q, want the same", a, b)
	}
	if a, b := schemas.IDPart("fund: a"), schemas.IDPart("fund: b"); a == b {
		t.Errorf("two texts give the same part %q", a)
	}
}

// checkParts holds for any two texts.
func checkParts(t interface{ Fatalf(string, ...any) }, a, b string) {
	for _, s := range []string{a, b} {
		token, part := schemas.Token(s), schemas.IDPart(s)
		if !legalToken.MatchString(token) {
			t.Fatalf("Token(%q) = %q can't stand in a subject", s, token)
		}
		if !legalPart.MatchString(part) {
			t.Fatalf("IDPart(%q) = %q can't stand in an id", s, part)
		}
		if schemas.Token(s) != token || schemas.IDPart(s) != part {
			t.Fatalf("Token or IDPart of %q differs from call to call", s)
		}
		if schemas.IDPart(strings.ToUpper(part)) != part && !strings.HasPrefix(part, "=") {
			t.Fatalf("IDPart(%q) = %q depends on case", s, part)
		}
	}
	if a != b && schemas.Token(a) == schemas.Token(b) {
		t.Fatalf("%q and %q have the same token", a, b)
	}
	lowerA, lowerB := strings.ToLower(a), strings.ToLower(b)
	if lowerA != lowerB && schemas.IDPart(a) == schemas.IDPart(b) {
		t.Fatalf("%q and %q have the same part", a, b)
	}
}

func TestTokenAndIDPartOfAnyTextAreLegalStableAndApart(t *testing.T) {
	text := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[A-Za-z0-9_=.:-]{0,24}`),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		checkParts(t, text.Draw(t, "a"), text.Draw(t, "b"))
	})
}

func FuzzToken(f *testing.F) {
	f.Add("DEV-77", "dev-77")
	f.Add("", "=")
	f.Add("a.b", "a>b")
	f.Add("line\r\nbreak", "\xff\xfe")
	f.Fuzz(func(t *testing.T, a, b string) { checkParts(t, a, b) })
}

func TestStreamsNameTheirSubjects(t *testing.T) {
	want := map[schemas.Stream]string{
		"POSTERN_EVENTS":     "postern.events",
		"POSTERN_RESTRICTED": "postern.restricted",
		"POSTERN_RAW":        "postern.raw",
		"POSTERN_QUARANTINE": "postern.quarantine",
		"POSTERN_REJECTED":   "postern.rejected",
		"POSTERN_OPS":        "postern.ops",
		"POSTERN_REPLAY":     "postern.replay",
	}
	if got := len(schemas.Streams()); got != len(want) {
		t.Errorf("%d streams, want %d", got, len(want))
	}
	for _, s := range schemas.Streams() {
		if s.Prefix() != want[s] {
			t.Errorf("%s has the prefix %q, want %q", s, s.Prefix(), want[s])
		}
	}
}

func TestSourceNameTakesOnlyWhatMayBeARouteATokenAndALabel(t *testing.T) {
	for name, want := range map[string]bool{
		"fund-one": true, "a": true, "0": true, strings.Repeat("x", 32): true,
		"": false, "Fund": false, "a.b": false, "a_b": false, "a b": false, "a\n": false, "é": false,
		strings.Repeat("x", 33): false,
	} {
		if got := schemas.SourceName.MatchString(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
