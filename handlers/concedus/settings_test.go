package concedus_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/handlerstest"
)

func openSource(s *concedus.Settings) (handlers.Source, error) {
	return concedus.Platform().Open("concedus", s, handlers.Means{Client: &http.Client{}, Pseudonym: handlerstest.Pseudonym})
}

func TestSourceHasAPollerForEachListAndOneForCompliance(t *testing.T) {
	s := settings(t)
	s.Poll.Interval = handlers.Duration(45 * time.Second)
	s.Issuers = append(s.Issuers, concedus.Issuer{Owner: "Nord_2", Username: "x", Password: handlers.NewSecret("y")})
	source, err := openSource(s)
	if err != nil || source.Name != "concedus" || source.Platform != concedus.Name || source.Push != nil || len(source.Warnings) > 0 {
		t.Fatalf("%+v, %v", source, err)
	}
	var got []string
	for _, p := range source.Pollers {
		got = append(got, strings.Join([]string{p.Name, p.Role, p.Owner, p.Interval.String()}, " "))
	}
	want := []string{
		"agent-list agent-list  45s", "issuer-list-77 issuer-list 77 45s", "issuer-list-Nord_2 issuer-list Nord_2 45s",
		"compliance compliance  45s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	s, _ := concedus.Platform().Settings().(*concedus.Settings)
	if s.Poll.Interval.Std() != time.Minute || s.ResolveFor.Std() != 72*time.Hour || s.Agent != nil || s.API.URL != "" {
		t.Errorf("%+v", s)
	}
}

// TestSettingsThatAreWrongAreNamed, all at once, and without what they hold.
func TestSettingsThatAreWrongAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*concedus.Settings)
		want   []string // beginnings
	}{
		"nobody":             {func(s *concedus.Settings) { s.Agent, s.Issuers = nil, nil }, []string{"needs agent or issuers"}},
		"no password":        {func(s *concedus.Settings) { s.Agent.Password = handlers.Secret{} }, []string{"agent.password is empty"}},
		"no issuer's name":   {func(s *concedus.Settings) { s.Issuers[0].Username = "" }, []string{"issuers[0].username is empty"}},
		"owner with a slash": {func(s *concedus.Settings) { s.Issuers[0].Owner = "7/7" }, []string{"issuers[0].owner is no id"}},
		"owner twice":        {func(s *concedus.Settings) { s.Issuers = append(s.Issuers, s.Issuers[0]) }, []string{"issuers[1].owner is that of issuers[0] too"}},
		"owner in other case": {func(s *concedus.Settings) {
			s.Issuers[0].Owner = "N"
			i := s.Issuers[0]
			i.Owner = "n"
			s.Issuers = append(s.Issuers, i)
		}, []string{"issuers[1].owner is that of issuers[0] too"}},
		"version": {func(s *concedus.Settings) { s.API.URL = "https://demo2.example/v2/" }, []string{"api.url ends in /v2"}},
		"no time": {func(s *concedus.Settings) { s.Poll.Interval, s.ResolveFor = 0, 0 }, []string{"poll.interval must be above 0", "resolve_for must be above 0"}},
		"several": {func(s *concedus.Settings) {
			s.API.URL = ""
			s.Agent.Username = ""
			s.Issuers[0].Password = handlers.NewSecret("")
		}, []string{
			"api.url must be a URL", "agent.username is empty", "issuers[0].password is empty",
		}},
	} {
		s := settings(t)
		c.change(s)
		_, err := openSource(s)
		if err == nil {
			t.Errorf("%s: opened", name)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if !slices.EqualFunc(lines, c.want, strings.HasPrefix) {
			t.Errorf("%s: %q, want %q", name, lines, c.want)
		}
		if strings.Contains(err.Error(), "password-") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	s := settings(t)
	s.Agent = nil
	s.Poll.Interval = handlers.Duration(time.Second)
	source, err := openSource(s)
	if err != nil || len(source.Warnings) != 2 || !strings.HasPrefix(source.Warnings[0], "poll.interval is below 10s") || !strings.HasPrefix(source.Warnings[1], "agent is not set") {
		t.Errorf("%q, %v", source.Warnings, err)
	}
}
