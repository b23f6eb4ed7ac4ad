package concedus

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// ownerName is what an owner's id looks like. It is a part of subjects, ids and
// names of pollers.
var ownerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// hasty is the interval below which a source is warned.
const hasty = 10 * time.Second

// open makes a source of settings. It reports everything that is wrong with
// them at once. What is only checked is opened without a client or pseudonyms.
func open(name string, settings any, means handlers.Means) (handlers.Source, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return handlers.Source{}, fmt.Errorf("settings are %T, not those of %s", settings, Name)
	}
	base, err := s.API.base()
	if err := errors.Join(append([]error{err}, s.problems()...)...); err != nil {
		return handlers.Source{}, err
	}
	source := handlers.Source{Name: name, Platform: Name}
	interval := s.Poll.Interval.Std()
	if interval < hasty {
		source.Warnings = append(source.Warnings, "poll.interval is below 10s: Concedus needs minutes for what it does, and may refuse to be asked that often")
	}
	var agent *handlers.Session
	var accounts []account
	var sessions []*handlers.Session
	if s.Agent != nil {
		agent = handlers.NewSession(means.Client, login(base, s.Agent.Username, s.Agent.Password.Value()))
		l := &list{session: agent, endpoint: RoleAgentList, url: base + "/v2/compliance/contracts/states/open", pseudonym: means.Pseudonym, interval: interval}
		accounts, sessions = append(accounts, account{"agent", l}), append(sessions, agent)
		source.Pollers = append(source.Pollers, handlers.Poller{Name: RoleAgentList, Role: RoleAgentList, Interval: interval, Scan: l.scan})
	}
	lists := map[string]*list{}
	for n, i := range s.Issuers {
		l := &list{
			session:  handlers.NewSession(means.Client, login(base, i.Username, i.Password.Value())),
			endpoint: RoleIssuerList, owner: i.Owner,
			url:       base + "/v2/product-owners/" + url.PathEscape(i.Owner) + "/contracts/states/open",
			pseudonym: means.Pseudonym, interval: interval,
		}
		lists[i.Owner] = l
		accounts, sessions = append(accounts, account{fmt.Sprintf("issuers[%d]", n), l}), append(sessions, l.session)
		source.Pollers = append(source.Pollers, handlers.Poller{
			Name: RoleIssuerList + "-" + i.Owner, Role: RoleIssuerList, Owner: i.Owner, Interval: interval, Scan: l.scan,
		})
	}
	c := newCompliance(agent, base, interval, s.ResolveFor.Std(), lists)
	source.Pollers = append(source.Pollers, handlers.Poller{Name: RoleCompliance, Role: RoleCompliance, Interval: interval, Scan: c.scan})
	if agent == nil {
		source.Warnings = append(source.Warnings, "agent is not set: nobody is asked for compliance statuses, so that what left an issuer's list stays undetermined")
	}
	source.Expires, source.Probe = handlers.FirstExpiry(sessions...), probe(accounts)
	return source, nil
}

// problems lists what is wrong beside the API's URL.
func (s *Settings) problems() []error {
	var problems []error
	if s.Agent == nil && len(s.Issuers) == 0 {
		problems = append(problems, errors.New("needs agent or issuers: whose lists are to be read?"))
	}
	if s.Agent != nil {
		problems = append(problems, credentials("agent", s.Agent.Username, s.Agent.Password)...)
	}
	seen := map[string]int{}
	for i, issuer := range s.Issuers {
		at := fmt.Sprintf("issuers[%d]", i)
		problems = append(problems, credentials(at, issuer.Username, issuer.Password)...)
		if !ownerName.MatchString(issuer.Owner) {
			problems = append(problems, errors.New(at+".owner is no id of an owner: it has 1 to 64 of the characters A-Z, a-z, 0-9, _ and -"))
		}
		// Ids of events are in lower case.
		if first, twice := seen[strings.ToLower(issuer.Owner)]; twice {
			problems = append(problems, fmt.Errorf("%s.owner is that of issuers[%d] too: each owner has one account", at, first))
		} else {
			seen[strings.ToLower(issuer.Owner)] = i
		}
	}
	if s.Poll.Interval <= 0 {
		problems = append(problems, errors.New("poll.interval must be above 0, like 60s"))
	}
	if s.ResolveFor <= 0 {
		problems = append(problems, errors.New("resolve_for must be above 0, like 72h"))
	}
	return problems
}

func credentials(at, username string, password handlers.Secret) []error {
	var problems []error
	if username == "" {
		problems = append(problems, errors.New(at+".username is empty"))
	}
	if password.Value() == "" {
		problems = append(problems, errors.New(at+".password is empty: there would be nothing to log in with"))
	}
	return problems
}

// base returns the API's URL without what follows in all paths.
func (a API) base() (string, error) {
	base, err := handlers.BaseURL("api.url", a.URL, "https://demo2.api.concedus.com")
	if err == nil && strings.HasSuffix(base, "/v2") {
		return "", errors.New("api.url ends in /v2, which is added by itself; leave that out")
	}
	return base, err
}
