// Package tools_test checks what the project publishes with other people's
// tools, which the product itself doesn't need.
package tools_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The project's own tests know only the keywords that its generator writes.
// This validator knows the whole of draft 2020-12: it checks each schema
// against the meta-schema, and each example against its schema.
func TestSchemasAreValidAndTakeTheirExamples(t *testing.T) {
	files, err := filepath.Glob("../../schemas/json/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			doc, err := jsonschema.UnmarshalJSON(f)
			if err != nil {
				t.Fatal(err)
			}
			id := "urn:postern:schema:" + strings.TrimSuffix(filepath.Base(file), ".json")
			c := jsonschema.NewCompiler()
			c.DefaultDraft(jsonschema.Draft2020)
			c.AssertFormat()
			if err := c.AddResource(id, doc); err != nil {
				t.Fatal(err)
			}
			schema, err := c.Compile(id)
			if err != nil {
				t.Fatal(err)
			}
			examples := doc.(map[string]any)["examples"].([]any)
			if len(examples) == 0 {
				t.Fatal("no example")
			}
			for _, example := range examples {
				if err := schema.Validate(example); err != nil {
					t.Error(err)
				}
				delete(example.(map[string]any), "data")
				if schema.Validate(example) == nil {
					t.Error("an event without data is taken")
				}
			}
		})
	}
}
