package accesscontrols

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed75441868/postern/handlers"
)

const (
	dealsEndpoint = "deals-list"
	pageSize      = 250 // the most that CAS gives
	// refresh is how long the list of deals is believed.
	refresh = 5 * time.Minute
	// restarts is how often the list is read anew because it moved.
	restarts = 3
)

// directory is what the Deals API lists. The pollers of a source share it.
type directory struct {
	mu       sync.Mutex // held while it is read, so that one of them reads it
	read     time.Time  // zero: never
	deals    []string
	tranches []string
	// strays are entities that are known and not listed any more, by the role
	// that knows them. They are asked for until they are absent.
	strays map[string][]string
}

// ids returns the ids of what a role watches, in an order that is always the
// same. If the list of deals can't be read now but could before, it returns
// that one's and the error.
func (a *source) ids(ctx context.Context, s handlers.Scan, role string) ([]string, error) {
	configured := a.settings.Tranches
	if role == RoleDeals {
		configured = a.settings.Deals
	}
	needed := a.settings.Discover || role != RoleDeals && len(a.settings.Deals) > 0
	if !needed {
		return configured, nil
	}
	d := &a.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	var failed error
	if age := s.Began().Sub(d.read); d.read.IsZero() || age >= refresh || age < 0 {
		if failed = a.list(ctx, s.Began()); failed != nil && d.read.IsZero() {
			return configured, failed
		}
	}
	ids := d.tranches
	if role == RoleDeals {
		ids = d.deals
	}
	ids = union(configured, ids)
	if a.settings.Discover {
		strays, ok := d.strays[role]
		if !ok {
			var err error
			if strays, err = known(ctx, s, role); err != nil {
				return ids, errors.Join(failed, err)
			}
			d.strays[role] = strays
		}
		ids = union(ids, strays)
	}
	return ids, failed
}

// union returns ids of several lists, each once.
func union(lists ...[]string) []string {
	var all []string
	seen := map[string]bool{}
	for _, list := range lists {
		for _, id := range list {
			if lower := strings.ToLower(id); !seen[lower] {
				seen[lower] = true
				all = append(all, id)
			}
		}
	}
	return all
}

// known returns the ids of what a role saw and that is not absent.
func known(ctx context.Context, s handlers.Scan, role string) ([]string, error) {
	var ids []string
	err := s.Records(ctx, role, func(_ string, r handlers.Record) error {
		part := r.Parts[role]
		if tree, err := parse(part.State); err == nil && part.Present() {
			if id := textOf(at(tree, "id")); id != "" {
				ids = append(ids, id)
			}
		}
		return nil
	})
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// list reads the list of deals.
func (a *source) list(ctx context.Context, now time.Time) error {
	for range restarts {
		deals, err := a.pages(ctx)
		if errors.Is(err, handlers.ErrMoved) {
			continue
		}
		if err != nil {
			return err
		}
		d := &a.directory
		d.read, d.deals, d.tranches, d.strays = now, nil, nil, map[string][]string{}
		for _, deal := range deals {
			if a.watched(deal.id) {
				d.deals = append(d.deals, deal.id)
				d.tranches = append(d.tranches, deal.tranches...)
			}
		}
		d.tranches = union(d.tranches)
		return nil
	}
	return fmt.Errorf("%s: %w", dealsEndpoint, handlers.ErrMoved)
}

func (a *source) watched(deal string) bool {
	return a.settings.Discover || slices.ContainsFunc(a.settings.Deals, func(id string) bool { return strings.EqualFold(id, deal) })
}

// deal is what the list says of a deal.
type deal struct {
	id       string
	tranches []string
}

// pages reads all pages of the list, up to one with nothing on it: how many
// there are isn't said, nor whether a page may be shorter than was asked for.
// It fails with [handlers.ErrMoved] if a page shows only what was there before,
// or the pages were read with several tokens: then it is another list.
func (a *source) pages(ctx context.Context) ([]deal, error) {
	var all []deal
	seen := map[string]bool{}
	var epoch uint64
	short := false // the last page had fewer than it may have
	for page := 1; ; page++ {
		query := url.Values{"page": {strconv.Itoa(page)}, "pageSize": {strconv.Itoa(pageSize)}}
		if a.settings.Shared {
			query.Set("accessType", "Shared")
		}
		call := handlers.Call{Endpoint: dealsEndpoint, URL: a.root + dealsService + "/v1/deals?" + query.Encode()}
		if page > 1 {
			call.Accept = []int{http.StatusNotFound} // some say so behind the last page
		}
		answer, err := a.session.Do(ctx, call)
		if err != nil {
			return nil, err
		}
		if page > 1 && answer.Epoch != epoch {
			return nil, handlers.ErrMoved
		}
		epoch = answer.Epoch
		if answer.Code == http.StatusNotFound {
			return all, nil
		}
		deals, err := readDeals(answer.Body)
		if err != nil || len(deals) == 0 {
			return all, err
		}
		fresh := 0
		for _, d := range deals {
			if id := strings.ToLower(d.id); !seen[id] {
				seen[id] = true
				all = append(all, d)
				fresh++
			}
		}
		switch {
		case fresh == 0 && short: // it shows the last page for those behind it
			return all, nil
		case fresh == 0:
			return nil, handlers.ErrMoved
		}
		short = len(deals) < pageSize
	}
}

// readDeals reads a page: a list of deals, or an object around one.
func readDeals(body []byte) ([]deal, error) {
	tree, err := parse(body)
	if err != nil {
		return nil, unusable(dealsEndpoint, body)
	}
	list, ok := tree.([]any)
	for _, name := range []string{"items", "deals", "data", "results"} {
		if !ok {
			list, ok = at(tree, name).([]any)
		}
	}
	if !ok {
		return nil, unusable(dealsEndpoint, body)
	}
	deals := make([]deal, 0, len(list))
	for _, element := range list {
		d := deal{id: textOf(at(element, "id"))}
		if d.id == "" {
			return nil, unusable(dealsEndpoint, body)
		}
		for _, tranche := range elements(at(element, "tranches")) {
			d.tranches = append(d.tranches, textOf(at(tranche, "id")))
		}
		for _, series := range elements(at(element, "series")) {
			for _, id := range elements(at(series, "trancheIds")) {
				d.tranches = append(d.tranches, textOf(id))
			}
		}
		d.tranches = slices.DeleteFunc(union(d.tranches), func(id string) bool { return id == "" })
		deals = append(deals, d)
	}
	return deals, nil
}

func elements(v any) []any {
	list, _ := v.([]any)
	return list
}
