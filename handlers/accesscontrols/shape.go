package accesscontrols

import "strings"

// kind is what a place in a document holds.
type kind int

const (
	kindObject kind = iota
	kindDict        // an object whose names are data
	kindRule        // a permission: a boolean for users, a set of rules in full
	kindBool
	kindEnum
	kindText
	kindWord // a short name: of a role, a region
	kindUser // the id of a user: personal
	kindNumber
	kindSet // an array whose order says nothing
)

// shape describes a place in a document. Shapes never change.
type shape struct {
	kind    kind
	members map[string]place // of an object, by their names in lower case
	of      *shape           // the elements of a dictionary or a set
	values  []string         // of an enum, those that are documented
}

// place is a member of an object.
type place struct {
	name string // as we write it
	// within is the member that it belongs into, if some documents have it one
	// level higher.
	within string
	*shape
}

// find returns the member that a platform's name means. CAS is not consistent
// in the case of names.
func (s *shape) find(name string) (place, bool) {
	p, ok := s.members[strings.ToLower(name)]
	return p, ok
}

func leaf(k kind) *shape                { return &shape{kind: k} }
func enum(values ...string) *shape      { return &shape{kind: kindEnum, values: values} }
func set(of *shape) *shape              { return &shape{kind: kindSet, of: of} }
func dict(of *shape) *shape             { return &shape{kind: kindDict, of: of} }
func object(m map[string]*shape) *shape { return extend(&shape{kind: kindObject}, m) }

// extend returns s with more members.
func extend(s *shape, m map[string]*shape) *shape {
	out := &shape{kind: kindObject, members: map[string]place{}}
	for name, p := range s.members {
		out.members[name] = p
	}
	for name, member := range m {
		out.members[strings.ToLower(name)] = place{name: name, shape: member}
	}
	return out
}

// permissions returns members that are permissions.
func permissions(names ...string) map[string]*shape {
	m := make(map[string]*shape, len(names))
	for _, name := range names {
		m[name] = leaf(kindRule)
	}
	return m
}

// shapes are those of the three kinds of documents, without what every document
// has about itself (its id, version, times and users) and without the flags of
// a v1 document.
type shapes struct{ rule, tranchesV1, tranchesV2, deals *shape }

