package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
)

const (
	keyA = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	keyB = "MTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// sample is a configuration that says everything that can be said, in a folder
// of the test with what it names. Every secret is a canary.
func sample(t *testing.T) (environ []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t)
	t.Chdir(t.TempDir())
	write(t, "config.yaml", string(data))
	write(t, "cert.pem", cert)
	write(t, "key.pem", key)
	write(t, "new.key", keyA+"\n")
	write(t, "old.key", keyB)
	for _, name := range []string{"ops.token", "u.password", "agent.password"} {
		write(t, name, "CANARY-of-"+name+"\r\n")
	}
	return []string{"PSEUDONYM_KEY=ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=", "ROW=CANARY-of-a-row", "NO_COLOR=1"}
}

// golden compares got with a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", filepath.Base(path), diff)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestShowIsWhatWasSaidWithDefaults(t *testing.T) {
	want, origins := absolute(t, "testdata/full.show.yaml"), absolute(t, "testdata/full.origin.yaml")
	environ := append(sample(t), "POSTERN_LOG__LEVEL=debug")
	code, shown, said := command(t, environ, "config", "show", "-c", "config.yaml")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, said)
	}
	golden(t, want, shown)
	code, withOrigin, _ := command(t, environ, "config", "show", "--origin", "-c", "config.yaml")
	if code != exitOK {
		t.Fatalf("exit %d", code)
	}
	golden(t, origins, withOrigin)

	// What is shown is a configuration that says the same.
	write(t, "shown.yaml", shown)
	code, again, said := command(t, environ, "config", "show", "-c", "shown.yaml")
	if code != exitOK {
		t.Fatalf("what was shown is refused: %s", said)
	}
	if diff := cmp.Diff(shown, again); diff != "" {
		t.Errorf("shown and loaded it differs:\n%s", diff)
	}
	if strings.Contains(shown+withOrigin+said, "CANARY") || strings.Contains(shown+withOrigin, keyA) {
		t.Error("a secret was shown")
	}
}

// TestDefaults holds the defaults to what operators were told.
func TestDefaults(t *testing.T) {
	want := absolute(t, "testdata/defaults.show.yaml")
	t.Chdir(t.TempDir())
	write(t, "config.yaml", "")
	code, shown, said := command(t, nil, "config", "show", "-c", "config.yaml")
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, said)
	}
	golden(t, want, shown)
}

func TestLoadReadsSecretsAndFiles(t *testing.T) {
	environ := sample(t)
	if err := os.Mkdir("certs", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.crt", "a.pem", "C.CER", ".hidden.pem", "readme.txt"} {
		write(t, filepath.Join("certs", name), "content of "+name)
	}
	write(t, "config.d.yaml", "sources: {everything: {files: [certs, cert.pem]}}")
	cfg, err := loadConfig([]string{"config.yaml", "config.d.yaml"}, environ, fakes())
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Ops.Tokens[0].Token.Value(); got != "CANARY-of-ops.token" {
		t.Errorf("token is %q", got)
	}
	if got := cfg.Pseudonyms.Key.Value(); got != strings.TrimPrefix(environ[0], "PSEUDONYM_KEY=") {
		t.Errorf("pseudonym key is %q", got)
	}
	var everything *fakeSettings
	for _, s := range cfg.Sources {
		if s.Name == "everything" {
			everything = s.Settings.(*fakeSettings)
			if s.Opened.Name != "everything" || s.Platform.Name != "fake" {
				t.Errorf("opened %+v", s.Opened)
			}
		}
	}
	if everything == nil {
		t.Fatal("the source is missing")
	}
	if got := everything.Rows[0].Secret.Value(); got != "CANARY-of-a-row" {
		t.Errorf("the row's secret is %q", got)
	}
	want := handlers.File{Path: "certs", Contents: []handlers.Contents{
		{Path: "certs/C.CER", Data: []byte("content of C.CER")},
		{Path: "certs/a.pem", Data: []byte("content of a.pem")},
		{Path: "certs/b.crt", Data: []byte("content of b.crt")},
	}}
	if diff := cmp.Diff(want, everything.Files[0]); diff != "" {
		t.Errorf("the folder of files differs (-want +got):\n%s", diff)
	}
}

