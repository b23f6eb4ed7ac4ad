package main

import (
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/schemas"
)

// reservedSources are labels and subject tokens that mean something else.
var reservedSources = []string{schemas.ReservedSource, ingress.UnknownSource}

// draft is a source whose settings can't be decoded yet: which struct they
// belong into is known only when all files are read.
type draft struct {
	name     string
	platform string
	parts    []part
}

// part is what one file says about a source.
type part struct {
	d    *decoder
	node *yaml.Node // without the platform
}

// sources collects the sources of a file.
func (d *decoder) sources(n *yaml.Node, path string) {
	d.pairs(n, path, func(key, value *yaml.Node) {
		name := target(key).Value
		below := join(path, name)
		d.mark(below, key, value)
		switch {
		case slices.Contains(reservedSources, name):
			d.fault(key, below, "is a reserved name; choose another one")
			return
		case !schemas.SourceName.MatchString(name):
			d.fault(key, below, "is no name for a source: a name has 1 to 32 of the characters a-z, 0-9 and -")
			return
		}
		dr := d.l.drafts[name]
		if dr == nil {
			dr = &draft{name: name}
			d.l.drafts[name] = dr
		}
		dr.add(d, target(value), below)
	})
}

// add notes what a file says about the source, and takes the platform out.
func (dr *draft) add(d *decoder, n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		dr.parts = append(dr.parts, part{d, n})
		return
	}
	rest := *n
	rest.Content = nil
	var first *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		below := join(path, platformKey)
		switch {
		case target(key).Value != platformKey:
			rest.Content = append(rest.Content, key, value)
		case first != nil:
			d.fault(key, below, "is there twice; the first one is on line %d", first.Line)
		default:
			first = key
			d.mark(below, key, value)
			d.decode(value, reflect.ValueOf(&dr.platform).Elem(), below)
		}
	}
	dr.parts = append(dr.parts, part{d, &rest})
}

// settle finds the platform of every source and decodes its settings.
func (l *loading) settle() {
	for _, name := range sortedNames(l.drafts) {
		dr := l.drafts[name]
		path := join("sources", name)
		i := slices.IndexFunc(l.platforms, func(p handlers.Platform) bool { return p.Name == dr.platform })
		if i < 0 {
			l.strange(dr, path)
			continue
		}
		s := &Source{Name: name, Platform: l.platforms[i], Settings: l.platforms[i].Settings()}
		v := reflect.ValueOf(s.Settings).Elem()
		for _, p := range dr.parts {
			p.d.decode(p.node, v, path)
		}
		l.cfg.Sources = append(l.cfg.Sources, s)
	}
}

// strange reports a source without a platform that we know.
func (l *loading) strange(dr *draft, path string) {
	var known []string
	for _, p := range l.platforms {
		known = append(known, p.Name)
	}
	slices.Sort(known)
	below := join(path, platformKey)
	switch near := closest(dr.platform, known); {
	case dr.platform == "":
		l.faultAt(below, "is missing; this version knows %s", strings.Join(known, ", "))
	case near != "":
		l.faultAt(below, "is unknown; did you mean %q?", near)
	default:
		l.faultAt(below, "is unknown; this version knows %s", strings.Join(known, ", "))
	}
}

// open opens every source that nothing is wrong with.
func (l *loading) open() {
	for _, s := range l.cfg.Sources {
		path := join("sources", s.Name)
		if related(l.broken, path) || related(l.told, path) {
			continue
		}
		opened, err := s.Platform.Open(s.Name, s.Settings, l.means(s.Name))
		if err != nil {
			for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
				below, text := s.place(path, line)
				l.fault(l.cfg.origins.at(below, l.top()), below, about(below, text))
			}
			continue
		}
		s.Opened = opened
		if opened.Push != nil && opened.Push.ClientCAs != nil && l.cfg.Ingress.TLS == nil {
			l.faultAt(join(path, "push.client_ca"), "needs ingress.tls: only over TLS a caller can show a certificate")
		}
		for _, w := range opened.Warnings {
			below, text := s.place(path, w)
			l.warnAt(below, "%s", text)
		}
	}
}

// place finds which setting a platform's message is about, if it begins with
// its keys: "push.topics[0] is no ARN".
func (s *Source) place(path, message string) (below, text string) {
	keys, text, ok := strings.Cut(message, " ")
	keys = strings.TrimSuffix(keys, ":")
	top := keys
	if i := strings.IndexAny(keys, ".["); i >= 0 {
		top = keys[:i]
	}
	if _, known := find(fieldsOf(reflect.TypeOf(s.Settings).Elem()), top); !ok || !known {
		return path, message
	}
	return join(path, keys), text
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sortedKeys returns the keys of a map of texts by name.
func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}
