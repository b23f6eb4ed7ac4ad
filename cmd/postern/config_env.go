package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// envPrefix is what all variables that override a setting begin with.
const envPrefix = "POSTERN_"

// serviceLink matches the variables that Kubernetes sets in every container
// beside a Service whose name is or begins with "postern", with their values.
// They are nobody's mistake.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
var serviceLink = regexp.MustCompile(`^POSTERN(_[A-Z0-9]+)*_(` +
	`SERVICE_HOST=.*|` +
	`SERVICE_PORT(_[A-Z0-9]+)*=[0-9]+|` +
	`PORT=(tcp|udp|sctp)://.*|` +
	`PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=.*)$`)

// variable is an environment variable that may override a setting.
type variable struct {
	name  string
	value string
	keys  []string // of the setting, folded
}

// fold makes equal what a variable's name can't tell apart.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// variables applies the environment, and decodes the sources, whose platforms
// it may choose.
func (l *loading) variables() {
	var vars []variable
	seen := map[string]string{}
	for _, name := range sortedNames(l.environ) {
		rest, ok := cutPrefixFold(name, envPrefix)
		if !ok || l.secretVars[name] || serviceLink.MatchString(name+"="+l.environ[name]) {
			continue
		}
		folded := fold(rest)
		if first, twice := seen[folded]; twice {
			l.fault(Position{File: name}, "", "sets the same as "+first+"; keep one")
			continue
		}
		seen[folded] = name
		vars = append(vars, variable{name: name, value: l.environ[name], keys: strings.Split(folded, "__")})
	}
	vars = slices.DeleteFunc(vars, l.platformVariable)
	l.settle()
	var unknown []variable
	for _, v := range vars {
		if !l.secretVars[v.name] && !l.override(v) {
			unknown = append(unknown, v)
		}
	}
	for _, v := range unknown {
		// A variable that came later may have said that this one is a secret.
		if !l.secretVars[v.name] {
			l.strangeVariable(v.name)
		}
	}
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// platformVariable applies v if it chooses the platform of a source, which may
// be one that no file knows.
func (l *loading) platformVariable(v variable) bool {
	if len(v.keys) != 3 || v.keys[0] != "sources" || v.keys[2] != platformKey {
		return false
	}
	text := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v.value}
	name := strings.ReplaceAll(v.keys[1], "_", "-")
	l.apply(v, []string{"sources", name, platformKey}, text)
	return true
}

// override applies v. It returns false if there is no such setting.
func (l *loading) override(v variable) bool {
	if len(v.keys) > 2 && v.keys[0] == "sources" {
		return l.overrideSource(v)
	}
	keys, t := locate(reflect.TypeFor[Config](), v.keys)
	if t == nil || t == sourcesType {
		return false
	}
	n, ok := l.valueNode(v, t)
	if ok {
		l.apply(v, keys, n)
	}
	return true
}

func (l *loading) overrideSource(v variable) bool {
	name := strings.ReplaceAll(v.keys[1], "_", "-")
	for _, s := range l.cfg.Sources {
		if s.Name != name {
			continue
		}
		keys, t := locate(reflect.TypeOf(s.Settings).Elem(), v.keys[2:])
		if t == nil {
			return false
		}
		if n, ok := l.valueNode(v, t); ok {
			d := &decoder{l: l, name: v.name, env: true}
			d.decode(nest(keys, n), reflect.ValueOf(s.Settings).Elem(), join("sources", name))
		}
		return true
	}
	// A source whose platform is not known has been reported.
	_, drafted := l.drafts[name]
	return drafted
}

// apply decodes what v says into the configuration.
func (l *loading) apply(v variable, keys []string, n *yaml.Node) {
	d := &decoder{l: l, name: v.name, env: true}
	d.decode(nest(keys, n), reflect.ValueOf(l.cfg).Elem(), "")
}

// nest returns n below keys.
func nest(keys []string, n *yaml.Node) *yaml.Node {
	for _, key := range slices.Backward(keys) {
		n = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, n,
		}}
	}
	return n
}

// locate follows folded keys from t. It returns the keys as they are written
// and the type of the setting, or nil if there is none.
func locate(t reflect.Type, folded []string) ([]string, reflect.Type) {
	var keys []string
	for _, want := range folded {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t == secretType {
			t = reflect.TypeFor[secretKeys]()
		}
		switch {
		case isScalar(t):
			return nil, nil
		case t.Kind() == reflect.Map:
			keys, t = append(keys, want), t.Elem()
			continue
		case t.Kind() != reflect.Struct:
			return nil, nil
		}
		fields := fieldsOf(t)
		i := slices.IndexFunc(fields, func(f field) bool { return fold(f.key) == want })
		if i < 0 {
			return nil, nil
		}
		keys, t = append(keys, fields[i].key), fields[i].typ
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return keys, t
}

// valueNode returns the value of v as a node that can be decoded into t. Texts
// stand for themselves, unless they are in quotes; all else is YAML.
func (l *loading) valueNode(v variable, t reflect.Type) (*yaml.Node, bool) {
	quoted := strings.HasPrefix(v.value, `"`) || strings.HasPrefix(v.value, "'")
	if isText(t) && !quoted {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v.value}, true
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(v.value), &doc); err != nil {
		l.fault(Position{File: v.name}, "", "is not valid YAML; write a list as [a, b] and a mapping as {key: value}")
		return nil, false
	}
	if len(doc.Content) != 1 {
		l.fault(Position{File: v.name}, "", "has no value; give it one or unset it")
		return nil, false
	}
	return doc.Content[0], true
}

// strangeVariable reports a variable that sets nothing.
func (l *loading) strangeVariable(name string) {
	text := "is not a setting; unset it, or see `postern config show` for what there is"
	switch near := closest(strings.ToUpper(name), l.variableNames()); {
	case near == strings.ToUpper(name):
		text = "can't be set as a whole; set what is in it, like " + near + "__NAME__KEY"
	case near != "":
		text = "is not a setting; did you mean " + near + "?"
	}
	l.fault(Position{File: name}, "", text)
}

// variableNames lists the variables that could be set.
func (l *loading) variableNames() []string {
	var names []string
	var below func(t reflect.Type, prefix string)
	below = func(t reflect.Type, prefix string) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t == secretType {
			t = reflect.TypeFor[secretKeys]()
		}
		if isScalar(t) || t.Kind() != reflect.Struct {
			return
		}
		for _, f := range fieldsOf(t) {
			name := prefix + strings.ToUpper(fold(f.key))
			names = append(names, name)
			below(f.typ, name+"__")
		}
	}
	below(reflect.TypeFor[Config](), envPrefix)
	for _, s := range l.cfg.Sources {
		prefix := envPrefix + "SOURCES__" + strings.ToUpper(fold(s.Name)) + "__"
		names = append(names, prefix+strings.ToUpper(platformKey))
		below(reflect.TypeOf(s.Settings), prefix)
	}
	return names
}
