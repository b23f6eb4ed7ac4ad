package main

import (
	"runtime"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

func TestVersion(t *testing.T) {
	code, text, _ := command(t, nil, "version")
	if code != exitOK || !strings.HasPrefix(text, "postern ") || !strings.Contains(text, runtime.Version()) {
		t.Errorf("exit %d, said %q", code, text)
	}
	code, text, _ = command(t, nil, "version", "-o", "json")
	var got build
	if err := json.Unmarshal([]byte(text), &got, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	if code != exitOK || got.Go != runtime.Version() || got.Version == "" {
		t.Errorf("exit %d, said %+v", code, got)
	}
}

func TestBuildOnOneLine(t *testing.T) {
	b := build{Version: "v1.2.3", Revision: "0123456789abcdef0123", Modified: true, Go: "go1.26"}
	if got := b.String(); got != "postern v1.2.3 0123456789ab (modified) go1.26" {
		t.Errorf("got %q", got)
	}
}
