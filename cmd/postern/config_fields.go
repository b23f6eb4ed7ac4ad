package main

import (
	"encoding"
	"reflect"
	"strings"

	"github.com/seed75441868/postern/handlers"
)

// field is a key of a mapping in the configuration, as a struct's field
// describes it: by the tags yaml, doc, validate and insecure. The latter lists
// values that need `insecure: true`.
type field struct {
	key      string
	index    []int
	typ      reflect.Type
	short    bool // yaml:",short": a scalar where the mapping should be is this key's
	omit     bool // yaml:",omitempty": not shown when it has no value
	doc      string
	rules    string
	insecure []string
}

// platformKey says what kind of source it is. It is taken out before a source's
// settings are decoded, so settings can't have a key of this name.
const platformKey = "platform"

// fieldsOf lists the keys of a mapping that is decoded into t.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for sf := range t.Fields() {
		tag, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if tag == "-" || tag == platformKey {
			continue
		}
		if sf.Type.Kind() == reflect.Struct && hasOption(options, "inline") {
			for _, inner := range fieldsOf(sf.Type) {
				inner.index = append([]int{sf.Index[0]}, inner.index...)
				fields = append(fields, inner)
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if tag == "" {
			tag = strings.ToLower(sf.Name)
		}
		fields = append(fields, field{
			key:      tag,
			index:    sf.Index,
			typ:      sf.Type,
			short:    hasOption(options, "short"),
			omit:     hasOption(options, "omitempty"),
			doc:      sf.Tag.Get("doc"),
			rules:    sf.Tag.Get("validate"),
			insecure: strings.Fields(sf.Tag.Get("insecure")),
		})
	}
	return fields
}

func hasOption(options, name string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if option == name {
			return true
		}
	}
	return false
}

// find returns the field of key.
func find(fields []field, key string) (field, bool) {
	for _, f := range fields {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

func keysOf(fields []field) []string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.key
	}
	return keys
}

var (
	secretType  = reflect.TypeFor[handlers.Secret]()
	fileType    = reflect.TypeFor[handlers.File]()
	pathType    = reflect.TypeFor[Path]()
	sourcesType = reflect.TypeFor[Sources]()
	readerType  = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// secretKeys are the ways to say where a secret is.
type secretKeys struct {
	File Path   `yaml:"file" doc:"File that holds the secret; a newline at its end doesn't belong to it."`
	Env  string `yaml:"env" doc:"Environment variable that holds the secret."`
}

// isScalar reports whether t is written as a single value.
func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(readerType) || t == fileType {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return true
	default:
		return false
	}
}

// isText reports whether t is written as a text.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(readerType) || t == fileType || t.Kind() == reflect.String
}

// each calls visit for v and all settings below it, depth first, with their
// paths. Visit returns whether to go on below. F is the zero field for items
// of lists and maps.
func each(v reflect.Value, path string, f field, visit func(v reflect.Value, path string, f field) bool) {
	if v.Kind() == reflect.Pointer {
		if !v.IsNil() {
			each(v.Elem(), path, f, visit)
		}
		return
	}
	if !visit(v, path, f) || v.Type() == secretType || isScalar(v.Type()) || v.Type() == sourcesType {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, inner := range fieldsOf(v.Type()) {
			each(v.FieldByIndex(inner.index), join(path, inner.key), inner, visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			each(v.Index(i), item(path, i), field{}, visit)
		}
	case reflect.Map:
		for _, key := range sortedKeys(v) {
			each(v.MapIndex(key), join(path, key.String()), field{}, visit)
		}
	}
}
