package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestProblems loads each archive of testdata/problems and compares all that
// is said about it. An archive's comment holds the arguments of -c and the
// environment, its file `want` what is said.
func TestProblems(t *testing.T) {
	archives, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, path := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			path, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			front, want, ok := strings.Cut(string(data), "-- want --\n")
			if !ok {
				t.Fatal("no -- want -- at the end")
			}
			paths, environ := unpack(t, front)
			got := everything(loadConfig(paths, environ, fakes()))
			if *update {
				if err := os.WriteFile(path, []byte(front+"-- want --\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
		})
	}
}

// unpack writes an archive's files into the working directory and reads its
// comment. A file begins with a line `-- name --`.
func unpack(t *testing.T, archive string) (paths, environ []string) {
	t.Helper()
	parts := regexp.MustCompile(`(?m)^-- (.+) --\n`).FindAllStringSubmatchIndex(archive, -1)
	for i, part := range parts {
		name, end := archive[part[2]:part[3]], len(archive)
		if i+1 < len(parts) {
			end = parts[i+1][0]
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, name, archive[part[1]:end])
	}
	for line := range strings.Lines(archive[:parts[0][0]]) {
		word, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		switch word {
		case "-c":
			paths = append(paths, rest)
		case "env":
			environ = append(environ, rest)
		case "open":
			if err := os.Chmod(rest, 0o644); err != nil { //nolint:gosec // that it is open is the point
				t.Fatal(err)
			}
		}
	}
	if len(paths) == 0 {
		paths = []string{"config.yaml"}
	}
	return paths, environ
}

// everything returns all that loading said, one line each.
func everything(cfg *Config, err error) string {
	var b strings.Builder
	var wrong *configError
	switch {
	case errors.As(err, &wrong):
		for _, p := range wrong.problems {
			b.WriteString(p.String() + "\n")
		}
		for _, p := range wrong.warnings {
			b.WriteString("warning: " + p.String() + "\n")
		}
	case err != nil:
		b.WriteString("not a configError: " + err.Error() + "\n")
	default:
		for _, p := range cfg.Warnings {
			b.WriteString("warning: " + p.String() + "\n")
		}
		b.WriteString("ok\n")
	}
	return b.String()
}