// A path is relative to the file that it stands in, so that a configuration
// can be checked from anywhere.
func TestPathsAreRelativeToTheirFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, folder := range []string{"etc/conf.d", "elsewhere"} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "etc/a.yaml", "ops: {tokens: [{name: a, role: viewer, token: {file: a.token}}]}")
	write(t, "etc/conf.d/b.yaml", "nats: {embedded: {listen: 'localhost:1', users: [{name: u, allow: all, password: {file: ../b.password}}]}}")
	write(t, "etc/a.token", "a token of some length")
	write(t, "etc/b.password", "b")
	write(t, "c.key", keyA)
	cfg, err := loadConfig([]string{"etc/a.yaml", "etc/conf.d"}, []string{"POSTERN_PSEUDONYMS__KEY__FILE=c.key"}, fakes())
	if err != nil {
		t.Fatal(err)
	}
	got := []string{string(cfg.DataDir), cfg.Ops.Tokens[0].Token.File, cfg.NATS.Embedded.Users[0].Password.File, cfg.Pseudonyms.Key.File}
	want := []string{"etc/data", "etc/a.token", "etc/b.password", "c.key"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths differ (-want +got):\n%s", diff)
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	environ := append(sample(t),
		"POSTERN_INGRESS__LISTEN=[::1]:8080",
		"postern_ingress__trusted_proxies=[192.0.2.7]",
		"POSTERN_INSECURE=true",
		"POSTERN_DATA_DIR=elsewhere",
		"POSTERN_NATS__RETENTION__RAW=45d",
		`POSTERN_SOURCES__EVERYTHING__LOGIN="in quotes"`,
		"POSTERN_SOURCES__EVERYTHING__PUSH__ALLOW=[203.0.113.99, 2001:db8::/32]",
		"POSTERN_SOURCES__EVERYTHING__PATHS__ROWS=/other",
		"POSTERN_SOURCES__EVERYTHING__SECRET__ENV=POSTERN_HIDDEN",
		"POSTERN_HIDDEN=a secret",
		"POSTERN_SOURCES__FROM_NOTHING__PLATFORM=other",
		"POSTERN_SERVICE_HOST=10.0.0.1",
	)
	cfg, err := loadConfig([]string{"config.yaml"}, environ, fakes())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Ingress.Listen != "[::1]:8080" || !cfg.Insecure || cfg.DataDir != "elsewhere" || len(cfg.Ingress.TrustedProxies) != 1 || plain(cfg.NATS.Retention.Raw.Age) != "45d" {
		t.Errorf("not overridden: %+v", cfg)
	}
	var names []string
	for _, s := range cfg.Sources {
		names = append(names, s.Name)
		if s.Name != "everything" {
			continue
		}
		got := s.Settings.(*fakeSettings)
		if got.Login != "in quotes" || got.Secret.Value() != "a secret" || got.Paths["rows"] != "/other" || got.Paths["tables"] != "/tables" {
			t.Errorf("not overridden: %+v", got)
		}
		if len(got.Push.Allow) != 2 || got.Push.Allow[1].String() != "2001:db8::/32" {
			t.Errorf("allowed are %v", got.Push.Allow)
		}
	}
	if diff := cmp.Diff([]string{"everything", "from-nothing", "plain"}, names); diff != "" {
		t.Errorf("sources differ (-want +got):\n%s", diff)
	}
}

// What nobody may see isn't in what a program prints of a configuration.
func TestConfigPrintsNoSecret(t *testing.T) {
	cfg, err := loadConfig([]string{"config.yaml"}, sample(t), fakes())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	newLogger(&log, cfg.Log.slogLevel(), false, false).Info("loaded", "reason", cfg.Ops.Tokens[0].Token, "detail", cfg)
	printed := sprintAll(cfg, cfg.Sources[0], cfg.Sources[0].Settings) + log.String()
	if strings.Contains(printed, "CANARY") || strings.Contains(printed, keyA) {
		t.Error("a secret was printed")
	}
}
