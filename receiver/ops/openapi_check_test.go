package ops_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

// fullArchive finds everything.
type fullArchive struct{ archive }

func (fullArchive) Raw(context.Context, string, string) (ops.Record, error) {
	return ops.Record{Sequence: 1, Opened: &ops.Opened{Body: "said", Encoding: "text"}}, nil
}

// registry has a source that pushes, and one that doesn't.
type registry struct{}

func (registry) Sources(context.Context) ([]ops.Source, error) {
	push := &ops.SourcePush{Waiting: []ops.WaitingConfirmation{{Topic: "t"}}, Ended: []ops.EndedSubscription{{Topic: "t"}}}
	return []ops.Source{{Name: "one", Push: push}, {Name: "two", Pollers: []string{"two/list"}}}, nil
}

func (registry) Confirm(context.Context, string, string) ([]ops.Confirmation, error) {
	return []ops.Confirmation{{Topic: "t", Outcome: ops.OutcomeConfirmed}}, nil
}

// withEverything returns a server that has all routes.
func withEverything(t *testing.T) *panel {
	t.Helper()
	now := time.Now()
	return open(t, func(c *ops.Config) {
		d := &desk{list: ops.Records{Records: []ops.Record{{Sequence: 3, Source: "one"}}, Last: 3}}
		c.Triage, c.Events, c.Pollers, c.Sources = d, &fullArchive{}, &bench{}, registry{}
		c.Tokens = []ops.Token{
			{Name: "vera", Role: ops.RoleViewer, Token: "viewer"},
			{Name: "otto", Role: ops.RoleOperator, Token: "operator"},
			{Name: "ursula", Role: ops.RoleUnseal, Token: "unseal"},
		}
		c.Tail = func(_ context.Context, _ ops.TailQuery, fn func(ops.TailEvent) error) error {
			return fn(ops.TailEvent{Sequence: 1, Subject: "postern.events.x", Event: []byte(`{"id":"x"}`)})
		}
		c.Reconcile = func(_ context.Context, _ string, _ ops.ReconcileQuery, progress func(ops.Reconciled) error) error {
			return progress(ops.Reconciled{From: now, To: now, At: &now, Complete: true})
		}
		c.Status = func(context.Context) ops.Status {
			return ops.Status{
				Sources: []ops.SourceStatus{{Name: "one", LastPush: &now}, {Name: "two"}},
				Streams: []ops.StreamStatus{{Name: "S", FirstTime: &now, Consumers: []ops.ConsumerStatus{{Name: "c"}}}},
				NATS:    ops.NATSStatus{Checks: []ops.CheckStatus{{Name: "x"}}},
				Pollers: []ops.PollerStatus{{Name: "two/list", State: "waiting", LastRun: &now}},
			}
		}
		c.Streams = func(context.Context) ([]ops.StreamStatus, error) { return []ops.StreamStatus{{Name: "S"}}, nil }
		c.Reload = func(context.Context, string) (ops.Reloaded, error) {
			return ops.Reloaded{Applied: []ops.Change{{Setting: "log.level", How: "changed"}}, Warnings: []ops.Problem{{File: "f", Line: 2}}}, nil
		}
		c.Backup = func(context.Context, string, string) error { return nil }
		for v, i := reflect.ValueOf(*c), 0; i < v.NumField(); i++ {
			switch f := v.Field(i); f.Kind() {
			case reflect.Func, reflect.Interface:
				if f.IsNil() {
					t.Fatalf("%s is not set, so its routes are not there", v.Type().Field(i).Name)
				}
			}
		}
	})
}