// documented are the shapes of CAS's documentation. Their enums are open.
var documented = func() shapes {
	limits := func(more ...string) map[string]*shape {
		return map[string]*shape{
			"isDefault": leaf(kindBool),
			"limitType": enum(append([]string{"Blank", "Spread", "Yield", "Price", "Reoffer", "Others"}, more...)...),
			"spreadType": enum("DefaultBenchmarkBond", "DefaultPricingReference", "FloatingRateIndex",
				"MidSwaps", "AssetSwaps"),
		}
	}
	metadata := object(map[string]*shape{
		"sourceId": leaf(kindText), "sourceAppKey": leaf(kindText), "firmId": leaf(kindText),
		"sourceCreatedBy": leaf(kindUser), "sourceLastModifiedBy": leaf(kindUser),
	})
	basis := set(object(map[string]*shape{
		"hedgeBasisType": enum("Blank", "Cash", "Switch", "Hedge", "AssetSwap", "Undecided"),
		"securities":     set(object(map[string]*shape{"name": leaf(kindText)})),
		"isDefault":      leaf(kindBool),
	}))
	rule := object(map[string]*shape{
		"roles": set(leaf(kindWord)), "userIds": set(leaf(kindUser)), "regionIds": set(leaf(kindWord)),
		"action": enum("Default", "Cancel"),
	})
	rule.members["regionids (for future use)"] = place{name: "regionIds", shape: set(leaf(kindWord))}
	ruled := func(m map[string]*shape) *shape { return set(extend(rule, m)) }
	constraint := func(name string, kinds *shape) *shape {
		return ruled(map[string]*shape{"constraint": object(map[string]*shape{
			name: kinds, "min": leaf(kindNumber), "max": leaf(kindNumber),
		})})
	}
	limitV2 := limits("Limit", "Discount", "Market")
	placer := object(permissions("view", "require", "allowOneOff", "allowExisting"))
	contact := extend(object(permissions("require")), map[string]*shape{"roles": dict(placer)})
	prospectus := object(permissions("enable", "requireDocument"))
	attestation := object(permissions("enable", "require"))

	v1 := map[string]*shape{
		"sourceMetadata":              metadata,
		"defaultIndicationIntentType": enum("Firm", "Soft"),
		"availableLimitTypes":         set(object(limits())),
		"availableBasisTypes":         basis,
	}
	for _, name := range []string{
		"manageBySalesRegion", "requiresInvestorCodes", "forceContactCapture", "forceHedgeSettlementTypeCapture",
		"deliveryTypeRequired", "isHedgeBookConfidential", "isSalesCreditsVisible", "isAttestationEnabled",
		"isAttestationRequired", "isLeiEnabled",
	} {
		v1[name] = leaf(kindBool)
	}

	indication := extend(object(permissions("view", "add", "update", "delete", "cancel", "reinstate", "allowMultipleIndicationsPerInvestor")),
		map[string]*shape{
			"book":                object(map[string]*shape{"manageBySalesRegion": leaf(kindBool)}),
			"investor":            object(map[string]*shape{"code": object(permissions("require")), "contact": contact}),
			"lei":                 object(permissions("enable")),
			"defaultCommitment":   enum("Firm", "Soft"),
			"availableLimitTypes": ruled(map[string]*shape{"limit": object(limitV2)}),
			"availableOrderTypes": ruled(map[string]*shape{"orderType": object(map[string]*shape{
				"type": enum("AbsoluteMinYield", "DefaultBenchmarkBond", "FloatingRateIndex", "MaxPrice", "MidSwaps",
					"Reoffer", "PricingReference", "Product", "Cash", "PercentOfDeal"),
			})}),
			"limitConstraints":  constraint("limitType", limitV2["limitType"]),
			"demandConstraints": constraint("demandType", enum("Percent")),
			"attestation":       attestation,
			"approval":          object(permissions("require")),
			"deliveryType":      object(permissions("enable", "require")),
			"limit":             object(permissions("update")),
			"demand":            object(permissions("update", "denyIncreases", "denyDecreases")),
		})
	v2 := extend(object(permissions("view", "add", "update", "delete")), map[string]*shape{
		"sourceMetadata": metadata,
		"indication":     indication,
		"hedge": extend(object(permissions("view", "add", "update", "delete")), map[string]*shape{
			"availableBasisTypes": basis,
			"settlement":          object(permissions("requireType")),
		}),
		"allocation": extend(object(permissions("view", "add", "update", "delete")), map[string]*shape{
			"affirmation":     object(permissions("enable")),
			"classifications": dict(object(permissions("view"))),
			"released":        leaf(kindBool),
		}),
		"privateComments": object(permissions("add", "update")),
		"prospectus":      prospectus,
		"jointBook":       object(map[string]*shape{"hedge": object(permissions("view"))}),
		"salesCredit":     object(permissions("view")),
	})

	// The documentation's sample has this role beside the dictionary of roles
	// that its prose describes.
	dealContact := extend(contact, nil)
	dealContact.members["orderplacer"] = place{name: "orderPlacer", within: "roles", shape: placer}
	deal := extend(object(permissions("view")), map[string]*shape{
		"sourceMetadata": metadata,
		"indication": object(map[string]*shape{
			"allocationOnSwap": extend(object(permissions("enable")), map[string]*shape{
				"counterparty": object(permissions("requireWhenSelected")),
			}),
			"claimedHolding": object(permissions("enable", "require")),
			"attestation":    attestation,
			"investor":       object(map[string]*shape{"contact": dealContact}),
		}),
		"prospectus": prospectus,
	})
	return shapes{rule: set(rule), tranchesV1: object(v1), tranchesV2: v2, deals: deal}
}()
