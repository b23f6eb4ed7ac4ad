package handlerstest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The promises of polled platforms, as their subtests are called.
const (
	refusesSettings = "settings that don't authenticate, or in the clear, are refused"
	tellsFirst      = "the first scan tells what is there, as bootstrap"
	staysQuiet      = "what does not change is neither told nor written"
	tellsOnce       = "what happens is told once, also over a restart"
	swings          = "there and back are three changes"
	missesTwice     = "absence takes two scans"
	seesFaults      = "faults are no absence"
	losesNothing    = "faults lose and invent nothing"
	logsInOnce      = "a token is asked for once per expiry"
	locksNobodyOut  = "a refused login is not repeated"
	isDiscreet      = "nothing personal and no secret is told"
	repeatsNothing  = "errors repeat nothing of an answer"
	survivesJunk    = "translating survives junk"
)

// sins maps what a polled platform can do wrong to the promise that it breaks.
var sins = map[string]string{
	"none":                       "",
	"needs no password":          refusesSettings,
	"travels in the clear":       refusesSettings,
	"shows its password":         refusesSettings,
	"shares its settings":        refusesSettings,
	"takes any settings":         refusesSettings,
	"polls without an interval":  refusesSettings,
	"forgets somebody":           tellsFirst,
	"is never first":             tellsFirst,
	"tells of nobody's revision": tellsFirst,
	"has ids of its own":         tellsFirst,
	"has words of its own":       tellsFirst,
	"tracks the time":            staysQuiet,
	"tells changes twice":        tellsOnce,
	"forgets with a restart":     tellsOnce,
	"counts by its state":        swings,
	"believes once":              missesTwice,
	"believes errors":            missesTwice,
	"takes nothing for all":      seesFaults,
	"takes half for all":         seesFaults,
	"takes errors for refusals":  losesNothing,
	"hides errors":               losesNothing,
	"forgets Retry-After":        losesNothing,
	"quotes answers":             losesNothing,
	"quotes URLs":                losesNothing,
	"fails in a way of its own":  losesNothing,
	"takes a page for JSON":      seesFaults,
	"logs in every time":         logsInOnce,
	"waits to be refused":        logsInOnce,
	"insists":                    locksNobodyOut,
	"tells names":                isDiscreet,
	"keeps names":                isDiscreet,
	"drifts with values":         isDiscreet,
	"keeps tokens":               isDiscreet,
	"quotes what it can't read":  repeatsNothing,
	"panics":                     survivesJunk,
	"fails any way":              survivesJunk,
	"translates at random":       survivesJunk,
	"quotes what it can't tell":  survivesJunk,
	"changes what it translates": survivesJunk,
}

// TestPollerNoticesEverySin runs the suite on a platform with one sin at a
// time, each in a process of its own, as a failing test can't be caught.
func TestPollerNoticesEverySin(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process for each sin")
	}
	for sin, breaks := range sins {
		t.Run(sin, func(t *testing.T) {
			t.Parallel()
			run := "^TestSinner$"
			if breaks != "" {
				run += "/^" + strings.ReplaceAll(breaks, " ", "_") + "$"
			}
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run="+run, "-test.v")
			child.Env = append(os.Environ(), "SIN="+sin)
			out, err := child.CombinedOutput()
			if (err == nil) != (breaks == "") {
				t.Fatalf("the suite says %v:\n%.2000s", err, out)
			}
			if breaks != "" && sin != "panics" && !failed(string(out), strings.ReplaceAll(breaks, " ", "_")) {
				t.Errorf("another test noticed:\n%.2000s", out)
			}
		})
	}
}
