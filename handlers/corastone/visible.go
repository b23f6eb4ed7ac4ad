package corastone

import (
	"context"
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
}

// scanAssets implements the Scan of the poller of assets.
func (v *visible) scanAssets(ctx context.Context, s handlers.Scan) error {
	err := v.client.pages(ctx, readAssets, nil, list, func(rows []jsontext.Value) error {
		return saw(s, readAssets, rows, assetID, assetStatus, handlers.Sighting{Container: RoleAssets})
	})
	if err != nil {
		return err
	}
	if err := s.Complete(RoleAssets); err != nil {
		return err
	}
	return v.scanWaiting(ctx, s)
}

// scanSecurities implements the Scan of the poller of offerings.
func (v *visible) scanSecurities(ctx context.Context, s handlers.Scan) error {
	err := v.client.pages(ctx, readSecurities, nil, list, func(rows []jsontext.Value) error {
		return saw(s, readSecurities, rows, securityID, securityState, handlers.Sighting{Container: RoleSecurities})
	})
	if err != nil {
		return err
	}
	return s.Complete(RoleSecurities)
}

// saw notes what rows show. A row without an id or a status is none.
func saw(s handlers.Scan, e endpoint, rows []jsontext.Value, id, status field, as handlers.Sighting) error {
	for _, native := range rows {
		r, ok := readRow(native)
		if !ok || r.text(id) == "" || r.text(status) == "" {
			return &handlers.UpstreamError{Endpoint: e.name, Err: handlers.ErrIncomplete}
		}
		as.Key, as.State = r.text(id), seen{r.text(status), native}.encode()
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
	err := v.client.pages(ctx, readSecurities, nil, list, func(rows []jsontext.Value) error {
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
	ids = append(ids, pending...)
	slices.Sort(ids)
	if err := v.assignments(ctx, s, slices.Compact(ids), handlers.Sighting{Container: RoleExclusivity}); err != nil {
		return err
	}
	return s.Complete(RoleExclusivity)
}

// pending returns the offerings whose assignment waits for us. Its path is
// inferred: where there is none, nothing waits that can be known.
func (v *visible) pending(ctx context.Context) (ids []string, err error) {
	err = v.client.pages(ctx, readPending, nil, list, func(rows []jsontext.Value) error {
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
// answer's rows name organisations and not offerings.
func (v *visible) assignments(ctx context.Context, s handlers.Scan, securities []string, as handlers.Sighting) error {
	for _, id := range securities {
		query := url.Values{"securityIdsFilter": {filterValue([]string{id})}}
		err := v.client.pages(ctx, readExclusivity, query, list, func(rows []jsontext.Value) error {
			for _, native := range rows {
				r, ok := readRow(native)
				if !ok || r.text(rowStatus) == "" {
					return &handlers.UpstreamError{Endpoint: readExclusivity.name, Err: handlers.ErrIncomplete}
				}
				if !strings.EqualFold(r.text(orgID), v.orgID) {
					continue
				}
				as.Key, as.State = id, seen{r.text(rowStatus), native}.encode()
				if err := s.Saw(as); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil && !notThere(err) {
			return err
		}
	}
	return nil
}
