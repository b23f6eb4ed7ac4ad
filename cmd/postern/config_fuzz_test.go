package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// attempt loads a document as if it were a file, and what is said of it. It
// reads nothing that the document names.
func attempt(document string, environ []string) (said []string) {
	l := newLoading(environ, fakes())
	l.files = []string{"config.yaml"}
	l.document("config.yaml", ".", []byte(document))
	l.variables()
	l.check()
	l.open()
	for _, p := range sortProblems(append(l.problems, l.warnings...), l.files) {
		said = append(said, p.String())
	}
	return said
}

func FuzzDocument(f *testing.F) {
	for _, seed := range []string{
		"", "a", "a: b", "- a", "a: &a [*a]", "a: &a {b: *a}", "<<: {}", "? {a: b}\n: c", "!!binary a", "!x y: z",
		"data_dir: !!str 5", "ingress: null", "---\n---\n", "sources: {a: &x {platform: fake, paths: *x}}",
		"sources: {fund: {platform: fake, login: abc, rows: [{owner: a, secret: {file: b}}]}}",
		"nats: {retention: {events: 30d, raw: {age: 1d}}}", "seal: {keys: [{env: A}]}", "\xff", "a:\tb", "ops: {tokens: [1, {}]}",
		"journal: {max_bytes: 99999999999TiB}", "ingress: {max_connections: 0x1_0}", "ingress: {max_connections: 1e99}",
		"sources: {a: {platform: fake, ratio: .inf, every: 99999999999999999d}}", initFile,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, document string) {
		first := attempt(document, nil)
		// Whatever it is, it is said the same way each time.
		if diff := cmp.Diff(first, attempt(document, nil)); diff != "" {
			t.Errorf("said differently the second time:\n%s", diff)
		}
		for _, line := range first {
			if !strings.HasPrefix(line, "config.yaml:") || strings.Contains(line, "\n") {
				t.Errorf("no position, or more than a line: %q", line)
			}
		}
	})
}

func FuzzVariable(f *testing.F) {
	for _, seed := range [][2]string{
		{"LOG__LEVEL", "debug"},
		{"SOURCES__FUND__LOGIN", "abc"},
		{"SOURCES__FUND__PUSH__ALLOW", "[203.0.113.1]"},
		{"SOURCES__FUND__PATHS__A__B", "x"},
		{"SEAL__KEYS", "[{env: X}]"},
		{"", ""},
		{"__", "a"},
		{"SOURCES", "{}"},
		{"SOURCES__A__PLATFORM", "fake"},
		{"SOURCES__POSTERN__PLATFORM", "fake"},
		{"NATS__RETENTION__RAW", "{age: 1d}"},
		{"INGRESS__TLS__CERT", ""},
		{"PSEUDONYMS__KEY__FILE", "x"},
		{"INGRESS__MAX_CONNECTIONS", "'1'"},
		{"DATA_DIR", `"`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.ContainsAny(name, "=\x00\n") {
			t.Skip("no name of a variable")
		}
		environ := []string{"POSTERN_" + name + "=" + value}
		const document = "sources: {fund: {platform: fake, login: abc}}"
		first := attempt(document, environ)
		if diff := cmp.Diff(first, attempt(document, environ)); diff != "" {
			t.Errorf("said differently the second time:\n%s", diff)
		}
		for _, line := range first {
			if !strings.HasPrefix(line, "POSTERN_"+name+":") && !strings.HasPrefix(line, "config.yaml:") {
				t.Errorf("no position: %q", line)
			}
		}
	})
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "", 1},
		{"", "ab", 2},
		{"listen", "lsiten", 1},
		{"listen", "listne", 1},
		{"level", "levl", 1},
		{"max_body", "maxbody", 1},
		{"kitten", "sitting", 3},
		{"abc", "xyz", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) is %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("distance(%q, %q) is %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}

func TestClosestDoesNotGuessWildly(t *testing.T) {
	keys := []string{"listen", "tls", "max_body", "key"}
	slices.Sort(keys)
	for word, want := range map[string]string{
		"lisen": "listen", "maxbody": "max_body", "tsl": "tls", "keys": "key", "file": "", "x": "", "": "", "address": "",
	} {
		if got := closest(word, keys); got != want {
			t.Errorf("for %q we suggest %q, want %q", word, got, want)
		}
	}
}
