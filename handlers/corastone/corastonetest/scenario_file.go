package corastonetest

import (
	"bytes"
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Scenario is a story that a ledger can play, as one of the flows of the
// Integration API guide goes.
type Scenario struct {
	Name string // of its file
	Flow string // what the guide calls the flow
	Says string // what happens, for people
	// Lines are what happens, one action each.
	Lines []Line
}

// Line is an action of a scenario.
type Line struct {
	Number  int // in the file, from 1
	Verb    string
	Names   []string          // of what it is about
	Values  map[string]string // what else is given
	Reasons []Reason          // of a remediation
}

// String returns the verb and the names.
func (l Line) String() string { return strings.Join(append([]string{l.Verb}, l.Names...), " ") }

//go:embed scenarios/*.txt
var scenarios embed.FS

// Scenarios returns the scenarios that there are, by name.
func Scenarios() ([]Scenario, error) {
	entries, err := scenarios.ReadDir("scenarios")
	if err != nil {
		return nil, err
	}
	var all []Scenario
	for _, e := range entries {
		text, err := scenarios.ReadFile("scenarios/" + e.Name())
		if err != nil {
			return nil, err
		}
		s, err := ReadScenario(strings.TrimSuffix(e.Name(), ".txt"), text)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// grammar says what a verb takes.
type grammar struct {
	names   int // how many; -1: one or more
	values  []string
	reasons bool
}

// verbs are the actions of scenarios. Those that the platform does take
// outcomes too; "is" and "listed" check the status of a subscription or
// offering, and of our assignment to an offering.
func verbs() map[string]grammar {
	m := map[string]grammar{
		"subscribe": {names: 2, values: []string{"amount", "units", "price", "fee", "correlation", "investor", "account", "transactions"}},
		"modify":    {names: 1, values: []string{"amount"}},

		"request-remediation": {names: 1, reasons: true},
		"add-reasons":         {names: 1, reasons: true},

		"add":    {names: 1, values: []string{"name", "type", "currency", "kind", "correlation", "contingent"}},
		"finish": {names: 1},
		"fail":   {names: 1, values: []string{"code"}},
		"is":     {names: 2},
		"listed": {names: 2},
	}
	for _, verb := range []string{
		"open", "pause", "resume", "complete", "approve-revert", "revert", "close", "cancel", "refund", "bust",
		"assign", "accept-assignment", "reject-assignment", "remove-assignment",
		"reject", "review", "remediate", "recall", "accept-recall", "reject-recall", "decline",
	} {
		m[verb] = grammar{names: 1}
	}
	for _, verb := range []string{"accept", "wire", "settle", "issue"} {
		m[verb] = grammar{names: -1}
	}
	for verb, g := range m {
		if !slices.Contains([]string{"add", "finish", "fail", "is", "listed"}, verb) {
			g.values = append(slices.Clone(g.values), outcomes()...)
			m[verb] = g
		}
	}
	return m
}

// outcomes are how an action can go: fails=CODE (its last transaction),
// all-fail=CODE (its first and so all), refused=CODE (it can't be, and nothing
// happens), held=NAME (until finish or fail NAME), and seen=late (we may not
// see it), seen=unpushed or ends=timed_out.
func outcomes() []string {
	return []string{"fails", "all-fail", "refused", "held", "seen", "ends"}
}

// ReadScenario reads a scenario. The file begins with "flow:" and "says:",
// and then has an action a line: a verb, the names of what it is about, and
// key=value. Below request-remediation and add-reasons are their reasons:
//
//	reason EC003 "what is wrong"
//	document subscription.pdf
//	page 3 "where"
//
// A text with spaces stands in quotes, blank lines and those that begin with #
// are nothing, and what isn't known is an error that names the line.
func ReadScenario(name string, text []byte) (Scenario, error) {
	s := Scenario{Name: name}
	known := verbs()
	for i, raw := range bytes.Split(text, []byte("\n")) {
		line := strings.TrimSpace(string(raw))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.line(i+1, line, known); err != nil {
			return Scenario{}, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
	}
	if s.Flow == "" || s.Says == "" || len(s.Lines) == 0 {
		return Scenario{}, fmt.Errorf("%s: lacks flow, says or any action", name)
	}
	return s, nil
}

func (s *Scenario) line(number int, line string, known map[string]grammar) error {
	for prefix, to := range map[string]*string{"flow:": &s.Flow, "says:": &s.Says} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			if *to != "" || len(s.Lines) > 0 {
				return fmt.Errorf("%s is there already, or too late", prefix)
			}
			*to = strings.TrimSpace(rest)
			return nil
		}
	}
	words, err := split(line)
	if err != nil {
		return err
	}
	switch words[0].text {
	case "reason", "document", "page":
		return s.reason(words, known)
	}
	g, ok := known[words[0].text]
	if !ok {
		return fmt.Errorf("there is no action %q", words[0].text)
	}
	l := Line{Number: number, Verb: words[0].text, Values: map[string]string{}}
	for _, w := range words[1:] {
		switch {
		case w.key == "":
			l.Names = append(l.Names, w.text)
		case !slices.Contains(g.values, w.key):
			return fmt.Errorf("%s takes no %q", l.Verb, w.key)
		case l.Values[w.key] != "" || w.text == "":
			return fmt.Errorf("%s is there twice, or empty", w.key)
		default:
			l.Values[w.key] = w.text
		}
	}
	if g.names >= 0 && len(l.Names) != g.names || len(l.Names) == 0 {
		return fmt.Errorf("%s takes another number of names", l.Verb)
	}
	s.Lines = append(s.Lines, l)
	return nil
}

// reason reads a line of a reason, and gives it to the last action.
func (s *Scenario) reason(words []word, known map[string]grammar) error {
	if len(s.Lines) == 0 || !known[s.Lines[len(s.Lines)-1].Verb].reasons {
		return fmt.Errorf("there is nothing that takes a %s", words[0].text)
	}
	l := &s.Lines[len(s.Lines)-1]
	last := len(l.Reasons) - 1
	for _, w := range words {
		if w.key != "" {
			return fmt.Errorf("%s takes no %q", words[0].text, w.key)
		}
	}
	switch {
	case words[0].text == "reason" && len(words) == 3:
		l.Reasons = append(l.Reasons, Reason{Category: words[1].text, Message: words[2].text})
	case words[0].text == "document" && len(words) == 2 && last >= 0:
		l.Reasons[last].Documents = append(l.Reasons[last].Documents, Document{Name: words[1].text})
	case words[0].text == "page" && len(words) == 3 && last >= 0 && len(l.Reasons[last].Documents) > 0:
		n, err := strconv.Atoi(words[1].text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of a page", words[1].text)
		}
		d := &l.Reasons[last].Documents[len(l.Reasons[last].Documents)-1]
		d.Pages = append(d.Pages, Page{Number: n, Description: words[2].text})
	default:
		return fmt.Errorf("this is no %s, or stands in the wrong place", words[0].text)
	}
	return nil
}

// word is a part of a line: a text, or the value of a key.
type word struct{ key, text string }

func split(line string) ([]word, error) {
	var words []word
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		var w word
		if end := strings.IndexAny(line, "=\" \t"); end > 0 && line[end] == '=' {
			w.key, line = line[:end], line[end+1:]
		}
		if rest, ok := strings.CutPrefix(line, `"`); ok {
			text, after, closed := strings.Cut(rest, `"`)
			if !closed || after != "" && after[0] != ' ' && after[0] != '\t' {
				return nil, fmt.Errorf("a quote isn't closed, or something follows it at once")
			}
			w.text, line = text, after
		} else {
			end := strings.IndexAny(line, " \t")
			if end < 0 {
				end = len(line)
			}
			w.text, line = line[:end], line[end:]
			if strings.Contains(w.text, `"`) {
				return nil, fmt.Errorf("a quote is inside a word")
			}
		}
		words = append(words, w)
	}
	return words, nil
}
