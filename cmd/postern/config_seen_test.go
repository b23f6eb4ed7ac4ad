package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestEveryChangeOfWhatAConfigurationWasReadFromIsSeen(t *testing.T) {
	t.Chdir(t.TempDir())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"conf", "certs", "v1", "v2"} {
		must(os.Mkdir(dir, 0o700))
	}
	cert, key := certificate(t)
	for name, text := range map[string]string{
		"conf/a.yaml": "ingress: {tls: {cert: ../c.pem, key: ../k.pem}}\n",
		"conf/b.yml":  "sources: {s: {platform: fake, login: aaa, secret: {file: ../mount/secret}, files: [../certs, ../one.pem]}}\n",
		"c.pem":       cert, "k.pem": key, "v1/secret": "s", "v2/secret": "t", "certs/a.pem": "x", "one.pem": "y",
	} {
		write(t, name, text)
	}
	must(os.Symlink("v1", "mount"))
	steps := []struct {
		what   string
		change func()
		quiet  bool // nothing is to be seen
		bad    bool // the configuration is bad afterwards
	}{
		{what: "nothing", change: func() {}, quiet: true},
		{what: "the same content again", change: func() { write(t, "c.pem", cert) }, quiet: true},
		{what: "a file of no concern", change: func() { write(t, "conf/notes.txt", "x"); write(t, "certs/.a.swp", "x") }, quiet: true},
		{what: "a file", change: func() { write(t, "conf/a.yaml", readFile(t, "conf/a.yaml")+"# other") }},
		{what: "a file more", change: func() { write(t, "conf/c.yaml", "") }},
		{what: "a certificate", change: func() { write(t, "c.pem", cert+"\n") }},
		{what: "a key", change: func() { write(t, "k.pem", key+"\n") }},
		{what: "a link to another secret", change: func() { must(os.Remove("mount")); must(os.Symlink("v2", "mount")) }},
		{what: "a source's file", change: func() { write(t, "one.pem", "z") }},
		{what: "a certificate more in a folder", change: func() { write(t, "certs/b.crt", "y") }},
		{what: "another content in a folder", change: func() { write(t, "certs/b.crt", "z") }},
		{what: "a certificate less", change: func() { must(os.Remove("certs/b.crt")) }},
		{what: "a folder less", change: func() { must(os.RemoveAll("certs")) }, bad: true},
		{what: "still less", change: func() {}, quiet: true, bad: true},
		{what: "a file instead of it", change: func() { write(t, "certs", "x") }},
		{what: "a secret less", change: func() { must(os.Remove("v2/secret")) }, bad: true},
		{what: "a secret back", change: func() { write(t, "v2/secret", "t") }},
		{what: "too large a file", change: func() { write(t, "conf/a.yaml", strings.Repeat("#", maxConfigFile+1)) }, bad: true},
		{what: "still too large", change: func() {}, quiet: true, bad: true},
		{what: "no configuration", change: func() { must(os.RemoveAll("conf")) }, bad: true},
		{what: "still none", change: func() {}, quiet: true, bad: true},
		{what: "a file that is the configuration", change: func() { write(t, "conf", "") }},
	}
	load := func() (*Config, error) { return loadConfig([]string{"conf"}, nil, fakes()) }
	before := seenBy(load())
	for _, s := range steps {
		s.change()
		if same := maps.Equal(before, before.again()); same != s.quiet {
			t.Errorf("%s: seems the same: %t", s.what, same)
		}
		cfg, err := load()
		if (err != nil) != s.bad {
			t.Errorf("%s: %v", s.what, err)
		}
		before = seenBy(cfg, err)
		if !maps.Equal(before, before.again()) {
			t.Errorf("%s: what was read does not seem to be what is there", s.what)
		}
	}
}

func TestWhatCanBeReadOnlyOnceIsNotReadAgain(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, []byte("log: {level: warn}"), 0o600) }()
	cfg, err := loadConfig([]string{pipe}, nil, fakes())
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if err != nil || cfg.Log.Level != "warn" {
		t.Fatalf("%v %v", cfg, err)
	}
	// Both would wait for ever if they opened it.
	if !maps.Equal(cfg.seen, cfg.seen.again()) {
		t.Error("it seems to have changed")
	}
	a := &app{cfg: cfg}
	a.now.Store(cfg)
	r := &reloader{app: a, from: rereading{load: func() (*Config, error) { t.Error("it is read again"); return cfg, nil }}}
	if _, err := r.read(); err == nil || !strings.Contains(err.Error(), pipe+": can be read only once") {
		t.Errorf("%v", err)
	}
}

func TestChangeIsBelievedWhenItLasts(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.yaml", "log: {level: warn}\n")
	cfg, err := loadConfig([]string{"a.yaml"}, nil, fakes())
	if err != nil {
		t.Fatal(err)
	}
	r := &reloader{seen: cfg.seen}
	var before seen
	for i, step := range []struct {
		text    string
		changed bool
		settled bool
	}{
		{"log: {level: warn}\n", false, false},
		{"log: {level: w", true, false},
		{"log: {level: war", true, false},
		{"log: {level: warn}\n", false, false},
		{"log: {level: e", true, false},
		{"log: {level: error}\n", true, false},
		{"log: {level: error}\n", true, true},
	} {
		write(t, "a.yaml", step.text)
		var settled bool
		before, settled = r.look(before)
		if settled != step.settled || (before != nil) != step.changed {
			t.Errorf("step %d: changed %t, settled %t", i, before != nil, settled)
		}
	}
}
