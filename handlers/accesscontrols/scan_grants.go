package accesscontrols

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
)

// grantState is the tracked projection of a grant.
type grantState struct {
	TrancheID  string `json:"trancheId"`
	ByFirmID   string `json:"byFirmId"`
	ToFirmID   string `json:"toFirmId"`
	AccessType string `json:"accessType"`
	Shared     bool   `json:"shared,omitzero"`
}

func (g grantState) key() string {
	ids := strings.ToLower(strings.Join([]string{g.TrancheID, g.ByFirmID, g.ToFirmID}, "-"))
	return ids + "-" + strings.ReplaceAll(g.AccessType, ".", "-")
}

// accessTypes are those that CAS documents.
var accessTypes = []string{
	"indication.view", "indication.update", "allocation.view", "allocation.update", "tranche.view",
	"hedges.view", "hedges.update", "terms.view", "terms.update",
}

// Views of grants. What an administrator sees of a tranche is not what a search
// shows, so that each has containers of its own: what one of them doesn't show
// was not revoked.
const (
	grantsAdmin = "grants-admin-"
	grantsFirm  = "grants-firm-"
)

// scanGrants reads the grants between firms: each tranche's for an
// administrator, where we may, and otherwise those that a search shows.
func (a *source) scanGrants(ctx context.Context, s handlers.Scan) error {
	ids, failed := a.ids(ctx, s, RoleGrants)
	if len(ids) == 0 {
		return failed
	}
	if err := a.sharing(ctx, s, ids); err != nil {
		return err
	}
	if !a.settings.Shared && a.may(scopeAdminRead) {
		var err error
		if ids, err = a.adminGrants(ctx, s, ids); err != nil && !passing(err) {
			return err
		}
		failed = errors.Join(failed, err)
	}
	for len(ids) > 0 {
		chunk := ids[:min(maxIDs, len(ids))]
		ids = ids[len(chunk):]
		if err := a.firmGrants(ctx, s, chunk); err != nil && !passing(err) {
			return err
		} else if err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// adminGrants reads the grants of tranches one by one, and returns those of ids
// that we may not read so.
func (a *source) adminGrants(ctx context.Context, s handlers.Scan, ids []string) (rest []string, err error) {
	var failed error
	for _, id := range ids {
		answer, err := a.session.Do(ctx, handlers.Call{
			Endpoint: RoleGrants,
			URL:      a.root + accessControls + "/v1/admin/tranches/" + url.PathEscape(id) + "/firm-grants",
			Accept:   nothing,
		})
		switch {
		case err != nil && !passing(err):
			return nil, err
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		case answer.Code != http.StatusOK:
			rest = append(rest, id)
			continue
		}
		tree, err := parse(answer.Body)
		if err != nil {
			return nil, unusable(RoleGrants, answer.Body)
		}
		grants, ok := a.grantsOf(id, tree)
		if !ok {
			return nil, unusable(RoleGrants, answer.Body)
		}
		if err := sawGrants(s, grantsAdmin+strings.ToLower(id), grants); err != nil {
			return nil, err
		}
	}
	return rest, failed
}

// firmGrants reads the grants of tranches that concern our firm.
func (a *source) firmGrants(ctx context.Context, s handlers.Scan, ids []string) error {
	var shown map[string][]grantState
	if !a.settings.Shared { // a search doesn't know of shared data
		var err error
		if shown, err = a.searchGrants(ctx, ids); err != nil {
			return err
		}
	}
	var failed error
	for _, id := range ids {
		grants, ok := shown[strings.ToLower(id)]
		if !ok {
			due, err := a.due(s, id)
			if err != nil {
				return err
			}
			if !due {
				continue
			}
			grants, ok, err = a.grantsOfOne(ctx, s, id)
			if err != nil && !passing(err) {
				return err
			}
			failed = errors.Join(failed, err)
		}
		if !ok { // what can't be read may well still be granted
			continue
		}
		if err := sawGrants(s, grantsFirm+strings.ToLower(id), grants); err != nil {
			return err
		}
	}
	return failed
}

// due reports whether a tranche that a search didn't show is to be asked for
// alone: always if grants of it are known, which may have been revoked, and
// otherwise now and then. A search shows no tranche without grants, and those
// may be many.
func (a *source) due(s handlers.Scan, id string) (bool, error) {
	known := a.settings.Shared
	err := s.Missing(grantsFirm+strings.ToLower(id), func(string) error {
		known = true
		return nil
	})
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	age := s.Began().Sub(a.alone[strings.ToLower(id)])
	if !known && age >= 0 && age < refresh {
		return false, nil
	}
	a.alone[strings.ToLower(id)] = s.Began()
	return true, nil
}

// searchGrants returns the grants of those tranches that a search shows, by
// their ids in lower case.
func (a *source) searchGrants(ctx context.Context, ids []string) (map[string][]grantState, error) {
	type criterion struct {
		Field    string   `json:"field"`
		Operator string   `json:"operator"`
		Value    []string `json:"value"`
	}
	body, err := json.Marshal(map[string][]criterion{"criteria": {{"trancheId", "in", ids}}})
	if err != nil {
		return nil, errState
	}
	answer, err := a.session.Do(ctx, handlers.Call{
		Endpoint: RoleGrants, Method: http.MethodPost, Body: body,
		URL: a.root + accessControls + "/v1/tranches/firm-grants/search?includeSupportingData=true",
	})
	if err != nil {
		return nil, err
	}
	tree, err := parse(answer.Body)
	list, ok := tree.([]any)
	if err != nil || !ok {
		return nil, unusable(RoleGrants, answer.Body)
	}
	shown := map[string][]grantState{}
	for _, element := range list {
		// Without supporting data an element doesn't say which tranche it is
		// of; that tranche is then asked for alone.
		data := at(element, "supportingData")
		id := textOf(at(data, "trancheId"))
		if id == "" {
			continue
		}
		for _, asked := range ids {
			if strings.EqualFold(asked, id) {
				grants, ok := a.grantsOf(asked, data)
				if !ok {
					return nil, unusable(RoleGrants, answer.Body)
				}
				shown[strings.ToLower(id)] = append(shown[strings.ToLower(id)], grants...)
			}
		}
	}
	return shown, nil
}

// grantsOfOne returns the grants of one tranche, and whether they can be read.
func (a *source) grantsOfOne(ctx context.Context, s handlers.Scan, id string) ([]grantState, bool, error) {
	tree, ok, err := a.askGrants(ctx, id)
	if err != nil || !ok {
		return nil, false, err
	}
	data := at(tree, "supportingData")
	if data == nil {
		if holdsAny(tree) {
			return nil, false, fmt.Errorf("%s: supportingData is not there: %w", RoleGrants, handlers.ErrIncomplete)
		}
		return nil, true, nil
	}
	if a.settings.Shared && a.own(data) {
		return nil, false, a.downgraded(s)
	}
	grants, ok := a.grantsOf(id, data)
	if !ok {
		return nil, false, fmt.Errorf("%s: %w", RoleGrants, handlers.ErrIncomplete)
	}
	return grants, true, nil
}

// askGrants asks for the grants of one tranche, and reports whether they can be
// read.
func (a *source) askGrants(ctx context.Context, id string) (any, bool, error) {
	answer, err := a.session.Do(ctx, handlers.Call{
		Endpoint: RoleGrants,
		URL:      a.root + accessControls + "/v1/tranches/" + url.PathEscape(id) + "/firm-grants?includeSupportingData=true",
		Header:   a.accessType(),
		Accept:   nothing,
	})
	if err != nil || answer.Code != http.StatusOK {
		return nil, false, err
	}
	tree, err := parse(answer.Body)
	if _, ok := tree.(map[string]any); err != nil || !ok {
		return nil, false, unusable(RoleGrants, answer.Body)
	}
	return tree, true, nil
}

// holdsAny reports whether one of the booleans of an evaluation is true.
func holdsAny(tree any) bool {
	object, _ := tree.(map[string]any)
	for _, v := range object {
		if v == true {
			return true
		}
	}
	return false
}

// accessType is what kinds of access look like.
var accessType = regexp.MustCompile(`^[A-Za-z]+(\.[A-Za-z]+)*$`)

// grantsOf reads the grants of a tranche.
func (a *source) grantsOf(id string, tree any) ([]grantState, bool) {
	if said := textOf(at(tree, "trancheId")); said != "" && !strings.EqualFold(said, id) {
		return nil, false
	}
	if _, ok := tree.(map[string]any); !ok {
		return nil, false
	}
	list, ok := at(tree, "grants").([]any)
	if !ok && at(tree, "grants") != nil {
		return nil, false
	}
	grants := make([]grantState, 0, len(list))
	for _, element := range list {
		g := grantState{
			TrancheID: id, Shared: a.settings.Shared,
			ByFirmID: textOf(at(element, "byFirmId")), ToFirmID: textOf(at(element, "toFirmId")),
			AccessType: textOf(at(element, "accessType")),
		}
		if g.ByFirmID == "" || g.ToFirmID == "" || g.AccessType == "" {
			return nil, false
		}
		if len(g.AccessType) > 64 || !accessType.MatchString(g.AccessType) {
			g.AccessType = hidden + a.pseudonym(g.AccessType)
		}
		grants = append(grants, g)
	}
	return grants, true
}

// sawGrants notes all grants that a container shows.
func sawGrants(s handlers.Scan, container string, grants []grantState) error {
	seen := map[string]bool{}
	for _, g := range grants {
		key := g.key()
		if seen[key] {
			continue
		}
		seen[key] = true
		state, err := json.Marshal(g, json.Deterministic(true))
		if err != nil {
			return errState
		}
		if err := s.Saw(handlers.Sighting{Key: key, Container: container, State: jsontext.Value(state)}); err != nil {
			return err
		}
	}
	return s.Complete(container)
}
