package accesscontrols

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/schemas"
)

// maxDrift is how much drift one change may tell.
const maxDrift = 32

// drifted returns what is in a document that its shape doesn't know and was not
// there before, and whether all new values of enums are documented.
func drifted(before, after any, s *shape) (drift []schemas.Drift, known bool) {
	old := surprises(before, s)
	known = true
	for _, d := range surprises(after, s) {
		if slices.ContainsFunc(old, func(o schemas.Drift) bool { return equal(o, d) }) {
			continue
		}
		known = known && d.Value == nil
		if len(drift) < maxDrift {
			drift = append(drift, d)
		}
	}
	return drift, known
}

func equal(a, b schemas.Drift) bool {
	return a.Path == b.Path && (a.Value == nil) == (b.Value == nil) && (a.Value == nil || *a.Value == *b.Value)
}

// surprises lists what is in a tree that its shape doesn't know.
func surprises(tree any, s *shape) []schemas.Drift {
	var l surpriseList
	if tree != nil {
		l.look("", tree, s)
	}
	return l
}

type surpriseList []schemas.Drift

func (l *surpriseList) note(d schemas.Drift) {
	if len(*l) < 4*maxDrift && !slices.ContainsFunc(*l, func(o schemas.Drift) bool { return equal(o, d) }) {
		*l = append(*l, d)
	}
}

func (l *surpriseList) look(path string, v any, s *shape) {
	switch s.kind {
	case kindObject:
		if object, ok := v.(map[string]any); ok {
			for _, name := range sortedKeys(object) {
				if p, known := s.find(name); known {
					l.look(join(path, name), object[name], p.shape)
				} else {
					l.note(driftOf(join(path, safe(name)), ""))
				}
			}
			return
		}
	case kindDict: // its names are data
		if object, ok := v.(map[string]any); ok {
			for _, name := range sortedKeys(object) {
				l.look(join(path, "*"), object[name], s.of)
			}
			return
		}
	case kindRule:
		if _, ok := v.(bool); ok {
			return
		}
		l.look(path, v, documented.rule)
		return
	case kindSet:
		if list, ok := v.([]any); ok {
			for _, element := range list {
				l.look(path, element, s.of)
			}
			return
		}
	case kindBool:
		if _, ok := v.(bool); ok {
			return
		}
	case kindEnum:
		if e, ok := v.(string); ok && !strings.HasPrefix(e, hidden) {
			if !slices.Contains(s.values, e) {
				l.note(driftOf(path, e))
			}
			return
		}
	case kindNumber:
		if _, ok := v.(jsontext.Value); ok {
			return
		}
	default:
		if e, ok := v.(string); ok && !strings.HasPrefix(e, hidden) {
			return
		}
	}
	l.note(driftOf(path, ""))
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// safe returns a name that looks like one; others were hidden.
func safe(name string) string {
	if identifier(name) {
		return name
	}
	return "*"
}

// driftOf returns drift at a path. A value that was hidden isn't told.
func driftOf(path, value string) schemas.Drift {
	d := schemas.Drift{Platform: Name, Path: path}
	if value != "" && !strings.HasPrefix(value, hidden) {
		d.Value = &value
	}
	return d
}
