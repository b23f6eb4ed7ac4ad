package tokeny

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// hasty is the interval below which a source is warned.
const hasty = 10 * time.Second

// open makes a source of settings. It reports everything that is wrong with
// them at once.
func open(name string, settings any, means handlers.Means) (handlers.Source, error) {
	s, ok := settings.(*Settings)
	if !ok {
		return handlers.Source{}, fmt.Errorf("settings are %T, not those of %s", settings, Name)
	}
	if s.API == nil {
		return handlers.Source{}, errors.New("api is missing")
	}
	base, err := s.API.base()
	problems := []error{err, s.API.login()}
	tokens, err := s.tokens()
	problems = append(problems, err)
	if s.Poll.Interval <= 0 {
		problems = append(problems, errors.New("poll.interval must be more than 0s"))
	}
	if err := errors.Join(problems...); err != nil {
		return handlers.Source{}, err
	}
	session := handlers.NewSession(means.Client, signIn(base, s.API.Email, s.API.Password))
	source := handlers.Source{Name: name, Platform: Name, Expires: session.Expires}
	if s.Poll.Interval.Std() < hasty {
		source.Warnings = append(source.Warnings, "poll.interval is below 10s: the platform limits rates, and may refuse to be asked that often")
	}
	var pollers []*poller
	for _, token := range tokens {
		p := &poller{
			token:      token,
			session:    session,
			pseudonyms: newPseudonyms(means.Pseudonym),
			base:       base + "/tokens/" + url.PathEscape(token),
		}
		pollers = append(pollers, p)
		source.Pollers = append(source.Pollers, handlers.Poller{
			Name:     "candidates-" + token,
			Role:     RoleCandidates,
			Interval: s.Poll.Interval.Std(),
			Scan:     p.scan,
		})
	}
	source.Probe = probe(session, pollers)
	return source, nil
}

// tokens returns the ids of the tokens as the platform writes them.
func (s *Settings) tokens() ([]string, error) {
	if len(s.Tokens) == 0 {
		return nil, errors.New("tokens must not be empty")
	}
	var problems []error
	ids := make([]string, 0, len(s.Tokens))
	for i, id := range s.Tokens {
		id = strings.ToLower(id)
		switch {
		case !isID(id):
			problems = append(problems, fmt.Errorf("tokens[%d] is no id of a token, which is a UUID", i))
		case slices.Contains(ids, id):
			problems = append(problems, fmt.Errorf("tokens[%d] is there twice", i))
		}
		ids = append(ids, id)
	}
	return ids, errors.Join(problems...)
}

// servicing is where the API of the servicing side is.
const servicing = "/servicing/api"

// base returns what the URLs of all endpoints begin with.
func (a *API) base() (string, error) {
	base, err := handlers.BaseURL("api.url", a.URL, "https://api.tokeny.com")
	switch {
	case err != nil:
		return "", err
	case strings.HasSuffix(base, servicing):
		return "", fmt.Errorf("api.url must not end with %s, which is added to it", servicing)
	}
	return base + servicing, nil
}

// login checks that there is somebody to log in as.
func (a *API) login() error {
	var problems []error
	if a.Email == "" {
		problems = append(problems, errors.New("api.email is missing"))
	}
	if a.Password.Value() == "" {
		problems = append(problems, errors.New("api.password is empty"))
	}
	return errors.Join(problems...)
}
