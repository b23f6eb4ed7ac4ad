package schemas_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed75441868/postern/schemas"
)

func TestCompareTellsConflictsFromDetails(t *testing.T) {
	base := func() schemas.Process { return settled().Data.(schemas.Process) }
	for name, c := range map[string]struct {
		change           func(*schemas.Process)
		conflicts, added []string
	}{
		"the same":           {change: func(*schemas.Process) {}},
		"status in capitals": {change: func(p *schemas.Process) { p.NativeStatus = "SUCCESS" }},
		"channel in capitals": {change: func(p *schemas.Process) {
			p.Ledger = &schemas.Ledger{Channel: "NORTHG2", TransactionID: "ab12"}
		}},
		"ids in another order": {change: func(p *schemas.Process) { p.Affects["assetIds"] = []string{"A", "B"} }},
		"native type differs":  {change: func(p *schemas.Process) { p.NativeType = "other" }},
		"less was said": {change: func(p *schemas.Process) {
			p.Ledger, p.OrgID, p.Affects = nil, nil, map[string][]string{}
		}},
		"more was said": {
			change: func(p *schemas.Process) {
				p.OrchestrationID = ptr("orc-1")
				p.Affects["tradeIds"] = []string{"T"}
			},
			added: []string{"affects.tradeIds", "orchestrationId"},
		},
		"another method":      {change: func(p *schemas.Process) { p.Method = "void" }, conflicts: []string{"method"}},
		"another status":      {change: func(p *schemas.Process) { p.NativeStatus = "failure" }, conflicts: []string{"status"}},
		"another transaction": {change: func(p *schemas.Process) { p.Ledger.TransactionID = "cd" }, conflicts: []string{"transaction"}},
		"another place": {
			change:    func(p *schemas.Process) { p.Ledger = &schemas.Ledger{Channel: "x", TransactionID: "y"} },
			conflicts: []string{"channel", "transaction"},
		},
		"other ids and another organisation": {
			change: func(p *schemas.Process) {
				p.OrgID = ptr("ORG8")
				p.Affects["assetIds"] = []string{"C"}
			},
			added: []string{"affects.assetIds", "orgId"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			later := base()
			c.change(&later)
			conflicts, added := base().Facets().Compare(later.Facets())
			if !slices.Equal(conflicts, c.conflicts) || !slices.Equal(added, c.added) {
				t.Errorf("conflicts %q, added %q; want %q, %q", conflicts, added, c.conflicts, c.added)
			}
		})
	}
}

func TestFacetsOfTheOtherData(t *testing.T) {
	a := schemas.Orchestration{NativeStatus: "Success", ProcessIDs: []string{"p1"}}
	b := schemas.Orchestration{NativeStatus: "success", ProcessIDs: []string{"p1", "p2"}}
	if conflicts, added := a.Facets().Compare(b.Facets()); conflicts != nil || !slices.Equal(added, []string{"processIds"}) {
		t.Errorf("orchestration: conflicts %q, added %q", conflicts, added)
	}
	b.NativeStatus = "failure"
	if conflicts, _ := a.Facets().Compare(b.Facets()); !slices.Equal(conflicts, []string{"status"}) {
		t.Errorf("orchestration with another status: conflicts %q", conflicts)
	}
	x := schemas.LoggedError{Action: &schemas.ErrorAction{ID: ptr("1")}}
	y := schemas.LoggedError{Action: &schemas.ErrorAction{ID: ptr("2")}}
	if conflicts, _ := x.Facets().Compare(y.Facets()); !slices.Equal(conflicts, []string{"method"}) {
		t.Errorf("error with another action: conflicts %q", conflicts)
	}
	for _, d := range []schemas.Data{schemas.LoggedError{}, schemas.Job{}, schemas.Conflict{}, schemas.Drift{}} {
		if f := d.Facets(); len(f) != 0 {
			t.Errorf("%T: facets %v of nothing", d, f)
		}
	}
}

