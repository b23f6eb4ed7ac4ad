package accesscontrols

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/schemas"
)

// pseudonym stands for the receiver's.
func pseudonym(s string) string { return "P" + schemas.Token(s + "!")[1:] }

// natives returns the documents as the platform writes them, by the name of
// their file, each with its shape and whether it is in full.
func natives(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/native/*.json")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d documents, error %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = b
	}
	return all
}

func shapeFor(name string) (s *shape, role, key, member string) {
	switch {
	case strings.HasPrefix(name, "tranche_v1"):
		return documented.tranchesV1, RoleTranchesV1, "tranche-v1-", "trancheId"
	case strings.HasPrefix(name, "tranche_v2"):
		return documented.tranchesV2, RoleTranchesV2, "tranche-v2-", "trancheId"
	}
	return documented.deals, RoleDeals, "deal-v2-", "dealId"
}

func projected(t testing.TB, name string, native []byte) document {
	t.Helper()
	tree, err := parse(native)
	object, ok := tree.(map[string]any)
	if err != nil || !ok {
		t.Fatalf("%s is no object: %v", name, err)
	}
	s, role, _, member := shapeFor(name)
	var without []string
	if role == RoleTranchesV1 {
		without = offeringFlags
	}
	p := projector{full: strings.HasSuffix(name, "full"), pseudonym: pseudonym}
	d := p.project(object, s, without)
	d.API, d.ID = "v2", textOf(object[member])
	return d
}

// Every member that is documented is known in the shape that it has.
func TestDocumentedMembersAreAllKnown(t *testing.T) {
	for name, native := range natives(t) {
		t.Run(name, func(t *testing.T) {
			d := projected(t, name, native)
			tree, err := parse(d.Doc)
			if err != nil {
				t.Fatal(err)
			}
			s, _, _, _ := shapeFor(name)
			for _, drift := range surprises(tree, s) {
				t.Errorf("drift at %s", drift.Path)
			}
			if d.CreatedAt == "" || d.CreatedBy != pseudonym("user-3") || d.ModifiedAt == "" || d.ModifiedBy != pseudonym("user-9") || d.ZoneGuess {
				t.Errorf("%+v", d)
			}
			if (d.RowVersion == nil) != strings.HasPrefix(name, "tranche_v1") {
				t.Errorf("version %v", d.RowVersion)
			}
			if bytes.Contains(d.Doc, []byte("user-")) {
				t.Errorf("users are named: %s", d.Doc)
			}
			out := d.Doc.Clone()
			if err := out.Indent(); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "native", name+".golden"), append(out, '\n'))
		})
	}
}

func golden(t testing.TB, file string, got []byte) {
	t.Helper()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; -update writes it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("differs from %s; if that is right, -update writes it (-golden +got):\n%s", file, diff)
	}
}

// The order of sets and members and the case of names say nothing.
func TestProjectionsOfEqualDocumentsAreEqual(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var shuffle func(v any) any
	shuffle = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			out := map[string]any{}
			for name, m := range v {
				switch {
				case name == "classifications" || name == "roles":
					out[name] = m // their names are data
					continue
				case random.IntN(2) == 0:
					name = strings.ToUpper(name[:1]) + name[1:]
				case random.IntN(4) == 0:
					name = strings.ToLower(name)
				}
				out[name] = shuffle(m)
			}
			return out
		case []any:
			out := make([]any, len(v))
			for i, j := range random.Perm(len(v)) {
				out[i] = shuffle(v[j])
			}
			return append(out, out[:min(1, len(out))]...) // one is there twice
		}
		return v
	}
	for name, native := range natives(t) {
		want := projected(t, name, native)
		tree, err := parse(native)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			other, err := json.Marshal(shuffle(tree))
			if err != nil {
				t.Fatal(err)
			}
			got := projected(t, name, other)
			got.ID = want.ID
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// Whatever is different in a document is told where it is.
func TestEveryDifferenceIsFound(t *testing.T) {
	for name, native := range natives(t) {
		tree, err := parse(native)
		if err != nil {
			t.Fatal(err)
		}
		before := projected(t, name, native)
		old, _ := parse(before.Doc)
		found, leaves := 0, 0
		eachLeaf(tree, func(path string, set func(any), v any) {
			if leaves++; os.Getenv("LONG_TESTS") == "" && leaves%9 > 0 {
				return // there are many, and most are alike
			}
			var other any = "another-" + textOf(v)
			if b, ok := v.(bool); ok {
				other = !b
			}
			set(other)
			defer set(v)
			changed, err := json.Marshal(tree, json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			after := projected(t, name, changed)
			now, _ := parse(after.Doc)
			changes, truncated := diff(old, now)
			if cmp.Equal(before, after) && !isFlag(path) && !strings.HasSuffix(path, "dealId") && !strings.HasSuffix(path, "trancheId") {
				t.Errorf("%s: %s is not seen", name, path)
			}
			if len(changes) > 1 || truncated {
				t.Errorf("%s: %s is %d changes", name, path, len(changes))
			}
			found += len(changes)
		})
		if found < 1 {
			t.Errorf("%s: only %d differences", name, found)
		}
	}
}

func isFlag(path string) bool {
	for _, f := range offeringFlags {
		if strings.HasSuffix(path, "/"+f) {
			return true
		}
	}
	return false
}

// eachLeaf calls fn with each value of a tree that holds no others.
func eachLeaf(tree any, fn func(path string, set func(any), v any)) {
	var walk func(path string, v any, set func(any))
	walk = func(path string, v any, set func(any)) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range sortedKeys(v) {
				walk(path+"/"+name, v[name], func(x any) { v[name] = x })
			}
		case []any:
			for i := range v {
				walk(path, v[i], func(x any) { v[i] = x })
			}
		default:
			fn(path, set, v)
		}
	}
	walk("", tree, nil)
}

func TestTooManyDifferencesAreCutAndFlagged(t *testing.T) {
	before, after := map[string]any{}, map[string]any{}
	for i := range maxChanges + 1 {
		after[strings.Repeat("x", i+1)] = true
	}
	if changes, truncated := diff(before, after); len(changes) != maxChanges || !truncated {
		t.Errorf("%d changes, truncated %v", len(changes), truncated)
	}
	after = map[string]any{"a": strings.Repeat("x", maxValues), "b~/": true}
	changes, truncated := diff(before, after)
	if len(changes) != 1 || changes[0].Path != "/b~0~1" || !truncated {
		t.Errorf("%v, truncated %v", changes, truncated)
	}
	if changes, truncated := whole(after); len(changes) != 0 || !truncated {
		t.Errorf("%v, truncated %v", changes, truncated)
	}
}

func TestTokensSayWhenTheyEnd(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	// {"exp":1700000900,"firm_id":4821,"scope":"a b"}
	const jwt = "e30.eyJleHAiOjE3MDAwMDA5MDAsImZpcm1faWQiOjQ4MjEsInNjb3BlIjoiYSBiIn0.c2ln"
	for name, c := range map[string]struct {
		body    string
		expires time.Time
		scopes  string
		firm    string
	}{
		"both":         {`{"access_token":"` + jwt + `","expires_in":1200}`, now.Add(20 * time.Minute), "a b", "4821"},
		"text":         {`{"access_token":"` + jwt + `","expires_in":"60"}`, now.Add(time.Minute), "a b", "4821"},
		"its own":      {`{"access_token":"` + jwt + `"}`, now.Add(15 * time.Minute), "a b", "4821"},
		"odd":          {`{"access_token":"` + jwt + `","expires_in":{}}`, now.Add(15 * time.Minute), "a b", "4821"},
		"opaque":       {`{"access_token":"x.y.z"}`, time.Time{}, "asked", ""},
		"scope in it":  {`{"access_token":"x","scope":"c d"}`, time.Time{}, "c d", ""},
		"without any":  {`{"access_token":"x","scope":[]}`, time.Time{}, "", ""},
		"nothing said": {`{"access_token":"x","scope":null}`, time.Time{}, "asked", ""},
	} {
		token, g, err := readToken([]byte(c.body), []string{"asked"}, now)
		if err != nil || !token.Expires.Equal(c.expires) || strings.Join(g.scopes, " ") != c.scopes || g.firm != c.firm {
			t.Errorf("%s: %v, %v, error %v", name, token.Expires, g, err)
		}
	}
	for _, body := range []string{``, `[]`, `{}`, `{"access_token":""}`, `{"access_token":7}`} {
		if _, _, err := readToken([]byte(body), nil, now); err == nil {
			t.Errorf("%s is a token", body)
		}
	}
}
