package accesscontrolstest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Who made and modified what nobody else did. These are users, whom nobody
// should hear of.
const (
	Creator  = "u-kanarie-creator@bank.example"
	Modifier = "u-kanarie-modifier@bank.example"
	Trader   = "u-kanarie-trader@bank.example"
)

// document is what all access controls have about themselves.
type document struct {
	version    int
	created    time.Time
	modified   time.Time
	modifiedBy string
	rules      map[string][]Rule // by path
	more       map[string]any    // members that aren't documented, or are otherwise
}

type tranche struct {
	id        string
	v1, v2    *document
	flags     map[string]bool // of v1
	released  bool            // of v2
	least     string
	most      string
	grants    []Grant
	forbidden map[string]bool
}

type deal struct {
	id        string
	tranches  []string
	v2        *document
	forbidden bool
	unlisted  bool
}

// newDocument makes a document. mu is held.
func (p *Platform) newDocument() *document {
	now := p.options.Now()
	return &document{version: 1, created: now, modified: now, modifiedBy: Creator, more: map[string]any{}}
}

// touch notes that a document is saved. mu is held.
func (p *Platform) touch(d *document) {
	d.version++
	d.modified, d.modifiedBy = p.options.Now(), Modifier
}

// v2Of returns the v2 document of a tranche or deal. mu is held.
func (p *Platform) v2Of(id string) *document {
	if t := p.tranches[id]; t != nil {
		return t.v2
	}
	for _, d := range p.deals {
		if d.id == id {
			return d.v2
		}
	}
	return &document{rules: map[string][]Rule{}, more: map[string]any{}}
}

var sales = []Rule{{Roles: []string{"sales", "syndicate"}, UserIDs: []string{Trader, Creator}}}

// trancheRules are the rules of a new tranche. Paths that end in a star allow
// regions.
func trancheRules() map[string][]Rule {
	rules := map[string][]Rule{"allocation.classifications.Retail.view": sales}
	for group, names := range map[string]string{
		"":                     "view add update delete",
		"indication.":          "view add update delete cancel reinstate allowMultipleIndicationsPerInvestor",
		"indication.lei.":      "enable",
		"indication.limit.":    "update",
		"indication.demand.":   "update denyIncreases denyDecreases",
		"hedge.":               "view add update delete",
		"hedge.settlement.":    "requireType",
		"allocation.":          "view add update delete",
		"privateComments.":     "add update",
		"prospectus.":          "enable requireDocument",
		"jointBook.hedge.":     "view",
		"salesCredit.":         "view",
		"indication.approval.": "require",
		"indication.investor.contact.roles.orderPlacer.": "view require allowOneOff allowExisting",
	} {
		for name := range strings.FieldsSeq(names) {
			rules[group+name] = sales
		}
	}
	return rules
}

func dealRules() map[string][]Rule {
	rules := map[string][]Rule{"view": sales}
	for group, names := range map[string]string{
		"indication.allocationOnSwap.":              "enable",
		"indication.allocationOnSwap.counterparty.": "requireWhenSelected",
		"indication.claimedHolding.":                "enable require",
		"indication.attestation.":                   "enable require",
		"indication.investor.contact.":              "require",
		"indication.investor.contact.orderPlacer.":  "view require allowOneOff allowExisting",
		"prospectus.":                               "enable requireDocument",
	} {
		for name := range strings.FieldsSeq(names) {
			rules[group+name] = sales
		}
	}
	return rules
}

// stamp writes a time as .NET does, with seven digits.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.0000000-07:00") }

func metadata(id string) map[string]any {
	return map[string]any{
		"sourceId": "SRC-" + id[:8], "sourceAppKey": "bookbuild", "firmId": "4821",
		"sourceCreatedBy": Creator, "sourceLastModifiedBy": Modifier,
	}
}

