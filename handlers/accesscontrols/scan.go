package accesscontrols

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// Keys of entities. Each is a container of its own, so that what the settings
// don't name any more isn't absent. The settings and the Deals API may write an
// id in different cases, and it is the same.
func trancheKeyV1(id string) string { return "tranche-v1-" + strings.ToLower(id) }
func trancheKeyV2(id string) string { return "tranche-v2-" + strings.ToLower(id) }
func dealKey(id string) string      { return "deal-v2-" + strings.ToLower(id) }
func offeringKey(id string) string  { return "offering-" + strings.ToLower(id) }

// scan reads the documents of one kind that a source watches.
func (a *source) scan(ctx context.Context, s handlers.Scan, d documents, each func(id string, f found) error) error {
	ids, failed := a.ids(ctx, s, d.role)
	if len(ids) == 0 {
		return failed
	}
	if err := a.sharing(ctx, s, ids); err != nil {
		return err
	}
	return errors.Join(failed, a.read(ctx, d, ids, each))
}

func (a *source) scanTranchesV2(ctx context.Context, s handlers.Scan) error {
	d := a.tranchesV2()
	return a.scan(ctx, s, d, func(id string, f found) error {
		if f.document == nil {
			return missed(s, trancheKeyV2(id), f.status)
		}
		return saw(s, trancheKeyV2(id), a.project(d, id, f.document))
	})
}

func (a *source) scanDeals(ctx context.Context, s handlers.Scan) error {
	d := a.deals()
	return a.scan(ctx, s, d, func(id string, f found) error {
		if f.document == nil {
			return missed(s, dealKey(id), f.status)
		}
		return saw(s, dealKey(id), a.project(d, id, f.document))
	})
}

func (a *source) scanTranchesV1(ctx context.Context, s handlers.Scan) error {
	d := a.tranchesV1()
	return a.scan(ctx, s, d, func(id string, f found) error {
		if f.document == nil {
			if err := missed(s, trancheKeyV1(id), f.status); err != nil {
				return err
			}
			return a.standIn(ctx, s, id)
		}
		doc := a.project(d, id, f.document, offeringFlags...)
		if err := saw(s, trancheKeyV1(id), doc); err != nil {
			return err
		}
		return saw(s, offeringKey(id), flagsOf(f.document, doc))
	})
}

// project returns the projection of a document without some of its members.
func (a *source) project(d documents, id string, native map[string]any, without ...string) document {
	p := projector{full: d.view == ViewFull, pseudonym: a.pseudonym}
	doc := p.project(native, d.shape, without)
	doc.API, doc.View, doc.Shared, doc.ID = d.api, d.view, a.settings.Shared, id
	return doc
}

// flagsOf returns the flags of an offering as its v1 document has them.
func flagsOf(native map[string]any, d document) flags {
	f := flags{TrancheID: d.ID, Shared: d.Shared, Flags: map[string]bool{}, ReleaseAPI: "v1", SourceID: d.sourceID()}
	f.ModifiedAt, f.ModifiedBy = d.ModifiedAt, d.ModifiedBy
	for _, name := range offeringFlags {
		if on, ok := member(native, name).(bool); ok {
			f.Flags[name] = on
		}
	}
	return f
}

// standIn takes from the v2 document of a tranche whether its allocations are
// released, when its v1 document can't be read. All that is told of an offering
// comes from one poller and one record, so that it is told once whichever
// document said it.
func (a *source) standIn(ctx context.Context, s handlers.Scan, id string) error {
	v1, err := s.Record(ctx, trancheKeyV1(id))
	if err != nil || v1.Parts[RoleTranchesV1].Present() { // its absence isn't believed yet
		return err
	}
	v2, err := s.Record(ctx, trancheKeyV2(id))
	if err != nil || !v2.Parts[RoleTranchesV2].Present() {
		return err
	}
	d, tree, err := readDocument(v2.Parts[RoleTranchesV2].State)
	released, ok := at(tree, "allocation", "released").(bool)
	if err != nil || !ok {
		return nil //nolint:nilerr // what was written by another version is no reason to fail
	}
	before, err := s.Record(ctx, offeringKey(id))
	if err != nil {
		return err
	}
	// What the v1 document said last of the other flags still stands.
	f := flags{TrancheID: id, Shared: d.Shared, Flags: map[string]bool{}, ReleaseAPI: "v2", SourceID: d.sourceID()}
	f.ModifiedAt, f.ModifiedBy = d.ModifiedAt, d.ModifiedBy
	if old, err := readFlags(before.Parts[RoleTranchesV1].State); err == nil {
		maps.Copy(f.Flags, old.Flags)
	}
	f.Flags[flagReleased] = released
	return saw(s, offeringKey(id), f)
}

// saw notes an entity that is alone in its container.
func saw(s handlers.Scan, key string, state any) error {
	encoded, err := json.Marshal(state, json.Deterministic(true))
	if err != nil {
		return errState
	}
	if err := s.Saw(handlers.Sighting{Key: key, Container: key, State: encoded}); err != nil {
		return err
	}
	return s.Complete(key)
}

// missed notes that an entity can't be read, and what the platform answered.
func missed(s handlers.Scan, key string, status int) error {
	if err := s.Missed(key, fmt.Appendf(nil, `{"status":%d}`, status)); err != nil {
		return err
	}
	return s.Complete(key)
}

// errState stands for the JSON library's errors, which quote values.
var errState = errors.New("a projection can't be written as JSON")

// readDocument reads the state of a document, and its tree.
func readDocument(state jsontext.Value) (d document, tree any, err error) {
	if err := json.Unmarshal(state, &d); err != nil {
		return document{}, nil, errTree
	}
	tree, err = parse(d.Doc)
	return d, tree, err
}

// readFlags reads the state of an offering.
func readFlags(state jsontext.Value) (f flags, err error) {
	if err := json.Unmarshal(state, &f); err != nil || f.Flags == nil {
		return flags{}, errTree
	}
	return f, nil
}
