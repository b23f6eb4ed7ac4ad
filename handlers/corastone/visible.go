package corastone

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// Roles of the pollers that hold the last known state of what we may see.
const (
	RoleAssets      = "assets"
	RoleSecurities  = "securities"
	RoleExclusivity = "exclusivity"
)

// ViewExplained is the view of a change that the steps of an asset's history
// explain: they are told, and not that the status changed.
const ViewExplained = "explained"

// seen is what is kept of an asset, an offering or an assignment: its status,
// and the row that said so.
type seen struct {
	Status string         `json:"status"`
	Native jsontext.Value `json:"native"`
}

func (s seen) encode() jsontext.Value {
	b, err := json.Marshal(s, json.Deterministic(true))
	if err != nil {
		panic(err) // a text, and JSON that was read
	}
	return b
}

// decodeSeen reads what encode wrote; of nothing it returns none.
func decodeSeen(state jsontext.Value) (s seen, ok bool) {
	return s, state != nil && json.Unmarshal(state, &s) == nil
}

// visible asks for what we may see: by pollers for all of it, and by follow-ups
// for what is named.
type visible struct {
	client *client
	orgID  string
	// follows says that processes are followed up: then steps are told.
	follows bool
}

// scanAssets implements the Scan of the poller of assets. A status that a step
// of the history explains is noted and not told: the follow-up of the step's
// process tells the step.
func (v *visible) scanAssets(ctx context.Context, s handlers.Scan) error {
	known := map[string]string{}
	if v.follows {
		err := s.Records(ctx, RoleAssets, func(key string, r handlers.Record) error {
			if was, ok := decodeSeen(r.Parts[RoleAssets].State); ok {
				known[key] = was.Status
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	err := v.client.pages(ctx, readAssets, nil, 0, list, func(rows []jsontext.Value) error {
		explained := map[string]string{}
		if len(known) > 0 { // else all of it is new
			var err error
			if explained, err = v.explained(ctx, rows, known); err != nil {
				return err
			}
		}
		return saw(s, readAssets, rows, assetID, assetStatus, handlers.Sighting{Container: RoleAssets}, explained)
	})
	if err != nil {
		return err
	}
	if err := s.Complete(RoleAssets); err != nil {
		return err
	}
	return v.scanWaiting(ctx, s)
}

// explained returns the views of those rows whose status is another one than is
// known, and which the last step of their history leads to. A history that can't
// be read explains nothing, but that we are not to ask now is an error.
func (v *visible) explained(ctx context.Context, rows []jsontext.Value, known map[string]string) (map[string]string, error) {
	changed := map[string]string{}
	for _, native := range rows {
		if r, ok := readRow(native); ok {
			if id, status := r.text(assetID), r.text(assetStatus); !strings.EqualFold(known[id], status) {
				changed[id] = status
			}
		}
	}
	last := map[string]step{}
	ids := slices.Sorted(maps.Keys(changed))
	err := v.client.byIDs(ctx, readAssetHistory, "assetIdsFilter", ids, nil, func(rows []jsontext.Value) error {
		for _, native := range rows {
			r, ok := readRow(native)
			if !ok {
				return handlers.ErrIncomplete
			}
			event := r.text(stepEvent)
			if id, wanted := spelled(ids, r.text(stepAsset)); wanted && event != "" && !earlier(native, last[id].native) {
				last[id] = step{id, event, native}
			}
		}
		return nil
	})
	views := map[string]string{}
	var answered *handlers.UpstreamError
	var refused *handlers.AuthError
	switch {
	case ctx.Err() != nil, errors.As(err, &refused), errors.As(err, &answered) && answered.RetryAfter > 0:
		return nil, err
	case err != nil:
		return views, nil
	}
	for id, st := range last {
		if r, ok := readRow(st.native); ok && strings.EqualFold(r.text(stepStatus), changed[id]) {
			views[id] = ViewExplained
		}
	}
	return views, nil
}

// earlier reports whether a row of a history is of a block before that of
// another. The API does not say in which order it lists them.
func earlier(row, other jsontext.Value) bool {
	number := func(v jsontext.Value) *int64 {
		r, ok := readRow(v)
		var b block
		if !ok || json.Unmarshal(r.find(stepBlock), &b) != nil {
			return nil
		}
		return b.number
	}
	a, b := number(row), number(other)
	return a != nil && b != nil && *a < *b
}

// scanSecurities implements the Scan of the poller of offerings.
func (v *visible) scanSecurities(ctx context.Context, s handlers.Scan) error {
	err := v.client.pages(ctx, readSecurities, nil, 0, list, func(rows []jsontext.Value) error {
		return saw(s, readSecurities, rows, securityID, securityState, handlers.Sighting{Container: RoleSecurities}, nil)
	})
	if err != nil {
		return err
	}
	return s.Complete(RoleSecurities)
}

// saw notes what rows show, some of them with a view of their own. A row
// without an id or a status is none.
func saw(s handlers.Scan, e endpoint, rows []jsontext.Value, id, status field, as handlers.Sighting, views map[string]string) error {
	for _, native := range rows {
		r, ok := readRow(native)
		if !ok || r.text(id) == "" || r.text(status) == "" {
			return &handlers.UpstreamError{Endpoint: e.name, Err: handlers.ErrIncomplete}
		}
		as.Key, as.State = r.text(id), seen{r.text(status), native}.encode()
		as.View = views[as.Key]
		if err := s.Saw(as); err != nil {
			return err
		}
	}
	return nil
}

// scanExclusivity implements the Scan of the poller of assignments: of each
// offering that we may see, and of those that wait for an answer of ours.
func (v *visible) scanExclusivity(ctx context.Context, s handlers.Scan) error {
	var ids []string
	err := v.client.pages(ctx, readSecurities, nil, 0, list, func(rows []jsontext.Value) error {
		for _, native := range rows {
			if r, ok := readRow(native); ok && r.text(securityID) != "" {
				ids = append(ids, r.text(securityID))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	pending, err := v.pending(ctx)
	if err != nil {
		return err
	}
	if _, err := v.assignments(ctx, s, union(pending, ids), handlers.Sighting{Container: RoleExclusivity}); err != nil {
		return err
	}
	return s.Complete(RoleExclusivity)
}

// pending returns the offerings whose assignment waits for us. Its path is
// inferred: where there is none, nothing waits that can be known.
func (v *visible) pending(ctx context.Context) (ids []string, err error) {
	err = v.client.pages(ctx, readPending, nil, 0, list, func(rows []jsontext.Value) error {
		for _, native := range rows {
			if r, ok := readRow(native); ok && r.text(securityID) != "" {
				ids = append(ids, r.text(securityID))
			}
		}
		return nil
	})
	if notThere(err) {
		return nil, nil
	}
	return ids, err
}

// assignments asks for our organisation's assignment to each offering: the
// answer's rows name organisations and not offerings. It returns the statuses
// by offering.
func (v *visible) assignments(ctx context.Context, s handlers.Scan, securities []string, as handlers.Sighting) (map[string]string, error) {
	statuses := map[string]string{}
	for _, id := range securities {
		query := url.Values{"securityIdsFilter": {filterValue([]string{id})}}
		err := v.client.pages(ctx, readExclusivity, query, 0, list, func(rows []jsontext.Value) error {
			for _, native := range rows {
				r, ok := readRow(native)
				if !ok || r.text(rowStatus) == "" {
					return &handlers.UpstreamError{Endpoint: readExclusivity.name, Err: handlers.ErrIncomplete}
				}
				if !strings.EqualFold(r.text(orgID), v.orgID) {
					continue
				}
				statuses[id] = r.text(rowStatus)
				as.Key, as.State = id, seen{statuses[id], native}.encode()
				if err := s.Saw(as); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil && !notThere(err) {
			return nil, err
		}
	}
	return statuses, nil
}
