package tokeny_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/tokeny"
)

func TestOpenMakesAPollerForEachToken(t *testing.T) {
	s := settings("https://api.tokeny.com/", strings.ToUpper(token), other)
	source, err := tokeny.Platform().Open("fund-one", s, handlers.Means{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range source.Pollers {
		names = append(names, p.Name)
		if p.Role != tokeny.RoleCandidates || p.Interval != time.Minute || p.Scan == nil {
			t.Errorf("poller %+v", p)
		}
	}
	if want := []string{"candidates-" + token, "candidates-" + other}; !slices.Equal(names, want) {
		t.Errorf("pollers %q, want %q", names, want)
	}
	if source.Name != "fund-one" || source.Platform != tokeny.Name || source.Push != nil {
		t.Errorf("source %+v", source)
	}
}

func TestOpenSaysEverythingThatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tokeny.Settings)
		want   string
	}{
		"no tokens":     {func(s *tokeny.Settings) { s.Tokens = nil }, "tokens must not be empty"},
		"no id":         {func(s *tokeny.Settings) { s.Tokens = []string{token, "a b"} }, "tokens[1] is no id"},
		"twice":         {func(s *tokeny.Settings) { s.Tokens = []string{token, strings.ToUpper(token)} }, "tokens[1] is there twice"},
		"no api":        {func(s *tokeny.Settings) { s.API = nil }, "api is missing"},
		"too much path": {func(s *tokeny.Settings) { s.API.URL = "https://api.tokeny.com/servicing/api/" }, "api.url must not end with /servicing/api"},
		"no email":      {func(s *tokeny.Settings) { s.API.Email = "" }, "api.email is missing"},
		"no interval":   {func(s *tokeny.Settings) { s.Poll.Interval = 0 }, "poll.interval must be more than 0s"},
		"everything": {
			func(s *tokeny.Settings) { *s = tokeny.Settings{API: &tokeny.API{}} },
			"api.url must be a URL, like https://api.tokeny.com\napi.email is missing\napi.password is empty\ntokens must not be empty\npoll.interval must be more than 0s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settings("https://api.tokeny.com", token)
			c.change(s)
			source, err := tokeny.Platform().Open("fund-one", s, handlers.Means{})
			if err == nil || !strings.Contains(err.Error(), c.want) || source.Pollers != nil {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