// v1 writes the v1 document of a tranche. mu is held.
func (p *Platform) v1(t *tranche) map[string]any {
	limits := []any{
		map[string]any{"isDefault": true, "limitType": "Price", "spreadType": "MidSwaps"},
		map[string]any{"isDefault": false, "limitType": "Yield", "spreadType": "AssetSwaps"},
	}
	created := "createdTimeStamp"
	if p.turned {
		slices.Reverse(limits)
		created = "createdTimestamp"
	}
	out := map[string]any{
		"trancheId": t.id, "sourceMetadata": metadata(t.id),
		"manageBySalesRegion": true, "requiresInvestorCodes": false, "forceContactCapture": true,
		"defaultIndicationIntentType": "Firm", "availableLimitTypes": limits,
		"availableBasisTypes": []any{map[string]any{
			"hedgeBasisType": "AssetSwap", "securities": []any{map[string]any{"name": "NORTH 3.5 2031"}}, "isDefault": true,
		}},
		"forceHedgeSettlementTypeCapture": false, "deliveryTypeRequired": true, "isHedgeBookConfidential": true,
		"isSalesCreditsVisible": false, "isAttestationEnabled": true, "isAttestationRequired": false, "isLeiEnabled": true,
		"createdBy": Creator, created: stamp(t.v1.created),
		"lastModifiedBy": t.v1.modifiedBy, "lastModifiedDateTime": t.v1.modified.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	for _, name := range []string{BookOpen, HedgeBookOpen, AllocationsReleased, TrancheVisible, AllocationsVisible, VisibleToInvestor} {
		out[name] = t.flags[name]
	}
	maps.Copy(out, t.v1.more)
	return out
}

// v2 writes the v2 document of a tranche or deal, with a part that its rules
// don't make. mu is held.
func (p *Platform) v2(idName, id string, d *document, full bool, part map[string]any) map[string]any {
	out := map[string]any{
		idName: id, "sourceMetadata": metadata(id), "rowVersion": d.version,
		"createdTimestamp": stamp(d.created), "createdByUserId": Creator,
		"lastModifiedTimestamp": stamp(d.modified), "lastModifiedByUserId": d.modifiedBy,
	}
	merge(out, part)
	for _, path := range slices.Sorted(maps.Keys(d.rules)) {
		leaf := any(allowed(d.rules[path]))
		if full {
			leaf = p.written(d.rules[path])
		}
		names := strings.Split(path, ".")
		at := out
		for _, name := range names[:len(names)-1] {
			inner, ok := at[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[name] = inner
			}
			at = inner
		}
		at[names[len(names)-1]] = leaf
	}
	maps.Copy(out, d.more)
	return out
}

func (p *Platform) trancheV2(t *tranche, full bool) map[string]any {
	basis := any(map[string]any{"hedgeBasisType": "Cash", "securities": []any{map[string]any{"name": "NORTH 3.5 2031"}}, "isDefault": true})
	if p.turned {
		basis = []any{basis}
	}
	part := map[string]any{
		"indication": map[string]any{
			"book": map[string]any{"manageBySalesRegion": true}, "defaultCommitment": "Soft",
			"availableOrderTypes": []any{map[string]any{
				"roles": p.set("sales", "syndicate"), "userIds": p.set(Trader, Creator), "action": "Default",
				"orderType": map[string]any{"type": "Product"},
			}},
		},
		"hedge":      map[string]any{"availableBasisTypes": basis},
		"allocation": map[string]any{"released": t.released},
	}
	if t.least != "" {
		indication, _ := part["indication"].(map[string]any)
		indication["limitConstraints"] = []any{map[string]any{
			"roles": p.set("sales"), "userIds": p.set(), "action": "Cancel",
			"constraint": map[string]any{"limitType": "Yield", "min": jsontext.Value(t.least), "max": jsontext.Value(t.most)},
		}}
	}
	return p.v2("trancheId", t.id, t.v2, full, part)
}

// merge puts what b has into a.
func merge(a, b map[string]any) {
	for name, v := range b {
		inner, ok := a[name].(map[string]any)
		if more, both := v.(map[string]any); ok && both {
			merge(inner, more)
			continue
		}
		a[name] = v
	}
}

// written writes rules, in an order that says nothing. mu is held.
func (p *Platform) written(rules []Rule) []any {
	out := make([]any, 0, len(rules))
	for _, r := range rules {
		action := r.Action
		if action == "" {
			action = "Default"
		}
		m := map[string]any{"roles": p.set(r.Roles...), "userIds": p.set(r.UserIDs...), "action": action}
		if r.Regions != nil {
			name := "regionIds (For Future Use)"
			if p.turned {
				name = "regionIds"
			}
			m[name] = p.set(r.Regions...)
		}
		out = append(out, m)
	}
	if p.turned {
		slices.Reverse(out)
	}
	return out
}

func (p *Platform) set(values ...string) []any {
	out := make([]any, 0, len(values))
	for _, v := range values {
		out = append(out, v)
	}
	if p.turned {
		slices.Reverse(out)
	}
	return out
}

// allowed evaluates rules for the client, whose role is that of sales.
func allowed(rules []Rule) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool {
		return slices.Contains(r.Roles, "sales") != (r.Action == "Cancel")
	})
}
