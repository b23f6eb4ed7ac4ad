package journal_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if scenario, ok := os.LookupEnv(childScenario); ok {
		child(scenario, os.Getenv(childDir))
		return
	}
	// Fewer than rapid's hundred; -rapid.checks overrides it.
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
