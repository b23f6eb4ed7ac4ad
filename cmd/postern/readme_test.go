package main

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

const readmeFile = "../../README.md"

// unscripted are the commands of README.md that no script runs, and why.
var unscripted = map[string]string{
	"go test ./...":                     "it would run this test",
	"go build -o postern ./cmd/postern": "./postern of the scripts is this test's own binary",
}

// Every line of README's shell blocks is run by a script in testdata/script,
// word by word: a new or changed line needs one. A script that runs what README
// doesn't say fails, too.
func TestEveryCommandInREADMERuns(t *testing.T) {
	shown := shellLines(readFile(t, readmeFile))
	if len(shown) < 20 {
		t.Fatalf("README has %d lines only: %q", len(shown), shown)
	}
	played := &play{t: t, shown: shown, ran: map[string]bool{}, config: block(t, "yaml")}
	played.cert, played.key = certificate(t)
	played.sns = testSigner(t)
	played.outside = newOutside(t, "sns.us-east-1.amazonaws.com")
	if !t.Run("script", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/script", Setup: played.setup, Cmds: played.commands(),
			RequireExplicitExec: true, RequireUniqueNames: true,
		})
	}) {
		return // what failed may not have run what stands behind it
	}
	t.Run("none is left out", func(t *testing.T) {
		want := slices.Sorted(maps.Keys(unscripted))
		left := []string{}
		for _, line := range shown {
			if !played.ran[line] {
				left = append(left, line)
			}
		}
		slices.Sort(left)
		if diff := cmp.Diff(want, left); diff != "" {
			t.Errorf("lines of README that no script runs (-known +left):\n%s", diff)
		}
	})
}

// shellLines returns the commands of a text's shell blocks, in their canonical
// form.
func shellLines(text string) []string {
	var list []string
	for _, b := range blocks(text, "sh") {
		for line := range strings.Lines(b) {
			if words := shellWords(line); len(words) > 0 {
				list = append(list, canonical(words))
			}
		}
	}
	return list
}

// canonical returns a command by which it is known, however it is spaced.
func canonical(words []string) string { return strings.Join(words, " ") }

// shellWords splits a line as a shell does, as far as README goes: words, single
// quotes, a comment.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	inWord, quoted := false, false
	flush := func() {
		if inWord {
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	for _, c := range line {
		switch {
		case c == '\'':
			quoted, inWord = !quoted, true
		case quoted:
			word.WriteRune(c)
		case c == ' ' || c == '\t' || c == '\n':
			flush()
		case c == '#' && !inWord:
			return words
		default:
			inWord = true
			word.WriteRune(c)
		}
	}
	flush()
	return words
}

// blocks returns what stands between the fences of a language.
func blocks(text, language string) []string {
	var list []string
	parts := strings.Split("\n"+text, "\n```"+language+"\n")
	for _, part := range parts[1:] { // the first one stands before all blocks
		if body, _, ok := strings.Cut(part, "\n```\n"); ok {
			list = append(list, body+"\n")
		}
	}
	return list
}

// block returns README's first block of a language.
func block(t *testing.T, language string) string {
	t.Helper()
	list := blocks(readFile(t, readmeFile), language)
	if len(list) == 0 {
		t.Fatalf("README has no block of %s", language)
	}
	return list[0]
}

// The first configuration is complete; the others are parts of one, for an
// external NATS.
func TestTheConfigurationsInREADMECanBeUsed(t *testing.T) {
	shown := blocks(readFile(t, readmeFile), "yaml")
	t.Chdir(t.TempDir())
	cert, key := certificate(t)
	for name, text := range map[string]string{
		"cert.pem": cert, "key.pem": key, "ca.pem": cert, "sns.pem": string(testSigner(t).Certificate()), "nats.password": "correct horse battery",
		"concedus.password": "p", "issuer.password": "p", "tokeny.password": "p", "cas.secret": "p", "client.secret": "p",
		"seal.key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "pseudonym.key": "ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=",
		"first.yaml": shown[0],
	} {
		write(t, name, text)
	}
	check := func(paths ...string) {
		t.Helper()
		if _, err := loadConfig(paths, nil, platforms()); err != nil {
			t.Errorf("%q: %v", paths, err)
			explain(t.Output(), err)
		}
	}
	check("first.yaml")
	embedded := regexp.MustCompile(`(?m)^nats: .*\n`)
	write(t, "rest.yaml", embedded.ReplaceAllString(shown[0], ""))
	for i, part := range shown[1:] {
		name := "part" + strconv.Itoa(i) + ".yaml"
		write(t, name, part)
		check("rest.yaml", name)
	}
}

func TestShellLinesAreReadAsAShellReadsThem(t *testing.T) {
	const text = "a\n```sh\n./x --type 'process.*' > y   # told\n\n# nothing\n  go test ./...\n```\n```yaml\nz: 1\n```\n"
	want := []string{"./x --type process.* > y", "go test ./..."}
	if diff := cmp.Diff(want, shellLines(text)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"z: 1\n"}, blocks(text, "yaml")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := shellLines("none\n```\npostern.events.>\n```\n"); len(got) > 0 {
		t.Errorf("%q", got)
	}
}