// target returns where a route is asked, with all parameters that have an
// example.
func target(key string) (method, path string) {
	method, path, _ = strings.Cut(key, " ")
	query := url.Values{}
	for _, p := range operations[key].parameters {
		switch {
		case strings.Contains(path, "{"+p.name+"}"):
			path = strings.Replace(path, "{"+p.name+"}", p.example, 1)
		case p.example != "":
			query.Set(p.name, p.example)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return method, path
}

func TestRoutesAskForTheRoleThatOpenAPINames(t *testing.T) {
	p := withEverything(t)
	for key, o := range operations {
		method, path := target(key)
		for _, role := range []ops.Role{"", ops.RoleViewer, ops.RoleOperator, ops.RoleUnseal} {
			want := http.StatusOK
			switch free := o.role == ops.RoleViewer && method == http.MethodGet; {
			case o.role == "" || o.role == role || role == "" && free:
			case role == "":
				want = http.StatusUnauthorized
			case o.role != ops.RoleViewer: // who may change or open may read
				want = http.StatusForbidden
			}
			h := p.do(t, method, path, func(r *http.Request) {
				if role != "" {
					bearer(string(role))(r)
				}
			})
			if h.status != want {
				t.Errorf("%s with the role %q: %d, want %d", key, role, h.status, want)
			}
		}
	}
}

func TestAnswersAreAsOpenAPISays(t *testing.T) {
	p, doc := withEverything(t), readOpenAPI(t)
	for key := range operations {
		method, path := target(key)
		h := p.do(t, method, path, bearer("local-token"))
		if h.status != http.StatusOK {
			t.Errorf("%s: %d %s", key, h.status, h.body)
			continue
		}
		template := strings.SplitN(key, " ", 2)[1]
		content := lead(doc, "paths", template, strings.ToLower(method), "responses", "200", "content").(object)
		media, _, _ := strings.Cut(h.header.Get("Content-Type"), ";")
		described, ok := content[media].(object)
		if !ok {
			t.Errorf("%s answers with %s, not one of %v", key, media, slices.Collect(maps.Keys(content)))
			continue
		}
		if media == "text/plain" {
			continue
		}
		var body any
		if err := json.Unmarshal([]byte(h.body), &body); err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		for _, v := range violations(doc, described["schema"].(object), body, "") {
			t.Errorf("%s: %s: %s", key, v, h.body)
		}
	}
}

// violations returns where v isn't as s says. A member that s doesn't name is
// one too, unless it names none.
func violations(doc, s object, v any, at string) (list []string) {
	if to, ok := s["$ref"].(string); ok {
		s = follow(doc, to).(object)
	}
	if either, ok := s["anyOf"].([]any); ok && v != nil { // or null
		return violations(doc, either[0].(object), v, at)
	} else if ok {
		return nil
	}
	types, ok := s["type"].([]any)
	if !ok {
		types = []any{s["type"]}
	}
	is := map[any]bool{}
	switch v := v.(type) {
	case nil:
		is["null"] = true
	case string:
		is["string"] = true
	case bool:
		is["boolean"] = true
	case float64:
		is["number"], is["integer"] = true, v == math.Trunc(v)
	case []any:
		is["array"] = true
		for i, item := range v {
			if of, ok := s["items"].(object); ok {
				list = append(list, violations(doc, of, item, fmt.Sprintf("%s/%d", at, i))...)
			}
		}
	case object:
		is["object"] = true
		properties, _ := s["properties"].(object)
		for name, member := range v {
			of, known := properties[name].(object)
			if known {
				list = append(list, violations(doc, of, member, at+"/"+name)...)
			} else if properties != nil {
				list = append(list, at+"/"+name+" is not described")
			}
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, there := v[name.(string)]; !there {
				list = append(list, fmt.Sprintf("%s/%s is missing", at, name))
			}
		}
	}
	if !slices.ContainsFunc(types, func(name any) bool { return is[name] }) {
		list = append(list, fmt.Sprintf("%s is none of %v", at, types))
	}
	return list
}

func readOpenAPI(t *testing.T) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(schemas.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// lead goes down by names; it returns nil if there is nothing.
func lead(doc object, names ...string) any {
	var v any = doc
	for _, name := range names {
		o, _ := v.(object)
		v = o[name]
	}
	return v
}

// follow returns what a pointer like "#/components/x" leads to.
func follow(doc object, pointer string) any {
	return lead(doc, strings.Split(strings.TrimPrefix(pointer, "#/"), "/")...)
}

// What OpenAPI 3.1 demands of the parts that are used.
func TestOpenAPIHasWhatItMust(t *testing.T) {
	doc := readOpenAPI(t)
	if doc["openapi"] != "3.1.0" || lead(doc, "info", "title") == nil || lead(doc, "info", "version") == nil {
		t.Errorf("%v %v", doc["openapi"], doc["info"])
	}
	references := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			for name, below := range v {
				if to, ok := below.(string); ok && name == "$ref" {
					references++
					if follow(doc, to) == nil {
						t.Errorf("%s leads nowhere", to)
					}
				}
				walk(below)
			}
		case []any:
			for _, below := range v {
				walk(below)
			}
		}
	}
	walk(doc)
	if references < 50 {
		t.Errorf("only %d references", references)
	}
	ids := map[string]bool{}
	for path, item := range doc["paths"].(object) {
		for method, v := range item.(object) {
			o := v.(object)
			id, _ := o["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s %s: its operationId %q is none of its own", method, path, id)
			}
			ids[id] = true
			var inPath, described []string
			for _, m := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(path, -1) {
				inPath = append(inPath, m[1])
			}
			parameters, _ := o["parameters"].([]any)
			for _, v := range parameters {
				if p := v.(object); p["in"] == "path" {
					described = append(described, p["name"].(string))
					if p["required"] != true {
						t.Errorf("%s %s: %s must be required", method, path, p["name"])
					}
				}
			}
			if diff := cmp.Diff(inPath, described); diff != "" {
				t.Errorf("%s %s: parameters (-path +described):\n%s", method, path, diff)
			}
			for status, v := range o["responses"].(object) {
				answer := v.(object)
				if to, ok := answer["$ref"].(string); ok {
					answer = follow(doc, to).(object)
				}
				if answer["description"] == nil {
					t.Errorf("%s %s: %s has no description", method, path, status)
				}
			}
		}
	}
}

func TestDocumentsAreServedAsTheyAre(t *testing.T) {
	p := withEverything(t)
	for path, want := range map[string][]byte{"/openapi.json": schemas.OpenAPI(), "/asyncapi.json": schemas.AsyncAPI()} {
		if h := p.get(t, path); h.body != string(want) || h.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s answers %d with %d bytes of %s", path, h.status, len(h.body), h.header.Get("Content-Type"))
		}
	}
}
