package corastone_test

import (
	"crypto/fips140"
	"os"
	"os/exec"
	"testing"

	"github.com/seed75441868/postern/handlers"
)

// TestSHA1IsUncheckableWhereFIPSForbidsIt runs itself in a process that may
// use FIPS 140-3 algorithms only, where SHA-1 panics.
func TestSHA1IsUncheckableWhereFIPSForbidsIt(t *testing.T) {
	if !fips140.Enforced() {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		child.Env = append(os.Environ(), "GODEBUG=fips140=only")
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	webhook := openVectors(t)
	for file, want := range map[string]string{"subject_v1.json": "uncheckable", "subject_v2.json": ""} {
		body, err := os.ReadFile("testdata/vectors/" + file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = webhook.Authenticate(handlers.Request{Body: body, Received: received})
		check(t, err, want)
	}
}
