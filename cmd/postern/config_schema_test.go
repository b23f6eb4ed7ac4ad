package main

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"
)

// judge is a validator of the part of JSON Schema that we write. It knows
// every keyword in what it is given, or says so.
type judge struct {
	defs  map[string]any
	wrong []string
}

func (j *judge) fail(path, format string, args ...any) {
	j.wrong = append(j.wrong, path+": "+fmt.Sprintf(format, args...))
}

// fits returns how often v breaks s.
func (j *judge) fits(s map[string]any, v any, path string) []string {
	inner := &judge{defs: j.defs}
	inner.check(s, v, path)
	return inner.wrong
}

func (j *judge) check(s map[string]any, v any, path string) {
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		want := s[keyword]
		switch keyword {
		case "$schema", "$defs", "title", "description", "default":
		case "$ref":
			j.check(j.defs[strings.TrimPrefix(want.(string), "#/$defs/")].(map[string]any), v, path)
		case "type":
			if got := typeOf(v); got != want && (want != "number" || got != "integer") {
				j.fail(path, "is a %s, not a %s", got, want)
			}
		case "const":
			if v != want {
				j.fail(path, "is not %v", want)
			}
		case "enum":
			if !slices.Contains(want.([]any), v) {
				j.fail(path, "is none of %v", want)
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(want.(string)).MatchString(text) {
				j.fail(path, "does not match %s", want)
			}
		case "minLength":
			if text, ok := v.(string); ok && float64(len(text)) < want.(float64) {
				j.fail(path, "is too short")
			}
		case "minimum":
			if n, ok := v.(int); ok && float64(n) < want.(float64) {
				j.fail(path, "is too small")
			}
		case "not":
			if len(j.fits(want.(map[string]any), v, path)) == 0 {
				j.fail(path, "is what it must not be")
			}
		case "anyOf", "oneOf":
			fitting := 0
			var wrong []string
			for _, one := range want.([]any) {
				w := j.fits(one.(map[string]any), v, path)
				if len(w) == 0 {
					fitting++
				}
				wrong = append(wrong, w...)
			}
			if fitting == 0 || keyword == "oneOf" && fitting > 1 {
				j.fail(path, "fits %d of %s: %v", fitting, keyword, wrong)
			}
		case "required":
			if m, ok := v.(map[string]any); ok {
				for _, key := range want.([]any) {
					if _, ok := m[key.(string)]; !ok {
						j.fail(path, "lacks %s", key)
					}
				}
			}
		case "properties", "additionalProperties", "propertyNames":
		case "items":
			if list, ok := v.([]any); ok {
				for i, item := range list {
					j.check(want.(map[string]any), item, fmt.Sprintf("%s[%d]", path, i))
				}
			}
		default:
			j.fail(path, "the schema has the keyword %s, which this test doesn't know", keyword)
		}
	}
	j.object(s, v, path)
}

func (j *judge) object(s map[string]any, v any, path string) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	properties, _ := s["properties"].(map[string]any)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if names, ok := s["propertyNames"].(map[string]any); ok {
			j.check(names, key, path+"."+key)
		}
		property, known := properties[key].(map[string]any)
		switch rest := s["additionalProperties"].(type) {
		case map[string]any:
			if !known {
				j.check(rest, m[key], path+"."+key)
			}
		case bool:
			if !known && !rest {
				j.fail(path, "has the key %s", key)
			}
		}
		if known {
			j.check(property, m[key], path+"."+key)
		}
	}
}

func typeOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case int:
		return "integer"
	case float64:
		return "number"
	default:
		return "null"
	}
}

// judgement returns what a schema says about a YAML document.
func judgement(t *testing.T, schema, document string) []string {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal([]byte(schema), &s); err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := yaml.Unmarshal([]byte(document), &v); err != nil {
		t.Fatal(err)
	}
	dates(v)
	j := &judge{defs: s["$defs"].(map[string]any)}
	j.check(s, v, "")
	return j.wrong
}

// dates makes texts of what YAML reads as times: editors do.
func dates(v map[string]any) {
	for key, value := range v {
		switch value := value.(type) {
		case map[string]any:
			dates(value)
		case interface{ Format(string) string }:
			v[key] = value.Format("2006-01-02")
		}
	}
}

