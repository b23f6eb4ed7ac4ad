package journal_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if scenario, ok := os.LookupEnv(childScenario); ok {
		child(scenario, os.Getenv(childDir))
		return
	}
	goleak.VerifyTestMain(m)
}
