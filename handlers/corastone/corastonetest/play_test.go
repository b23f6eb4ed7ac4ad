package corastonetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

func scenario(t *testing.T, name string) corastonetest.Scenario {
	t.Helper()
	all, err := corastonetest.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no scenario %s", name)
	return corastonetest.Scenario{}
}

func TestEveryFlowOfTheGuideCanBePlayed(t *testing.T) {
	all, err := corastonetest.Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	flows := map[string]bool{}
	for _, s := range all {
		flows[s.Flow] = true
		var o told
		l := corastonetest.NewLedger(corastonetest.Options{Now: newClock().now, Tell: o.tell})
		if _, err := corastonetest.Play(t.Context(), l, s); err != nil {
			t.Error(err)
		}
		if len(o.names()) == 0 {
			t.Errorf("%s tells nothing", s.Name)
		}
	}
	for _, flow := range []string{"onboard a fund", "initial investment", "remediation", "recall", "revert back to active"} {
		if !flows[flow] {
			t.Errorf("no scenario is %q", flow)
		}
	}
}

// TestSamePlaySameWords: the same scenario on ledgers of one seed tells the
// same, byte for byte.
func TestSamePlaySameWords(t *testing.T) {
	play := func(seed uint64) (out []string) {
		clock := newClock()
		l := corastonetest.NewLedger(corastonetest.Options{Now: clock.now, Seed: seed, Tell: func(e corastonetest.Entry) { out = append(out, e.Entry()) }})
		pass := func(context.Context, corastonetest.Line) error { clock.pass(time.Minute); return nil }
		if _, err := corastonetest.Play(t.Context(), l, scenario(t, "remediation"), pass); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := play(1)
	if diff := cmp.Diff(first, play(1)); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	if slices.Equal(first, play(2)) {
		t.Error("another seed tells the same")
	}
}

func TestPlayEnds(t *testing.T) {
	s := scenario(t, "recall-accepted")
	l := func() *corastonetest.Ledger {
		return corastonetest.NewLedger(corastonetest.Options{Now: newClock().now})
	}
	stop := errors.New("stop")
	if _, err := corastonetest.Play(t.Context(), l(), s, func(context.Context, corastonetest.Line) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := corastonetest.Play(ctx, l(), s); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestScenarioThatGoesOtherwiseFails(t *testing.T) {
	for _, end := range []string{"open fund", "open fund refused=IS0013", "is fund paused", "listed fund accepted", "close nothing", "finish fund", "assign fund refused=EX0001"} {
		text := "flow: f\nsays: s\nadd fund\nopen fund\n" + end
		s, err := corastonetest.ReadScenario("x", []byte(text))
		if err != nil {
			t.Fatal(end, err)
		}
		_, err = corastonetest.Play(t.Context(), corastonetest.NewLedger(corastonetest.Options{}), s)
		if err == nil || !strings.HasPrefix(err.Error(), "x:5: ") {
			t.Errorf("%s: %v", end, err)
		}
	}
}

func TestScenariosAreReadStrictly(t *testing.T) {
	for name, c := range map[string]struct{ text, err string }{
		"unknown verb":        {"flow: f\nsays: s\nfly fund", "x:3: "},
		"unknown key":         {"flow: f\nsays: s\nopen fund amount=3", "x:3: "},
		"key twice":           {"flow: f\nsays: s\nadd fund name=a name=b", "x:3: "},
		"value is empty":      {"flow: f\nsays: s\nadd fund name=", "x:3: "},
		"too few names":       {"flow: f\nsays: s\nsubscribe lot", "x:3: "},
		"too many names":      {"flow: f\nsays: s\nopen a b", "x:3: "},
		"no names":            {"flow: f\nsays: s\naccept", "x:3: "},
		"open quote":          {"flow: f\nsays: s\nadd fund name=\"a", "x:3: "},
		"text after a quote":  {"flow: f\nsays: s\nadd fund name=\"a\"b", "x:3: "},
		"quote in a word":     {"flow: f\nsays: s\nadd fu\"nd", "x:3: "},
		"flow twice":          {"flow: f\nflow: g", "x:2: "},
		"reason of nothing":   {"flow: f\nsays: s\nopen fund\nreason EC001 a", "x:4: "},
		"page of no document": {"flow: f\nsays: s\nrequest-remediation lot\nreason EC001 a\npage 1 a", "x:5: "},
		"page without number": {"flow: f\nsays: s\nrequest-remediation lot\nreason EC001 a\ndocument d\npage x a", "x:6: "},
		"no flow":             {"says: s\nopen fund", "x: "},
		"no actions":          {"flow: f\nsays: s", "x: "},
	} {
		if _, err := corastonetest.ReadScenario("x", []byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