func TestSchemaAcceptsWhatTheLoaderAccepts(t *testing.T) {
	_, schema, _ := command(t, nil, "config", "schema")
	environ := sample(t)
	full, err := readLimited("config.yaml", maxConfigFile)
	if err != nil {
		t.Fatal(err)
	}
	if wrong := judgement(t, schema, string(full)); len(wrong) > 0 {
		t.Errorf("the schema refuses a good configuration:\n%s", strings.Join(wrong, "\n"))
	}
	_, shown, _ := command(t, environ, "config", "show", "-c", "config.yaml")
	if wrong := judgement(t, schema, shown); len(wrong) > 0 {
		t.Errorf("the schema refuses what is shown:\n%s", strings.Join(wrong, "\n"))
	}
}

func TestSchemaRefusesWhatTheLoaderRefuses(t *testing.T) {
	_, schema, _ := command(t, nil, "config", "schema")
	t.Chdir(t.TempDir())
	for _, document := range []string{
		"nonsense: 1",
		"data_dir: [a]",
		"insecure: 1",
		"ingress: {max_connections: 0}",
		"ingress: {max_connections: many}",
		"ingress: {max_body: 1}",
		"ingress: {client_ip: header}",
		"nats: {dedupe_window: 10 minutes}",
		"nats: {retention: {events: {days: 3}}}",
		"nats: {retention: {quarantine: 30d}}",
		"ops: {tokens: [{name: a, role: viewer}]}",
		"ops: {tokens: [{name: a, role: admin, token: {env: HOME}}]}",
		"pseudonyms: {key: literal}",
		"pseudonyms: {key: {file: a, env: b}}",
		"pseudonyms: {key: {}}",
		"sources: {postern: {platform: other}}",
		"sources: {UPPER: {platform: other}}",
		"sources: {a: {platform: unheard-of}}",
		"sources: {a: {platform: other, login: abc}}",
		"sources: {a: {platform: fake, check: never}}",
		"sources: {a: {platform: fake, rows: [{owner: a}]}}",
	} {
		if wrong := judgement(t, schema, document); len(wrong) == 0 {
			t.Errorf("the schema accepts %s", document)
		}
		write(t, "config.yaml", document)
		if _, err := loadConfig([]string{"config.yaml"}, []string{"HOME=/"}, fakes()); err == nil {
			t.Errorf("the loader accepts %s", document)
		}
	}
}

// Every setting of every platform must be of a type that can be read, have no
// secret where secrets can't be read, and say what it is.
func TestEverySettingCanBeConfigured(t *testing.T) {
	check := func(v reflect.Value, path string) {
		for path, typ := range leaves(v.Type(), path) {
			if !isScalar(typ) && typ != secretType && typ != sourcesType {
				t.Errorf("%s has the type %s, which can't be configured", path, typ)
			}
			if strings.Contains(path, "{}") && (typ == secretType || typ == fileType) {
				t.Errorf("%s is a %s in a map, which is not read", path, typ)
			}
		}
	}
	check(reflect.ValueOf(Config{}), "")
	for _, p := range platforms() {
		settings := reflect.ValueOf(p.Settings())
		if settings.Kind() != reflect.Pointer || settings.Elem().Kind() != reflect.Struct {
			t.Fatalf("settings of %s are a %s, not a pointer to a struct", p.Name, settings.Type())
		}
		check(settings.Elem(), p.Name)
	}
	for _, f := range fieldsOf(reflect.TypeFor[Config]()) {
		if f.doc == "" {
			t.Errorf("%s has no description", f.key)
		}
	}
}

// leaves returns the types of all settings below t.
func leaves(t reflect.Type, path string) map[string]reflect.Type {
	if t.Kind() == reflect.Pointer {
		return leaves(t.Elem(), path)
	}
	found := map[string]reflect.Type{}
	switch {
	case isScalar(t) || t == secretType || t == sourcesType:
		found[path] = t
	case t.Kind() == reflect.Struct:
		for _, f := range fieldsOf(t) {
			maps.Copy(found, leaves(f.typ, join(path, f.key)))
		}
	case t.Kind() == reflect.Slice:
		maps.Copy(found, leaves(t.Elem(), path+"[]"))
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		maps.Copy(found, leaves(t.Elem(), path+"{}"))
	default:
		found[path] = t
	}
	return found
}
