package main

import (
	"os"
	"testing"
)

func TestSecretsThatOthersMayUseAreWarnedOf(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "secret", "a token that nobody guesses\n")
	write(t, "a.yaml", "ops: {tokens: [{name: a, role: viewer, token: {file: secret}}]}\nsources: {one: {platform: other}}\n")
	warned := func(mode os.FileMode, environ ...string) bool {
		t.Helper()
		if err := os.Chmod("secret", mode); err != nil {
			t.Fatal(err)
		}
		cfg, err := loadConfig([]string{"a.yaml"}, environ, fakes())
		if err != nil {
			t.Fatal(err)
		}
		return len(cfg.Warnings) > 0
	}
	for mode, want := range map[os.FileMode]bool{
		0o400: false, 0o600: false, 0o440: false, 0o640: false, // a group that reads is a choice
		0o460: true, 0o660: true, 0o604: true, 0o444: true, 0o644: true, 0o666: true,
	} {
		if got := warned(mode); got != want {
			t.Errorf("mode %04o: warned %t, want %t", mode, got, want)
		}
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if warned(0o444, "CREDENTIALS_DIRECTORY="+here) {
		t.Error("a credential of systemd is warned of")
	}
	if !warned(0o444, "CREDENTIALS_DIRECTORY="+here+"/other") {
		t.Error("a secret beside the credentials is not warned of")
	}
}

func TestSecretsOfSystemdAndKubernetesAreNotWarnedOf(t *testing.T) {
	l := newLoading(nil, fakes())
	for file, want := range map[string]bool{
		"/run/credentials/postern.service/seal.key": true,
		"/run/secrets/ops-token":                    true,
		"/var/run/secrets/postern/ops-token":        true,
		"/run/secrets/../seal.key":                  false,
		"/run/secretsx":                             false,
		"/etc/postern/seal.key":                     false,
		"run/secrets/seal.key":                      false,
	} {
		if got := l.managed(file); got != want {
			t.Errorf("%s: %t, want %t", file, got, want)
		}
	}
}
