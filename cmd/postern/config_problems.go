package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is where something stands in the configuration.
type Position struct {
	File         string // a file, or the name of an environment variable
	Line, Column int    // from 1; 0 if the whole file or a variable is meant
}

// String returns "config.yaml:12:5" or "POSTERN_LOG__LEVEL".
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is something that somebody should correct.
type Problem struct {
	Position
	Message string
}

// String returns the problem as compilers print theirs.
func (p Problem) String() string { return p.Position.String() + ": " + p.Message }

// configError says everything that is wrong with a configuration. Its text
// holds keys and rules, and no secret.
type configError struct {
	problems []Problem // at least one, by position
	warnings []Problem
	seen     seen
}

func (e *configError) Error() string {
	lines := make([]string, len(e.problems))
	for i, p := range e.problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sortProblems sorts by position: files in the order in which they were read,
// what is in no file behind them.
func sortProblems(problems []Problem, files []string) []Problem {
	place := func(p Problem) int {
		if i := slices.Index(files, p.File); i >= 0 {
			return i
		}
		return len(files)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(place(a), place(b)),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
	return slices.Compact(problems)
}

// predicates are the words that a message can begin with so that it reads as a
// sentence about a key.
var predicates = []string{"must ", "has ", "is ", "needs ", "names ", "can't ", "cannot ", "does ", "may ", "holds "}

// about makes a sentence about the setting at path.
func about(path, text string) string {
	if path == "" {
		return text
	}
	for _, p := range predicates {
		if strings.HasPrefix(text, p) {
			return path + " " + text
		}
	}
	return path + ": " + text
}

// closest returns the candidate that s was probably meant to be, or "".
func closest(s string, candidates []string) string {
	best, least := "", max(1, min(3, len(s)/3))+1
	for _, c := range candidates {
		if d := distance(s, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, remove, change or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 200 || len(b) > 200 {
		return 200
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(last[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// origins knows where each setting was written.
type origins map[string]origin

type origin struct {
	key   Position
	value Position // of a scalar; else the key's
}

// at returns where the setting at path was written, or the nearest setting
// around it, or fallback.
func (o origins) at(path string, fallback Position) Position {
	if found, ok := o[path]; ok {
		return found.value
	}
	for path != "" {
		path = parent(path)
		if found, ok := o[path]; ok {
			return found.key
		}
	}
	return fallback
}

// forgetBelow removes everything below path, which is a list or a secret.
func (o origins) forgetBelow(path string) {
	_, list := o[item(path, 0)]
	_, file := o[join(path, "file")]
	_, env := o[join(path, "env")]
	if !list && !file && !env {
		return
	}
	for p := range o {
		if p != path && within(p, path) {
			delete(o, p)
		}
	}
}

// join returns the path of a key below path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// item returns the path of a list's item.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// parent returns the path of what holds path.
func parent(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}

// within reports whether path is outer or below it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || outer == "" || rest[0] == '.' || rest[0] == '[')
}
