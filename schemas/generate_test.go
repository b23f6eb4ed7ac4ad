package schemas

import (
	"bytes"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the JSON Schemas instead of comparing them")

// schema is a JSON Schema, or a part of one, in the order in which it is
// written.
type schema struct {
	Schema      string           `json:"$schema,omitempty"`
	ID          string           `json:"$id,omitempty"`
	Title       string           `json:"title,omitempty"`
	Description string           `json:"description,omitempty"`
	Type        any              `json:"type,omitempty"`
	Const       any              `json:"const,omitempty"`
	Format      string           `json:"format,omitempty"`
	Pattern     string           `json:"pattern,omitempty"`
	MinLength   int              `json:"minLength,omitzero"`
	MaxLength   int              `json:"maxLength,omitzero"`
	Minimum     *int             `json:"minimum,omitempty"`
	Items       *schema          `json:"items,omitempty"`
	Properties  properties       `json:"properties,omitempty"`
	Required    []string         `json:"required,omitempty"`
	Additional  *schema          `json:"additionalProperties,omitempty"`
	AnyOf       []*schema        `json:"anyOf,omitempty"`
	Examples    []jsontext.Value `json:"examples,omitempty"`
}

// properties are written in the order of the struct's fields.
type properties []property

type property struct {
	name   string
	schema *schema
}

// MarshalJSONTo writes an object.
func (ps properties) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, p := range ps {
		if err := enc.WriteToken(jsontext.String(p.name)); err != nil {
			return err
		}
		if err := json.MarshalEncode(enc, p.schema); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}

func (ps properties) get(t *testing.T, name string) *schema {
	t.Helper()
	for _, p := range ps {
		if p.name == name {
			return p.schema
		}
	}
	t.Fatalf("the envelope has no %q", name)
	return nil
}

// eventSchema is the schema of a type's whole body.
func eventSchema(t *testing.T, d Definition) *schema {
	t.Helper()
	s := structSchema(t, reflect.TypeFor[cloudEvent]())
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.ID = "urn:postern:schema:" + d.Type.Versioned()
	s.Title = string(d.Type)
	s.Description = d.Meaning

	field := func(name string) *schema { return s.Properties.get(t, name) }
	field("specversion").Const = "1.0"
	field("type").Const = "postern." + d.Type.Versioned()
	field("datacontenttype").Const = "application/json"
	field("dataschema").Const = s.ID
	field("id").Pattern = `^[A-Za-z0-9:._=-]+$`
	field("id").MaxLength = 512 + len(":restricted")
	field("source").Pattern = strings.Replace(SourceName.String(), "^", "^/postern/", 1)
	field("subject").Pattern = "^" + d.Type.Entity() + "/"
	field("subject").MinLength = len(d.Type.Entity() + "/x")
	field("time").Format = "date-time"
	field("recordedtime").Format = "date-time"
	field("deliveryid").MinLength = 1

	data, description := field("data"), field("data").Description
	*data = *dataSchema(t, d.Data)
	if or := d.Or(); or != nil {
		*data = schema{AnyOf: []*schema{data.copy(), dataSchema(t, or)}}
	}
	data.Description = description

	example := exampleEvent(t, d)
	if example.DeliveryID != "" {
		at := slices.Index(s.Required, "dataschema") + 1
		s.Required = slices.Insert(s.Required, at, "deliveryid")
	}
	ms, err := example.Messages()
	if err != nil {
		t.Fatalf("%s: example: %v", d.Type, err)
	}
	s.Examples = []jsontext.Value{ms[0].Body}
	return s
}

func (s *schema) copy() *schema {
	c := *s
	return &c
}

// dataSchema is the schema of an event's data, with the members that every
// event can have.
func dataSchema(t *testing.T, data Data) *schema {
	t.Helper()
	s := structSchema(t, reflect.TypeOf(data))
	s.Properties = append(s.Properties,
		property{"known", &schema{Type: "boolean", Description: "False when a value is outside the vocabulary; else absent."}},
		property{"restricted", &schema{Type: "boolean", Description: "True when a twin on POSTERN_RESTRICTED says more; else absent."}},
		property{"personal", &schema{Description: "Personal data, in the vocabulary's words; only on the twin."}},
		property{"native", &schema{Description: "What the platform said, verbatim; only on the twin."}},
	)
	return s
}

func structSchema(t *testing.T, typ reflect.Type) *schema {
	t.Helper()
	s := &schema{Type: "object"}
	for field := range fields(typ) {
		if field.Anonymous {
			embedded := structSchema(t, field.Type)
			s.Properties = append(s.Properties, embedded.Properties...)
			s.Required = append(s.Required, embedded.Required...)
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		doc := field.Tag.Get("doc")
		if name == "" || !strings.HasSuffix(doc, ".") {
			t.Fatalf("%s.%s needs a json tag, and a doc tag that is a sentence", typ, field.Name)
		}
		f := typeSchema(t, field.Type)
		f.Description = doc
		constrain(t, f, field)
		s.Properties = append(s.Properties, property{name, f})
		if !strings.HasPrefix(options, "omit") {
			s.Required = append(s.Required, name)
		}
	}
	return s
}

func fields(typ reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.IsExported() && !yield(f) {
				return
			}
		}
	}
}

