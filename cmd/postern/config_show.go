package main

import (
	"encoding"
	"fmt"
	"io"
	"reflect"

	"go.yaml.in/yaml/v3"

	"github.com/seed75441868/postern/handlers"
)

// writeConfig writes the effective configuration as a file that says the same.
// Of secrets it says where they are. With origin, each setting is followed by
// where it was written.
func writeConfig(w io.Writer, cfg *Config, origin bool) error {
	s := &shower{origin: origin, origins: cfg.origins}
	root := s.node(reflect.ValueOf(cfg).Elem(), "")
	sources := &yaml.Node{Kind: yaml.MappingNode}
	for _, source := range cfg.Sources {
		path := join("sources", source.Name)
		platform := s.leaf(text(source.Platform.Name), join(path, platformKey))
		settings := s.node(reflect.ValueOf(source.Settings).Elem(), path)
		settings.Content = append([]*yaml.Node{text(platformKey), platform}, settings.Content...)
		settings.Style = 0
		sources.Content = append(sources.Content, text(source.Name), settings)
	}
	if len(sources.Content) == 0 {
		sources.Style = yaml.FlowStyle
	}
	root.Content = append(root.Content, text("sources"), sources)
	out := yaml.NewEncoder(w)
	out.SetIndent(2)
	if err := out.Encode(root); err != nil {
		return err
	}
	return out.Close()
}

// shower makes YAML of settings.
type shower struct {
	origin  bool
	origins origins
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// leaf adds to n where the setting at path was written.
func (s *shower) leaf(n *yaml.Node, path string) *yaml.Node {
	if s.origin {
		n.LineComment = "default"
		if o, ok := s.origins[path]; ok {
			n.LineComment = o.value.String()
		}
	}
	return n
}

// node returns the setting v, which is at path.
func (s *shower) node(v reflect.Value, path string) *yaml.Node {
	if v.Kind() == reflect.Pointer {
		return s.node(v.Elem(), path)
	}
	switch t := v.Type(); {
	case t == secretType:
		return s.leaf(whereabouts(v.Interface().(handlers.Secret)), path)
	case isScalar(t):
		return s.leaf(scalarNode(v), path)
	case v.Kind() == reflect.Struct:
		return s.structure(v, path)
	case v.Kind() == reflect.Slice:
		return s.list(v, path)
	default:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range sortedKeys(v) {
			n.Content = append(n.Content, text(key.String()), s.node(v.MapIndex(key), join(path, key.String())))
		}
		if len(n.Content) == 0 {
			n.Style = yaml.FlowStyle
			return s.leaf(n, path)
		}
		return n
	}
}

func (s *shower) structure(v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v.Type()) {
		value := v.FieldByIndex(f.index)
		switch {
		case f.typ == sourcesType:
			continue // they follow at the end
		case value.Kind() == reflect.Pointer && value.IsNil():
			continue
		case value.IsZero() && (f.omit || f.typ == secretType):
			continue
		}
		below := s.node(value, join(path, f.key))
		if below.Kind == yaml.MappingNode && len(below.Content) == 0 && value.Kind() == reflect.Struct {
			continue // nothing in it is set
		}
		n.Content = append(n.Content, text(f.key), below)
	}
	if len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	return n
}

func (s *shower) list(v reflect.Value, path string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	inner := v.Type().Elem()
	if v.Len() == 0 || isScalar(inner) || inner == secretType {
		// On one line, with one origin.
		n.Style = yaml.FlowStyle
		quiet := &shower{}
		for i := range v.Len() {
			n.Content = append(n.Content, quiet.node(v.Index(i), item(path, i)))
		}
		return s.leaf(n, path)
	}
	for i := range v.Len() {
		n.Content = append(n.Content, s.node(v.Index(i), item(path, i)))
	}
	return n
}

// whereabouts returns where a secret is.
func whereabouts(s handlers.Secret) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	if s.Env != "" {
		n.Content = []*yaml.Node{text("env"), text(s.Env)}
	} else {
		n.Content = []*yaml.Node{text("file"), text(s.File)}
	}
	return n
}

func scalarNode(v reflect.Value) *yaml.Node {
	if f, ok := v.Interface().(handlers.File); ok {
		return text(f.Path)
	}
	if isText(v.Type()) {
		switch x := v.Interface().(type) {
		case encoding.TextMarshaler:
			return text(plain(x))
		case fmt.Stringer:
			return text(x.String())
		}
		if v.Kind() == reflect.String {
			return text(v.String())
		}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())}
}
