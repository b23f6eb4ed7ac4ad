package accesscontrolstest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
)

// client asks a stand-in as a stranger would.
type client struct {
	*httptest.Server
	*accesscontrolstest.Platform
	now   time.Time
	token string
}

func newClient(t *testing.T) *client {
	t.Helper()
	c := &client{now: time.Date(2026, 4, 1, 8, 30, 0, 250123400, time.UTC)}
	c.Platform = accesscontrolstest.New(accesscontrolstest.Options{
		ClientID: "api", ClientSecret: "secret", Now: func() time.Time { return c.now },
	})
	c.Server = httptest.NewServer(c.Platform)
	t.Cleanup(c.Close)
	return c
}

// login gets a token with scopes and returns the answer's status.
func (c *client) login(t *testing.T, secret, scopes string) int {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"api"}, "client_secret": {secret}, "scope": {scopes}}
	res, err := http.PostForm(c.URL+accesscontrolstest.TokenPath, form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.UnmarshalRead(res.Body, &answer); err != nil {
		t.Fatal(err)
	}
	if c.token = answer.AccessToken; res.StatusCode == http.StatusOK && answer.ExpiresIn != 1200 {
		t.Errorf("expires in %d", answer.ExpiresIn)
	}
	return res.StatusCode
}

func (c *client) ask(t *testing.T, method, path, body string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.URL+"/book-building"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header.Get("Content-Type")
}

func TestScopesAreEnforced(t *testing.T) {
	c := newClient(t)
	deal := c.AddDeal()
	id := c.AddTranche(deal)
	calls := map[string][]string{
		"accesscontrol-read": {
			"GET /accesscontrols/v1/fixedincome/tranche/" + id + "/accesscontrols", "POST /accesscontrols/v1/fixedincome/tranche/accesscontrols",
			"GET /accesscontrols/v2/tranches/" + id, "POST /accesscontrols/v2/tranches",
			"GET /accesscontrols/v2/deals/" + deal, "POST /accesscontrols/v2/deals",
			"GET /accesscontrols/v1/tranches/" + id + "/firm-grants",
		},
		"accesscontrol-admin": {
			"GET /accesscontrols/v2/admin/tranches/" + id, "POST /accesscontrols/v2/admin/tranches",
			"GET /accesscontrols/v2/admin/deals/" + deal, "POST /accesscontrols/v2/admin/deals",
		},
		"accesscontrol-admin-read": {"GET /accesscontrols/v1/admin/tranches/" + id + "/firm-grants"},
		"deals-read":               {"GET /deals/v1/deals"},
	}
	for has := range calls {
		if code := c.login(t, "secret", has); code != http.StatusOK {
			t.Fatalf("%s: no token: %d", has, code)
		}
		for needs, list := range calls {
			want := http.StatusForbidden
			if needs == has {
				want = http.StatusOK
			}
			for _, call := range list {
				method, path, _ := strings.Cut(call, " ")
				code, body, kind := c.ask(t, method, path, `["`+id+`","`+deal+`"]`)
				if code != want {
					t.Errorf("%s with %s: %d, want %d", call, has, code, want)
				}
				if code == http.StatusForbidden && (kind != "application/problem+json" || !strings.Contains(body, `"status":403`)) {
					t.Errorf("%s: %s %s", call, kind, body)
				}
			}
		}
	}
}

func TestTokensEndAndWrongOnesAreRefused(t *testing.T) {
	c := newClient(t)
	path := "/accesscontrols/v2/tranches/" + c.AddTranche("")
	if code := c.login(t, "wrong", ""); code != http.StatusBadRequest {
		t.Errorf("a wrong secret gets %d", code)
	}
	if code := c.login(t, "secret", "accesscontrol-write"); code != http.StatusBadRequest {
		t.Errorf("a scope that nobody has gets %d", code)
	}
	if code, _, _ := c.ask(t, "GET", path, ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	c.login(t, "secret", "")
	if code, body, _ := c.ask(t, "GET", path, ""); code != http.StatusOK || !strings.Contains(body, `"2026-04-01T08:30:00.2501234+00:00"`) {
		t.Errorf("%d %s", code, body)
	}
	c.now = c.now.Add(accesscontrolstest.Life)
	if code, _, _ := c.ask(t, "GET", path, ""); code != http.StatusUnauthorized {
		t.Errorf("with a token that ended: %d", code)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	c := newClient(t)
	c.login(t, "secret", "")
	id := c.AddTranche("")
	for _, path := range []string{"/accesscontrols/v2/tranches/x", "/accesscontrols/v3/tranches/" + id, "/deals/v1/deals/1", "/accesscontrols/v2/deals/" + id} {
		if code, _, _ := c.ask(t, "GET", path, ""); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, body, _ := c.ask(t, "POST", "/accesscontrols/v2/tranches", `["x"]`); code != http.StatusOK || body != "[]" {
		t.Errorf("of many: %d %s", code, body)
	}
}

// Both versions of a tranche and both views say what was made happen.
func TestWhatHappensIsShown(t *testing.T) {
	c := newClient(t)
	c.login(t, "secret", "")
	id := c.AddTranche("")
	shows := func(path, want string) {
		t.Helper()
		if _, body, _ := c.ask(t, "GET", "/accesscontrols"+path, ""); !strings.Contains(body, want) {
			t.Errorf("%s doesn't show %s: %s", path, want, body)
		}
	}
	v1 := "/v1/fixedincome/tranche/" + id + "/accesscontrols"
	shows(v1, `"bookOpen":false`)
	c.OpenBook(id)
	shows(v1, `"bookOpen":true`)
	c.ReleaseV2(id, true)
	shows("/v2/tranches/"+id, `"released":true`)
	c.EditRules(id, "salesCredit.view", accesscontrolstest.Rule{Roles: []string{"desk"}})
	shows("/v2/tranches/"+id, `"salesCredit":{"view":false}`)
	shows("/v2/admin/tranches/"+id, `"salesCredit":{"view":[{"action":"Default","roles":["desk"],"userIds":[]}]}`)
	c.Grant(id, accesscontrolstest.Grant{ByFirmID: "1", ToFirmID: "2", AccessType: "terms.view"})
	shows("/v1/tranches/"+id+"/firm-grants", `"isTermsView":true`)
	c.Forbid(id, "v1")
	shows(v1, `"status":403`)
}
