package schemas_test

import (
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/schemas"
)

// object is any JSON object.
type object = map[string]any

// violations returns where v breaks s, for the keywords that the published
// schemas use. A keyword that it doesn't know is a violation too.
func violations(s object, v any, at string) (out []string) {
	no := func(format string, args ...any) { out = append(out, at+" "+fmt.Sprintf(format, args...)) }
	text, isText := v.(string)
	fields, isObject := v.(object)
	for keyword, rule := range s {
		switch keyword {
		case "$schema", "$id", "title", "description", "examples":
		case "type":
			types, isList := rule.([]any)
			if !isList {
				types = []any{rule}
			}
			if !slices.ContainsFunc(types, func(name any) bool { return isType(v, name) }) {
				no("is not of type %v", rule)
			}
		case "const":
			if v != rule {
				no("is not %v", rule)
			}
		case "pattern":
			if isText && !regexp.MustCompile(rule.(string)).MatchString(text) {
				no("does not match %v", rule)
			}
		case "format":
			if rule != "date-time" || isText && !schemas.IsTime(text) {
				no("is no %v", rule)
			}
		case "minLength":
			if isText && utf8.RuneCountInString(text) < int(rule.(float64)) {
				no("is shorter than %v", rule)
			}
		case "maxLength":
			if isText && utf8.RuneCountInString(text) > int(rule.(float64)) {
				no("is longer than %v", rule)
			}
		case "minimum":
			if n, ok := v.(float64); ok && n < rule.(float64) {
				no("is below %v", rule)
			}
		case "required":
			for _, name := range rule.([]any) {
				if _, there := fields[name.(string)]; isObject && !there {
					no("lacks %v", name)
				}
			}
		case "properties":
			for name, of := range rule.(object) {
				if value, there := fields[name]; there {
					out = append(out, violations(of.(object), value, at+"/"+name)...)
				}
			}
		case "additionalProperties":
			for name, value := range fields {
				out = append(out, violations(rule.(object), value, at+"/"+name)...)
			}
		case "items":
			list, _ := v.([]any)
			for i, value := range list {
				out = append(out, violations(rule.(object), value, fmt.Sprintf("%s/%d", at, i))...)
			}
		case "anyOf":
			fits := slices.ContainsFunc(rule.([]any), func(of any) bool { return len(violations(of.(object), v, at)) == 0 })
			if !fits {
				no("is none of %d kinds", len(rule.([]any)))
			}
		default:
			no("is under the keyword %q, which nobody checks", keyword)
		}
	}
	return out
}

func isType(v, name any) bool {
	switch name {
	case "object":
		_, ok := v.(object)
		return ok
	case "array":
		_, ok := v.([]any)
		return ok
	case "string":
		_, ok := v.(string)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "integer":
		n, ok := v.(float64)
		return ok && n == math.Trunc(n)
	case "null":
		return v == nil
	}
	return false
}

