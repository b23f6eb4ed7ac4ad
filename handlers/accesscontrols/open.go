package accesscontrols

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// Where the services are below the API's URL.
const (
	accessControls = "/book-building/accesscontrols"
	dealsService   = "/book-building/deals"
)

// source is a configured platform. Its pollers share it.
type source struct {
	settings  Settings
	root      string // the API's URL without a slash at its end
	session   *handlers.Session
	pseudonym func(string) string
	directory directory
	// wrapped says of an endpoint that it wants ids inside an object.
	wrapped map[string]*atomic.Bool

	mu      sync.Mutex // guards what follows
	grant   grant
	spared  bool      // the platform refuses the scope that we could do without
	checked time.Time // when shared data was seen to be shared
	// alone says when the grants of a tranche, whose id is in lower case, were
	// asked for alone.
	alone map[string]time.Time
}

// open makes a source of settings. It reports everything that is wrong with
// them at once.
func open(name string, settings any, means handlers.Means) (handlers.Source, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return handlers.Source{}, fmt.Errorf("settings are %T, not those of %s", settings, Name)
	}
	warnings, err := s.check()
	if err != nil {
		return handlers.Source{}, err
	}
	a := &source{
		settings:  *s,
		root:      strings.TrimRight(s.API.URL, "/"),
		pseudonym: means.Pseudonym,
		wrapped:   map[string]*atomic.Bool{},
		alone:     map[string]time.Time{},
	}
	a.session = handlers.NewSession(means.Client, a.login)
	for _, d := range a.documents() {
		a.wrapped[d.list] = new(atomic.Bool)
	}
	return handlers.Source{
		Name: name, Platform: Name, Pollers: a.pollers(), Warnings: warnings, Expires: a.session.Expires, Probe: a.probe,
	}, nil
}

// hasty is the interval below which a source is warned.
const hasty = 10 * time.Second

func (s *Settings) check() (warnings []string, err error) {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if len(s.Tranches) == 0 && len(s.Deals) == 0 && !s.Discover {
		problem("nothing to watch: set tranches, deals or discover")
	}
	for _, list := range []struct {
		name string
		ids  []string
	}{{"tranches", s.Tranches}, {"deals", s.Deals}} {
		for i, id := range list.ids {
			if strings.TrimSpace(id) != id || id == "" || strings.Trim(id, ".") == "" {
				problem("%s[%d] is no id", list.name, i)
			}
			if slices.ContainsFunc(list.ids[:i], func(other string) bool { return strings.EqualFold(id, other) }) {
				problem("%s[%d] is there twice", list.name, i)
			}
		}
	}
	if s.View != ViewUser && s.View != ViewFull {
		problem("view is neither user nor full")
	}
	if s.Poll != nil && s.Poll.Interval <= 0 {
		problem("poll.interval must be more than 0")
	}
	if s.API == nil {
		problem("api is missing: it says where CAS is and who asks it")
		return nil, errors.Join(problems...)
	}
	if s.API.ClientID == "" {
		problem("api.client_id is missing")
	}
	if s.API.ClientSecret.Value() == "" {
		problem("api.client_secret is missing or empty")
	}
	for _, at := range []struct{ name, url, example string }{
		{"api.url", s.API.URL, "https://api.uat.us-cas.ipreo.com"},
		{"api.token_url", s.API.TokenURL, "https://identity.uat.us-cas.ipreo.com/connect/token"},
	} {
		_, err := handlers.BaseURL(at.name, at.url, at.example)
		problems = append(problems, err)
	}
	if s.Poll != nil && s.Poll.Interval.Std() < hasty {
		warnings = append(warnings, "poll.interval is below 10s: CAS may refuse to be asked that often")
	}
	if s.View == ViewFull {
		warnings = append(warnings, "view: full asks for the scope accesscontrol-admin, which may also write; Postern only reads")
	}
	if s.Shared && (len(s.Deals) > 0 || s.Discover) {
		warnings = append(warnings, "shared: documents of deals are not read, as CAS has no shared ones; only those of their tranches are")
	}
	return warnings, errors.Join(problems...)
}

// pollers lists what this source asks for.
func (a *source) pollers() []handlers.Poller {
	interval := time.Minute
	if p := a.settings.Poll; p != nil {
		interval = p.Interval.Std()
	}
	shared := ""
	if a.settings.Shared {
		shared = "shared"
	}
	v2 := cmp.Or(shared, string(a.settings.View))
	if a.settings.Shared && a.settings.View == ViewFull {
		v2 = "shared-full"
	}
	all := []handlers.Poller{
		{Name: RoleTranchesV1, View: shared, Scan: a.scanTranchesV1},
		{Name: RoleTranchesV2, View: v2, Scan: a.scanTranchesV2},
		{Name: RoleGrants, View: shared, Scan: a.scanGrants},
	}
	if a.withDeals() && !a.settings.Shared {
		all = append(all, handlers.Poller{Name: RoleDeals, View: v2, Scan: a.scanDeals})
	}
	for i := range all {
		all[i].Role, all[i].Interval = all[i].Name, interval
	}
	return all
}

// withDeals reports whether the source has to do with deals.
func (a *source) withDeals() bool { return a.settings.Discover || len(a.settings.Deals) > 0 }
