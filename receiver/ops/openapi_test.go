package ops_test

import (
	"bytes"
	goflag "flag"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

var update = goflag.Bool("update", false, "write openapi.json instead of comparing it")

const openAPIFile = "../../schemas/openapi.json"

// openDocument is an OpenAPI document, in the order in which it is printed.
// https://spec.openapis.org/oas/v3.1.0
type openDocument struct {
	OpenAPI    string            `json:"openapi"`
	Info       object            `json:"info"`
	Servers    []object          `json:"servers"`
	Paths      map[string]object `json:"paths"`
	Components object            `json:"components"`
}

func openAPIDocument(t *testing.T) openDocument {
	t.Helper()
	g := &generator{t: t, comments: comments(t), schemas: map[string]any{}}
	doc := openDocument{
		OpenAPI: "3.1.0",
		Info: object{
			"title": "Postern: the ops listener", "version": "1.0.0",
			"description": "How operators look at a running receiver and act on it. On loopback reading needs no token; " +
				"changing and opening always do. Each change and opening is told on POSTERN_OPS in the name of the token.",
			"license": object{"name": "Apache 2.0", "identifier": "Apache-2.0"},
		},
		Servers: []object{{"url": "http://127.0.0.1:8081", "description": "ops.listen of the configuration"}},
		Paths:   map[string]object{},
	}
	for key, o := range operations {
		method, path, _ := strings.Cut(key, " ")
		if doc.Paths[path] == nil {
			doc.Paths[path] = object{}
		}
		doc.Paths[path][strings.ToLower(method)] = g.operation(method, path, o)
	}
	g.schemas["ProblemDetails"] = object{
		"type": "object", "description": "What went wrong, as RFC 9457 says.",
		"required": []any{"type", "title", "status"},
		"properties": object{
			"type": text, "title": text, "status": object{"type": "integer"},
			"detail":   object{"type": "string", "description": "What to mend."},
			"problems": object{"type": "array", "description": "The places of a configuration that is bad.", "items": g.schema(reflect.TypeFor[ops.Problem]())},
		},
	}
	doc.Components = object{
		"schemas":         g.schemas,
		"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "description": "A token of ops.tokens, or ops.token in data_dir."}},
		"responses": object{"Problem": object{
			"description": "It went wrong.",
			"content":     object{"application/problem+json": object{"schema": ref("ProblemDetails")}},
		}},
	}
	return doc
}

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// generator makes the schemas of answers from the types of Go, and their
// descriptions from the comments.
type generator struct {
	t        *testing.T
	comments map[string]string // "Type" and "Type.Field"
	schemas  map[string]any
}

func (g *generator) operation(method, path string, o operation) object {
	media := o.media
	if media == "" {
		media = "application/json"
	}
	content := object{"schema": object{"type": "string"}}
	if o.answer != nil {
		content["schema"] = g.schema(reflect.TypeOf(o.answer))
	}
	responses := object{"200": object{"description": "It is so, or done.", "content": object{media: content}}}
	problems := maps.Clone(o.problems)
	if problems == nil {
		problems = map[int]string{}
	}
	security := []any{}
	if o.role != "" {
		problems[http.StatusUnauthorized] = "There is no valid token."
		problems[http.StatusForbidden] = "The token has another role, or a page of another site asks."
		security = []any{object{"token": []any{string(o.role)}}}
		if o.role == ops.RoleViewer && method == http.MethodGet {
			security = append(security, object{}) // on loopback
		}
	}
	for status, why := range problems {
		answer := object{"description": why, "content": object{"application/problem+json": object{"schema": ref("ProblemDetails")}}}
		if path == "/readyz" {
			answer["content"] = object{"text/plain": object{"schema": text}}
		}
		responses[strconv.Itoa(status)] = answer
	}
	responses["default"] = object{"$ref": "#/components/responses/Problem"}
	spec := object{
		"operationId": operationID(method, path), "summary": o.summary,
		"responses": responses, "security": security,
	}
	if o.more != "" {
		spec["description"] = o.more
	}
	var parameters []any
	for _, p := range o.parameters {
		in := "query"
		if strings.Contains(path, "{"+p.name+"}") {
			in = "path"
		}
		of := object{"name": p.name, "in": in, "description": p.meaning, "schema": p.schema}
		if in == "path" || p.name == "dir" {
			of["required"] = true
		}
		if p.example == "" {
			of["allowEmptyValue"] = true
		}
		parameters = append(parameters, of)
	}
	if parameters != nil {
		spec["parameters"] = parameters
	}
	return spec
}

// operationID is by what generated clients call a route: post_quarantine_id_release.
func operationID(method, path string) string {
	path = strings.TrimPrefix(path, "/api/v1")
	if strings.HasSuffix(path, "/") {
		path += "index"
	}
	words := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/{}.", r) })
	return strings.ToLower(method) + "_" + strings.Join(words, "_")
}

func (g *generator) schema(typ reflect.Type) object {
	g.t.Helper()
	switch typ {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[jsontext.Value](), reflect.TypeFor[object]():
		return object{"type": "object"}
	}
	switch typ.Kind() {
	case reflect.Pointer:
		of := g.schema(typ.Elem())
		if of["$ref"] != nil {
			return object{"anyOf": []any{of, object{"type": "null"}}}
		}
		of["type"] = []any{of["type"], "null"}
		return of
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": g.schema(typ.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.schema(typ.Elem())}
	case reflect.Struct:
		return g.structSchema(typ)
	}
	g.t.Fatalf("no schema for %s", typ)
	return nil
}

func (g *generator) structSchema(typ reflect.Type) object {
	g.t.Helper()
	properties, required := object{}, []any{}
	of := object{"type": "object", "properties": properties}
	if typ.Name() != "" {
		if g.schemas[typ.Name()] != nil {
			return ref(typ.Name())
		}
		g.schemas[typ.Name()] = of
		of["description"] = g.comments[typ.Name()]
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || f.Anonymous {
			g.t.Fatalf("%s.%s has no json tag", typ, f.Name)
		}
		optional, t := strings.Contains(options, "omit"), f.Type
		if optional && t.Kind() == reflect.Pointer {
			t = t.Elem() // it isn't there rather than null
		}
		field := g.schema(t)
		if comment := g.comments[typ.Name()+"."+f.Name]; comment != "" {
			field["description"] = comment
		}
		properties[name] = field
		if !optional {
			required = append(required, name)
		}
	}
	if len(required) > 0 {
		of["required"] = required
	}
	if typ.Name() != "" {
		return ref(typ.Name())
	}
	return of
}

// comments returns what the package's source says of its types and their
// fields.
func comments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			decl, ok := n.(*ast.GenDecl)
			if !ok || len(decl.Specs) != 1 {
				return true
			}
			spec, ok := decl.Specs[0].(*ast.TypeSpec)
			if !ok {
				return true
			}
			said[spec.Name.Name] = plain(decl.Doc)
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						said[spec.Name.Name+"."+name.Name] = plain(field.Doc, field.Comment)
					}
				}
			}
			return true
		})
	}
	return said
}

func plain(groups ...*ast.CommentGroup) string {
	var words []string
	for _, g := range groups {
		if g != nil {
			words = append(words, strings.Fields(g.Text())...)
		}
	}
	return strings.Join(words, " ")
}

func TestOpenAPIIsThatOfTheRoutes(t *testing.T) {
	want, err := json.Marshal(openAPIDocument(t), jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(openAPIFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := schemas.OpenAPI(); !bytes.Equal(want, got) {
		t.Errorf("openapi.json is out of date; run: go generate ./receiver/ops (-want +got):\n%s", cmp.Diff(string(want), string(got)))
	}
	var described, registered []string
	for key := range operations {
		described = append(described, key)
	}
	for _, r := range withEverything(t).Routes() {
		parts := strings.Split(r.Path, "/")
		for i, part := range parts {
			if name, ok := strings.CutPrefix(part, ":"); ok {
				parts[i] = "{" + name + "}"
			}
		}
		registered = append(registered, r.Method+" "+strings.Join(parts, "/"))
	}
	slices.Sort(described)
	slices.Sort(registered)
	if diff := cmp.Diff(registered, described); diff != "" {
		t.Errorf("routes are described in openapi_routes_test.go (-registered +described):\n%s", diff)
	}
}