func schemaOf(t testing.TB, typ schemas.Type) object {
	t.Helper()
	b, err := fs.ReadFile(schemas.JSON(), typ.Versioned()+".json")
	if err != nil {
		t.Fatal(err)
	}
	var s object
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryTypeHasASchemaThatItsExampleKeeps(t *testing.T) {
	for _, d := range schemas.Definitions() {
		s := schemaOf(t, d.Type)
		if s["$id"] != "urn:postern:schema:"+d.Type.Versioned() || s["title"] != string(d.Type) || s["description"] != d.Meaning {
			t.Errorf("%s: %v, %v, %v", d.Type, s["$id"], s["title"], s["description"])
		}
		examples := s["examples"].([]any)
		if len(examples) != 1 {
			t.Errorf("%s has %d examples", d.Type, len(examples))
		}
		for _, example := range examples {
			for _, v := range violations(s, example, "") {
				t.Errorf("%s: example: %s", d.Type, v)
			}
			if body := example.(object); body["type"] != "postern."+d.Type.Versioned() || body["dataschema"] != s["$id"] {
				t.Errorf("%s: the example is of type %v with schema %v", d.Type, body["type"], body["dataschema"])
			}
		}
	}
}

func TestSchemasTakeWhateverIsPublished(t *testing.T) {
	published := map[schemas.Type]object{}
	check := func(t interface{ Fatalf(string, ...any) }, e schemas.Event) {
		ms, err := e.Messages()
		if err != nil {
			t.Fatalf("Messages: %v", err)
		}
		for _, m := range ms {
			var body any
			if err := json.Unmarshal(m.Body, &body); err != nil {
				t.Fatalf("%v", err)
			}
			if v := violations(published[e.Type], body, ""); len(v) > 0 {
				t.Fatalf("%s\nbreaks its schema:\n%s", m.Body, strings.Join(v, "\n"))
			}
		}
	}
	for _, d := range schemas.Definitions() {
		published[d.Type] = schemaOf(t, d.Type)
	}
	for _, data := range []schemas.Data{
		schemas.Orchestration{Platform: "p", OrchestrationID: "o", NativeStatus: "s", ProcessIDs: []string{}},
		schemas.LoggedError{Platform: "p", ErrorID: "e"},
		schemas.LoggedError{Platform: "p", ErrorID: "e", Action: &schemas.ErrorAction{}},
		schemas.Job{Platform: "p"},
		schemas.Subscription{Platform: "p", Topic: "t"},
		schemas.Conflict{Platform: "p", Fields: []string{}},
		schemas.Drift{Platform: "p", Path: "x.y"},
		schemas.Rejection{Platform: "p", Reason: "topic", Count: 1},
		schemas.Action{Actor: "a"},
	} {
		for _, d := range schemas.Definitions() {
			if fmt.Sprintf("%T", d.Data) != fmt.Sprintf("%T", data) {
				continue
			}
			e := settled()
			e.Type, e.Data = d.Type, data
			for _, e.Unknown = range []bool{false, true} {
				for _, e.Restricted = range []*schemas.Restricted{nil, {}, {Personal: object{"name": "x"}}, {Native: jsontext.Value(`[1]`)}} {
					if err := e.Validate(); err != nil {
						t.Fatal(err)
					}
					check(t, e)
				}
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		if e := anyEvent(t); e.Validate() == nil {
			check(t, e)
		}
	})
}

// A schema that takes anything would pass the tests above.
func TestSchemasRefuseABodyThatLacksAFieldOrHasAnotherType(t *testing.T) {
	for _, d := range schemas.Definitions() {
		s := schemaOf(t, d.Type)
		body := func() object {
			var fresh object
			b, err := json.Marshal(s["examples"].([]any)[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &fresh); err != nil {
				t.Fatal(err)
			}
			return fresh
		}
		data := func(b object) object { return b["data"].(object) }
		refused := func(what string, b object) {
			t.Helper()
			if len(violations(s, b, "")) == 0 {
				t.Errorf("%s: a body with %s is taken", d.Type, what)
			}
		}
		for _, name := range s["required"].([]any) {
			b := body()
			delete(b, name.(string))
			refused("no "+name.(string), b)
		}
		dataSchema := s["properties"].(object)["data"].(object)
		if kinds, ok := dataSchema["anyOf"].([]any); ok {
			dataSchema = kinds[0].(object)
		}
		for _, name := range dataSchema["required"].([]any) {
			b := body()
			delete(data(b), name.(string))
			refused("no data."+name.(string), b)
		}
		for name := range body() {
			b := body()
			b[name] = []any{1}
			refused(name+" of another type", b)
		}
		for name, of := range dataSchema["properties"].(object) {
			if of.(object)["type"] == nil {
				continue // personal and native may be anything
			}
			b := body()
			data(b)[name] = 1.5
			refused("data."+name+" of another type", b)
		}
		b := body()
		b["type"] = "postern.other.v1"
		refused("another type's name", b)

		b = body()
		b["later"], data(b)["later"] = "x", object{}
		if v := violations(s, b, ""); len(v) > 0 {
			t.Errorf("%s: a field added later is refused: %s", d.Type, v)
		}
	}
}
