package main

import (
	"cmp"
	"encoding"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed75441868/postern/handlers"
)

// maxNodes limits what one file may make us look at, so that aliases of
// aliases can't keep us busy.
const maxNodes = 100_000

// decoder reads the nodes of one file, or of one environment variable, into
// structs. Keys that are there already stay as they are unless a node has
// them: maps merge, lists and secrets are replaced.
type decoder struct {
	l     *loading
	name  string // of the file or variable, for positions
	dir   string // what relative paths are relative to
	env   bool   // texts need no quotes
	nodes int
}

func (d *decoder) position(n *yaml.Node) Position {
	if d.env {
		return Position{File: d.name}
	}
	return Position{File: d.name, Line: n.Line, Column: n.Column}
}

// mark notes where the setting at path was written.
func (d *decoder) mark(path string, key, value *yaml.Node) {
	o := origin{key: d.position(key)}
	o.value = o.key
	if value.Kind == yaml.ScalarNode {
		o.value = d.position(value)
	}
	d.l.cfg.origins[path] = o
}

// fault reports that the setting at path is wrong where n stands.
func (d *decoder) fault(n *yaml.Node, path, format string, args ...any) {
	d.l.fault(d.position(n), path, about(path, fmt.Sprintf(format, args...)))
}

// decode reads n into v, which is the setting at path.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path string) {
	d.nodes++
	if d.nodes > maxNodes || d.l.full() {
		if d.nodes == maxNodes+1 {
			d.l.fault(Position{File: d.name}, "", "has more settings than can be read")
		}
		return
	}
	n = target(n)
	null := n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
	switch t := v.Type(); {
	case t == sourcesType:
		d.sources(n, path)
	case t == secretType:
		d.secret(n, v, path)
	case v.Kind() == reflect.Pointer && !null:
		fresh := reflect.New(t.Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		d.decode(n, fresh.Elem(), path)
		v.Set(fresh)
	case null && v.Kind() != reflect.Struct && v.Kind() != reflect.Map, null && isScalar(t):
		d.fault(n, path, "has no value; give it one or remove the key")
	case isScalar(t):
		d.scalar(n, v, path)
	case v.Kind() == reflect.Struct:
		d.structure(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	case v.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		d.dictionary(n, v, path)
	default:
		d.fault(n, path, "can't be configured: there is no way to read a %s", t)
	}
}

// target follows an alias to what it stands for.
func target(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// pairs calls use for every key of n, except for those that are there twice.
// Path is n's.
func (d *decoder) pairs(n *yaml.Node, path string, use func(key, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "must be a mapping of keys to values")
		return
	}
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if d.l.full() {
			return
		}
		if target(key).Kind != yaml.ScalarNode {
			d.fault(key, path, "has a key that is no text")
			continue
		}
		if key.ShortTag() == "!!merge" {
			d.fault(key, path, "has a merge key (<<); write out what it stands for")
			continue
		}
		name := target(key).Value
		if before, twice := first[name]; twice {
			d.fault(key, join(path, name), "is there twice; the first one is on line %d", before.Line)
			continue
		}
		first[name] = key
		use(key, value)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		for _, f := range fields {
			if f.short {
				d.mark(join(path, f.key), n, n)
				d.decode(n, v.FieldByIndex(f.index), join(path, f.key))
				return
			}
		}
	}
	d.pairs(n, path, func(key, value *yaml.Node) {
		f, ok := find(fields, target(key).Value)
		if !ok {
			d.unknown(key, path, keysOf(fields))
			return
		}
		below := join(path, f.key)
		d.mark(below, key, value)
		d.decode(value, v.FieldByIndex(f.index), below)
	})
}