// No two lists of ids are taken for each other, wherever an id ends.
func TestFacetsTellListsApart(t *testing.T) {
	lists := [][]string{{"ab"}, {"a", "b"}, {`a"`, "b"}, {`a"b`}, {`a","b`}, {"a", "", "b"}, {""}}
	seen := map[string][]string{}
	for _, ids := range lists {
		f := schemas.Process{Affects: map[string][]string{"assetIds": ids}}.Facets().String()
		if other, ok := seen[f]; ok {
			t.Errorf("%q and %q have the same facets %q", ids, other, f)
		}
		seen[f] = ids
	}
}

func anyProcess(t *rapid.T) schemas.Process {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-z0-9=;:. -]{0,12}`))
	optional := rapid.Ptr(text, true)
	p := schemas.Process{
		Platform:        "corastone",
		ProcessID:       text.Draw(t, "id") + "x",
		OrchestrationID: optional.Draw(t, "orchestration"),
		Method:          text.Draw(t, "method"),
		NativeType:      text.Draw(t, "type"),
		NativeStatus:    text.Draw(t, "status") + "x",
		OrgID:           optional.Draw(t, "org"),
		Affects:         rapid.MapOfN(text, rapid.SliceOfN(text, 0, 4), 0, 40).Draw(t, "affects"),
	}
	if rapid.Bool().Draw(t, "on a ledger") {
		p.Ledger = &schemas.Ledger{
			Channel:       text.Draw(t, "channel"),
			Block:         rapid.Ptr(rapid.Int64Min(0), true).Draw(t, "block"),
			TransactionID: text.Draw(t, "transaction"),
		}
	}
	return p
}

func TestFacetsSurviveTheirHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyProcess(t).Facets()
		back := schemas.ParseFacets(f.String())
		if diff := cmp.Diff(f, back); diff != "" {
			t.Fatalf("%q reads back differently (-want +got):\n%s", f, diff)
		}
		if conflicts, added := f.Compare(back); conflicts != nil || added != nil {
			t.Fatalf("facets differ from themselves: %q, %q", conflicts, added)
		}
		for _, c := range []byte(f.String()) {
			if c <= ' ' || c >= 0x7f {
				t.Fatalf("a header can't carry %q", f)
			}
		}
	})
}

// A message with more than 64 KiB of headers is refused by the server for
// good, so a platform that names very many lists must not make one.
func TestFacetsStaySmallWhateverThePlatformNames(t *testing.T) {
	p := settled().Data.(schemas.Process)
	p.Affects = map[string][]string{strings.Repeat("long", 1000) + "Ids": {"1"}}
	for i := range 5000 {
		p.Affects[fmt.Sprintf("kind%04dIds", i)] = []string{"1"}
	}
	first := p.Facets()
	if n := len(first.String()); n > 4096 {
		t.Errorf("%d bytes of facets", n)
	}
	p.Affects["kind4999Ids"] = []string{"2"}
	if conflicts, added := first.Compare(p.Facets()); conflicts != nil || !slices.Equal(added, []string{"affects"}) {
		t.Errorf("a list beyond the first changed: conflicts %q, added %q", conflicts, added)
	}
}

func TestParseFacetsLeavesOutWhatItCannotRead(t *testing.T) {
	got := schemas.ParseFacets("status=AAAA;junk;;method=BBBB")
	if diff := cmp.Diff(schemas.Facets{"status": "AAAA", "method": "BBBB"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := schemas.ParseFacets(""); got == nil || len(got) != 0 {
		t.Errorf("facets of nothing: %#v, want an empty map", got)
	}
}

func FuzzParseFacets(f *testing.F) {
	f.Add("method=AbCdEfGh;status=12345678")
	f.Add(";;=;a;=b;a==b")
	f.Fuzz(func(t *testing.T, s string) {
		first := schemas.ParseFacets(s)
		conflicts, added := first.Compare(schemas.ParseFacets(s))
		if conflicts != nil || added != nil {
			t.Fatalf("%q differs from itself: %q, %q", s, conflicts, added)
		}
		if again := schemas.ParseFacets(first.String()); !cmp.Equal(first, again) {
			t.Fatalf("%q: %v reads back as %v", s, first, again)
		}
	})
}
