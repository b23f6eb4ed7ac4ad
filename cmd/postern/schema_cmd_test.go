package main

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/schemas"
)

// Every type that is listed has a schema that names it.
func TestSchemaShowsEveryTypeThatIsListed(t *testing.T) {
	list, stderr, code := tools(t, "", "schema", "list")
	if code != exitOK || strings.Count(list, "\n") != len(schemas.Definitions()) {
		t.Fatalf("exit code %d\n%s%s", code, list, stderr)
	}
	for line := range strings.Lines(list) {
		typ := strings.Fields(line)[0]
		for _, name := range []string{typ, "postern." + typ, strings.TrimSuffix(typ, ".v1")} {
			text, stderr, code := tools(t, "", "schema", "show", name)
			var schema struct {
				ID string `json:"$id"`
			}
			if err := json.Unmarshal([]byte(text), &schema); code != exitOK || err != nil || schema.ID != "urn:postern:schema:"+typ {
				t.Errorf("%s: exit code %d, id %q, %v: %s", name, code, schema.ID, err, stderr)
			}
		}
	}
	if _, stderr, code := tools(t, "", "schema", "show", "process.suceeded"); code != exitNotFound || !strings.Contains(stderr, "did you mean process.succeeded?") {
		t.Errorf("a slip: exit code %d\n%s", code, stderr)
	}
	if _, _, code := tools(t, "", "schema", "show", "../../go.mod"); code != exitNotFound {
		t.Errorf("no type: exit code %d", code)
	}
}

func TestSchemaShowsWhatDescribesAllOfThem(t *testing.T) {
	for flag, want := range map[string][]byte{"--asyncapi": schemas.AsyncAPI(), "--openapi": schemas.OpenAPI()} {
		if code, stdout, stderr := command(t, nil, "schema", "show", flag); code != exitOK || stdout != string(want) {
			t.Errorf("%s: exit code %d, %d bytes: %s", flag, code, len(stdout), stderr)
		}
	}
	for _, args := range [][]string{{}, {"--asyncapi", "--openapi"}, {"--openapi", "process.succeeded"}} {
		if code, _, stderr := command(t, nil, append([]string{"schema", "show"}, args...)...); code != exitUsage || !strings.Contains(stderr, "next: ") {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
	}
}