func typeSchema(t *testing.T, typ reflect.Type) *schema {
	t.Helper()
	switch {
	case typ == reflect.TypeFor[jsontext.Value](), typ.Kind() == reflect.Interface:
		return &schema{}
	case typ.Kind() == reflect.Pointer:
		s := typeSchema(t, typ.Elem())
		s.Type = []any{s.Type, "null"}
		return s
	case typ.Kind() == reflect.String:
		return &schema{Type: "string"}
	case typ.Kind() == reflect.Bool:
		return &schema{Type: "boolean"}
	case typ.Kind() == reflect.Int, typ.Kind() == reflect.Int64:
		return &schema{Type: "integer"}
	case typ.Kind() == reflect.Slice:
		return &schema{Type: "array", Items: typeSchema(t, typ.Elem())}
	case typ.Kind() == reflect.Map && typ.Key().Kind() == reflect.String:
		return &schema{Type: "object", Additional: typeSchema(t, typ.Elem())}
	case typ.Kind() == reflect.Struct:
		return structSchema(t, typ)
	}
	t.Fatalf("no JSON Schema for %s", typ)
	return nil
}

// constrain says in the schema what the validate tag demands.
func constrain(t *testing.T, s *schema, field reflect.StructField) {
	t.Helper()
	number := func(rule, of string) int {
		n, err := strconv.Atoi(of)
		if err != nil {
			t.Fatalf("%s: %s=%s: %v", field.Name, rule, of, err)
		}
		return n
	}
	for rule := range strings.SplitSeq(field.Tag.Get("validate"), ",") {
		name, value, _ := strings.Cut(rule, "=")
		switch {
		case name == "", name == "omitempty":
		case name == "required":
			if s.Type == "string" {
				s.MinLength = 1
			}
		case name == "max" && reflect.TypeFor[string]() == pointed(field.Type):
			s.MaxLength = number(name, value)
		case name == "min" && s.Type != "string":
			n := number(name, value)
			s.Minimum = &n
		default:
			t.Fatalf("%s: the generator doesn't know the rule %q for %v", field.Name, rule, s.Type)
		}
	}
}

func pointed(typ reflect.Type) reflect.Type {
	if typ.Kind() == reflect.Pointer {
		return typ.Elem()
	}
	return typ
}

func generate(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, d := range Definitions() {
		b, err := json.Marshal(eventSchema(t, d), jsontext.WithIndent("  "), json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		files[d.Type.Versioned()+".json"] = append(b, '\n')
	}
	return files
}

func TestJSONSchemasAreThoseOfTheTypes(t *testing.T) {
	want := generate(t)
	if *update {
		if err := os.RemoveAll("json"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir("json", 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range want {
			if err := os.WriteFile(filepath.Join("json", name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	const help = "run: go generate ./schemas"
	names, err := fs.Glob(JSON(), "*")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), names); diff != "" {
		t.Errorf("the files are not those of the types; %s (-want +got):\n%s", help, diff)
	}
	for _, name := range names {
		got, err := fs.ReadFile(JSON(), name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want[name], got) {
			t.Errorf("%s is out of date; %s (-want +got):\n%s", name, help, cmp.Diff(string(want[name]), string(got)))
		}
	}
}
