package corastone

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

const (
	readmeFile = "../../README.md"
	initFile   = "../../cmd/postern/init.yaml"
	shownFlow  = "initial-investment-with-settlement"
	shownEvent = "subscription.settled"
)

// README shows one flow with all that is told of it, and the state machines, as
// they are. The flag -update writes them.
func TestREADMEShowsWhatIsTold(t *testing.T) {
	told, body := flowShown(t)
	for name, want := range map[string]string{
		"flow":        "```\n" + told + "```\n",
		"event":       "```json\n" + body + "\n```\n",
		"assets":      transitionTable(AssetTransitions(), "offering is", toldOfAsset),
		"securities":  transitionTable(SecurityTransitions(), "", toldOfSecurity),
		"assignments": transitionTable(AssignmentTransitions(), "", toldOfAssignment),
	} {
		shown := read(t, readmeFile)
		begin, end := "<!-- corastone "+name+" -->\n", "<!-- end of corastone "+name+" -->\n"
		before, rest, ok := strings.Cut(shown, begin)
		got, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Errorf("README has no %q", begin)
			continue
		}
		if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
			if err := os.WriteFile(readmeFile, []byte(before+begin+want+end+after), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("README shows another %s; if that is right, -update writes it (-is +shown):\n%s", name, diff)
		}
	}
}

// Paths that the guide doesn't give are marked where operators see them.
func TestInferredPathsAreMarked(t *testing.T) {
	for _, file := range []string{readmeFile, initFile} {
		text := read(t, file)
		for _, e := range allEndpoints {
			line := e.name + ": " + e.path
			if e.inferred != strings.Contains(text, line) {
				t.Errorf("%s names %q: %t, and inferred is %t", file, line, !e.inferred, e.inferred)
			}
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// flowShown returns the subjects and ids of a flow, and one event's body.
func flowShown(t *testing.T) (told, body string) {
	t.Helper()
	var b strings.Builder
	lines := strings.Split(read(t, "testdata/scenarios/"+shownFlow+".golden"), "\n")
	for i, line := range lines {
		stream, subject, ok := strings.Cut(line, " ")
		if !ok || !strings.HasPrefix(stream, "POSTERN_") {
			continue
		}
		var e struct {
			ID      string         `json:"id"`
			Unknown jsontext.Value `json:",embed"`
		}
		if err := json.Unmarshal([]byte(lines[i+1]), &e); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n    %s\n", subject, e.ID)
		if strings.HasPrefix(subject, "postern.events.corastone."+shownEvent+".") {
			v := jsontext.Value(lines[i+1])
			if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
				t.Fatal(err)
			}
			body = string(v)
		}
	}
	if body == "" {
		t.Fatalf("%s has no %s", shownFlow, shownEvent)
	}
	return b.String(), body
}

// transitionTable writes a state machine for people.
func transitionTable(all []Transition, offering string, told func(Transition) []string) string {
	var b strings.Builder
	head := []string{"action", "from", "to", "told as"}
	if offering != "" {
		head = append(head, offering)
	}
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(head)
	row(slices.Repeat([]string{"---"}, len(head)))
	for _, t := range all {
		action := t.Action
		if t.When != "" {
			action += " (" + t.When + ")"
		}
		if t.Restricted {
			action += " (restricted)"
		}
		cells := []string{action, statuses(t.From), target(t), code(told(t))}
		if offering != "" {
			cells = append(cells, statuses(t.Offering))
		}
		row(cells)
	}
	return b.String()
}

func statuses(list []string) string {
	if len(list) == 0 {
		return ""
	}
	named := make([]string, len(list))
	for i, s := range list {
		if named[i] = "`" + s + "`"; s == "" {
			named[i] = "nothing"
		}
	}
	return strings.Join(named, ", ")
}

func target(t Transition) string {
	to := "`" + t.To + "`"
	switch t.To {
	case "":
		return "the same"
	case StatusBefore:
		to = "the one before"
	}
	if t.Inferred {
		to += " *inferred*"
	}
	return to
}

func code(list []string) string {
	slices.Sort(list)
	return statuses(slices.Compact(list))
}

func toldOfAsset(t Transition) []string { return []string{string(stepTypes[t.Event])} }

func toldOfSecurity(t Transition) (types []string) {
	for _, from := range orNothing(t.From) {
		typ, _ := offeringType(from, t.To)
		types = append(types, string(typ))
	}
	return types
}

func toldOfAssignment(t Transition) (types []string) {
	for _, from := range orNothing(t.From) {
		if typ, _ := assignmentType(from, t.To); typ != "" {
			types = append(types, string(typ))
		}
	}
	return types
}

func orNothing(from []string) []string {
	if len(from) == 0 {
		return []string{""}
	}
	return from
}

// Every status that the state machines name is a documented one, and so is
// every event.
func TestTheStateMachinesUseDocumentedWords(t *testing.T) {
	for name, c := range map[string]struct {
		all   []Transition
		known []string
	}{
		"assets":      {AssetTransitions(), append([]string{StatusBefore}, assetStatuses...)},
		"securities":  {SecurityTransitions(), securityStatuses},
		"assignments": {AssignmentTransitions(), []string{"assigned", "accepted", "rejected", "inactive"}},
	} {
		for _, tr := range c.all {
			for _, s := range append(slices.Clone(tr.From), tr.To) {
				if s != "" && !slices.Contains(c.known, s) {
					t.Errorf("%s: %s has the status %q", name, tr.Action, s)
				}
			}
			if name == "assets" && stepTypes[tr.Event] == "" {
				t.Errorf("%s: %s has the event %q", name, tr.Action, tr.Event)
			}
		}
	}
	if len(stepTypes) != 51 || len(assetStatuses) != 27 || len(securityStatuses) != 14 {
		t.Errorf("%d events, %d and %d statuses: the guide lists 51, 27 and 14", len(stepTypes), len(assetStatuses), len(securityStatuses))
	}
}