// unknown reports a key that nothing reads.
func (d *decoder) unknown(key *yaml.Node, path string, known []string) {
	name := target(key).Value
	place := join(path, name)
	if near := closest(name, known); near != "" {
		// What the key should have set is not missing as well.
		d.l.broken[join(path, near)] = true
		d.fault(key, place, "is not a key; did you mean %q?", near)
		return
	}
	if len(known) == 0 {
		d.fault(key, place, "is not a key; there are none here")
		return
	}
	known = slices.Sorted(slices.Values(known))
	d.fault(key, place, "is not a key; there are: %s", strings.Join(known, ", "))
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "must be a list, like [a, b]")
		return
	}
	d.l.cfg.origins.forgetBelow(path)
	fresh := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, value := range n.Content {
		below := item(path, i)
		d.mark(below, value, target(value))
		if isText(v.Type().Elem()) && target(value).Kind == yaml.ScalarNode && target(value).Value == "" {
			d.fault(value, below, "must not be empty")
			continue
		}
		d.decode(value, fresh.Index(i), below)
	}
	v.Set(fresh)
}

func (d *decoder) dictionary(n *yaml.Node, v reflect.Value, path string) {
	d.pairs(n, path, func(key, value *yaml.Node) {
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		name := reflect.ValueOf(target(key).Value).Convert(v.Type().Key())
		fresh := reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(name); old.IsValid() {
			fresh.Set(old)
		}
		below := join(path, target(key).Value)
		d.mark(below, key, value)
		d.decode(value, fresh, below)
		v.SetMapIndex(name, fresh)
	})
}

// secret reads where a secret is. It replaces what an earlier file says.
func (d *decoder) secret(n *yaml.Node, v reflect.Value, path string) {
	const how = "write {file: PATH} or {env: NAME}"
	fields := fieldsOf(reflect.TypeFor[secretKeys]())
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if _, ok := find(fields, target(n.Content[i]).Value); !ok {
			// The key isn't repeated here: {hunter2} is a mapping too.
			d.fault(n, path, "is a secret and has a key that is neither file nor env: %s", how)
			return
		}
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "is a secret, which is never written here: %s", how)
		return
	}
	d.l.cfg.origins.forgetBelow(path)
	var where secretKeys
	before := len(d.l.problems)
	d.structure(n, reflect.ValueOf(&where).Elem(), path)
	if where.Env != "" {
		d.l.secretVars[where.Env] = true
	}
	switch {
	case len(d.l.problems) > before:
	case where.File == "" && where.Env == "":
		d.fault(n, path, "needs to say where the secret is: %s", how)
	case where.File != "" && where.Env != "":
		d.fault(n, path, "has both a file and an environment variable; keep one")
	default:
		v.Set(reflect.ValueOf(handlers.Secret{File: string(where.File), Env: where.Env}))
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.ScalarNode {
		d.fault(n, path, "must be a single value, not a %s", map[yaml.Kind]string{
			yaml.MappingNode: "mapping", yaml.SequenceNode: "list",
		}[n.Kind])
		return
	}
	switch t := v.Type(); {
	case t == fileType:
		f := handlers.File{Path: d.resolve(n.Value)}
		v.Set(reflect.ValueOf(f))
	case reflect.PointerTo(t).Implements(readerType):
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
			d.fault(n, path, "%s", firstLine(err))
		}
	case v.Kind() == reflect.String:
		if tag := n.ShortTag(); !d.env && tag != "!!str" && tag != "!!timestamp" {
			d.fault(n, path, "must be text; put it in quotes")
			return
		}
		v.SetString(n.Value)
		if t == pathType {
			v.SetString(d.resolve(n.Value))
		}
	default:
		kind := cmp.Or(map[reflect.Kind]string{
			reflect.Bool: "must be true or false", reflect.Float32: "must be a number", reflect.Float64: "must be a number",
		}[v.Kind()], "must be a whole number")
		// YAML would also read a number out of a quoted text, or 1 as true.
		tag := n.ShortTag()
		fits := tag == "!!int" && v.Kind() != reflect.Bool || tag == "!!bool" && v.Kind() == reflect.Bool ||
			tag == "!!float" && (v.Kind() == reflect.Float32 || v.Kind() == reflect.Float64)
		if !fits || n.Decode(v.Addr().Interface()) != nil {
			d.fault(n, path, "%s", kind)
		}
	}
}

// resolve makes a path relative to the working directory.
func (d *decoder) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(d.dir, path)
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
