package handlers_test

import (
	"strings"
	"testing"

	"github.com/seed75441868/postern/handlers"
)

func TestBaseURLTakesWhereAnAPICanBe(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.example":            "https://api.example",
		"https://api.example/":           "https://api.example",
		"https://api.example:8443/a/b//": "https://api.example:8443/a/b",
		"https://api.example/%2F":        "https://api.example/%2F",
		"http://127.0.0.1:8080":          "http://127.0.0.1:8080",
		"http://[::1]:8080/x":            "http://[::1]:8080/x",
		"http://localhost:1":             "http://localhost:1",
	} {
		if got, err := handlers.BaseURL("api.url", in, "https://x.example"); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestBaseURLRefusesWhatLosesCredentials(t *testing.T) {
	for _, in := range []string{
		"", "api.example", "//api.example", "ftp://api.example", "https://", "https:api.example", "mailto:a@b.example",
		"https://user:hush@api.example", "https://api.example?key=hush", "https://api.example?", "https://api.example#hush",
		"http://api.example", "http://127.0.0.1.example", "http://localhost.example", "http://10.0.0.1", "https://a b.example",
	} {
		got, err := handlers.BaseURL("api.url", in, "https://x.example")
		if err == nil {
			t.Errorf("%q was taken as %q", in, got)
			continue
		}
		if !strings.HasPrefix(err.Error(), "api.url ") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", in, err)
		}
	}
}
