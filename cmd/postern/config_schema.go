package main

import (
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// schema is a JSON Schema, draft 2020-12.
type schema map[string]any

// writeSchema writes the JSON Schema of a configuration file. A file may be
// one of several, so nothing is required of it but in the items of lists,
// which are replaced as a whole.
func writeSchema(w io.Writer, platforms []handlers.Platform) error {
	root := structSchema(reflect.ValueOf(defaults()).Elem(), false)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Configuration of Postern"
	root["$defs"] = schema{"secret": secretSchema()}

	var kinds []any
	for _, p := range platforms {
		s := structSchema(reflect.ValueOf(p.Settings()).Elem(), false)
		s["properties"].(schema)[platformKey] = schema{"const": p.Name, "description": "What kind of source this is."}
		s["title"] = p.Name
		kinds = append(kinds, s)
	}
	sources := root["properties"].(schema)["sources"].(schema)
	sources["type"] = "object"
	sources["propertyNames"] = schema{
		"pattern": schemas.SourceName.String(),
		"not":     schema{"enum": reservedSources},
	}
	if len(kinds) > 0 {
		sources["additionalProperties"] = schema{"anyOf": kinds}
	}
	if err := json.MarshalWrite(w, root, json.Deterministic(true), jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func secretSchema() schema {
	way := func(key, what string) schema {
		return schema{
			"type": "object", "additionalProperties": false, "required": []string{key},
			"properties": schema{key: schema{"type": "string", "minLength": 1, "description": what}},
		}
	}
	fields := fieldsOf(reflect.TypeFor[secretKeys]())
	return schema{
		"description": "Where a secret is. It is never written in the configuration itself.",
		"oneOf":       []any{way(fields[0].key, fields[0].doc), way(fields[1].key, fields[1].doc)},
	}
}

// structSchema describes a mapping with the keys of v, whose values are the
// defaults. In an item of a list, what has no default is required.
func structSchema(v reflect.Value, listed bool) schema {
	properties := schema{}
	var required []string
	var short schema
	for _, f := range fieldsOf(v.Type()) {
		s := valueSchema(v.FieldByIndex(f.index), f)
		if f.doc != "" {
			s["description"] = f.doc
		}
		properties[f.key] = s
		if f.short {
			short = s
		}
		if listed && (f.typ == secretType || strings.Contains(f.rules, "oneof=") || f.rules == "required") {
			required = append(required, f.key)
		}
	}
	s := schema{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	if short != nil {
		return schema{"anyOf": []any{short, s}}
	}
	return s
}

// valueSchema describes the setting v. Its value is the default.
func valueSchema(v reflect.Value, f field) schema {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		return valueSchema(v.Elem(), f)
	}
	switch t := v.Type(); {
	case t == sourcesType:
		return schema{}
	case t == secretType:
		return schema{"$ref": "#/$defs/secret"}
	case isScalar(t):
		return scalarSchema(v, f)
	case v.Kind() == reflect.Struct:
		return structSchema(v, false)
	case v.Kind() == reflect.Slice:
		inner := reflect.New(t.Elem()).Elem()
		items := valueSchema(inner, field{rules: after(f.rules, "dive")})
		if inner.Kind() == reflect.Struct && !isScalar(inner.Type()) && inner.Type() != secretType {
			items = structSchema(inner, true)
		}
		return schema{"type": "array", "items": items}
	default:
		return schema{
			"type":                 "object",
			"additionalProperties": valueSchema(reflect.New(t.Elem()).Elem(), field{}),
		}
	}
}

func scalarSchema(v reflect.Value, f field) schema {
	s := schema{"type": "string"}
	switch t := v.Type(); {
	case t == reflect.TypeFor[handlers.Duration]():
		s["pattern"] = `^([0-9]+d|0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	case t == reflect.TypeFor[handlers.Size]():
		s["pattern"] = `^[0-9]+([KMGT]i?)?B$`
	case isText(t):
		if values := rule(f.rules, "oneof"); values != "" {
			s["enum"] = strings.Fields(values)
		}
	case v.Kind() == reflect.Bool:
		s["type"] = "boolean"
	case v.Kind() == reflect.Float32 || v.Kind() == reflect.Float64:
		s["type"] = "number"
	default:
		s["type"] = "integer"
		if n, err := strconv.ParseInt(rule(f.rules, "min"), 10, 64); err == nil {
			s["minimum"] = n
		}
	}
	if !v.IsZero() {
		s["default"] = v.Interface()
		if isText(v.Type()) {
			s["default"] = scalarNode(v).Value
		}
	}
	return s
}

// rule returns the parameter of a validate tag's rule, or "". Rules behind
// dive are about the items.
func rule(rules, name string) string {
	for r := range strings.SplitSeq(rules, ",") {
		if r == "dive" {
			break
		}
		if key, param, _ := strings.Cut(r, "="); key == name {
			return param
		}
	}
	return ""
}

// after returns the rules behind name.
func after(rules, name string) string {
	_, rest, _ := strings.Cut(rules, name+",")
	return rest
}
