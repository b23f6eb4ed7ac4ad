package accesscontrols_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/accesscontrols"
)

func open(change func(*accesscontrols.Settings)) (handlers.Source, error) {
	s := settings("https://api.cas.example")
	s.Tranches = []string{"t1"}
	change(s)
	return accesscontrols.Platform().Open("cas", s, handlers.Means{})
}

func TestOpenSaysAllThatIsWrong(t *testing.T) {
	_, err := open(func(s *accesscontrols.Settings) {
		s.Tranches = []string{"a", "A", " b", ".."}
		s.Deals = []string{""}
		s.View = "some"
		s.Poll.Interval = 0
		s.API.ClientID, s.API.ClientSecret = "", handlers.Secret{}
		s.API.URL, s.API.TokenURL = "ftp://a", "https://u:p@b/x?y=1"
	})
	for _, want := range []string{
		"tranches[1] is there twice", "tranches[2] is no id", "tranches[3] is no id", "deals[0] is no id", "view is neither",
		"poll.interval", "api.client_id", "api.client_secret", "api.url must be a URL", "api.token_url must have no user",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if _, err := open(func(s *accesscontrols.Settings) { s.Tranches = nil }); err == nil || !strings.Contains(err.Error(), "nothing to watch") {
		t.Errorf("error is %v", err)
	}
	if _, err := open(func(s *accesscontrols.Settings) { s.API = nil }); err == nil || !strings.Contains(err.Error(), "api is missing") {
		t.Errorf("error is %v", err)
	}
}

func TestPollersFollowFromTheSettings(t *testing.T) {
	for name, c := range map[string]struct {
		with     func(*accesscontrols.Settings)
		pollers  string
		warnings int
	}{
		"tranches": {func(*accesscontrols.Settings) {}, "tranches-v1: tranches-v2:user grants:", 0},
		"full":     {full, "tranches-v1: tranches-v2:full grants:", 1},
		"deals":    {func(s *accesscontrols.Settings) { s.Deals = []string{"d"} }, "tranches-v1: tranches-v2:user grants: deals:user", 0},
		"discover, shared": {
			func(s *accesscontrols.Settings) { s.Discover, s.Shared = true, true },
			"tranches-v1:shared tranches-v2:shared grants:shared", 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := open(func(s *accesscontrols.Settings) {
				s.Poll.Interval = handlers.Duration(45 * time.Second)
				c.with(s)
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range source.Pollers {
				got = append(got, p.Name+":"+p.View)
				if p.Role != p.Name || p.Interval != 45*time.Second || p.Scan == nil {
					t.Errorf("%+v", p)
				}
			}
			if strings.Join(got, " ") != c.pollers || len(source.Warnings) != c.warnings || source.Push != nil || source.Name != "cas" {
				t.Errorf("pollers %q, warnings %q", got, source.Warnings)
			}
			for _, w := range append(source.Warnings, source.Name) {
				if strings.Contains(w, secret) {
					t.Error("a warning says the secret")
				}
			}
		})
	}
}

func TestTheDefaultIsAMinute(t *testing.T) {
	source, err := open(func(s *accesscontrols.Settings) { s.Poll = nil })
	if err != nil || source.Pollers[0].Interval != time.Minute {
		t.Errorf("%v, error %v", source.Pollers, err)
	}
}
