package tokenytest_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"

	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	token    = "3f0c1b7e-5d0a-4c55-9c1e-7a2f4be0d911"
	email    = "agent@fund.example"
	password = "correct horse"
)

// caller calls a stand-in whose time stands still.
type caller struct {
	*tokenytest.Platform
	t      *testing.T
	server *httptest.Server
	now    time.Time
	bearer string
}

func newCaller(t *testing.T) *caller {
	t.Helper()
	c := &caller{t: t, now: time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC)}
	c.Platform = tokenytest.New(tokenytest.Options{Email: email, Password: password, Now: func() time.Time { return c.now }}, token)
	c.server = httptest.NewServer(c.Platform)
	t.Cleanup(c.server.Close)
	t.Cleanup(c.server.Client().CloseIdleConnections)
	c.server.Client().Timeout = 2 * time.Second
	return c
}

// call returns the status and the body of an answer, which is JSON.
func (c *caller) call(method, path, body string) (int, map[string]any) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL+tokenytest.Prefix+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	res, err := c.server.Client().Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		c.t.Fatalf("%d %s: %v", res.StatusCode, b, err)
	}
	return res.StatusCode, object
}

func (c *caller) signIn(password string) int {
	c.t.Helper()
	code, said := c.call(http.MethodPost, "/auth/signin", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
	c.bearer, _ = said["token"].(string)
	return code
}

func (c *caller) items(list string) []any {
	c.t.Helper()
	code, said := c.call(http.MethodGet, "/tokens/"+token+"/"+list, "")
	items, ok := said["items"].([]any)
	if code != http.StatusOK || !ok {
		c.t.Fatalf("%d %v", code, said)
	}
	return items
}

func TestTokensLiveAnHour(t *testing.T) {
	c := newCaller(t)
	if code := c.signIn(password); code != http.StatusOK || strings.Count(c.bearer, ".") != 2 {
		t.Fatalf("%d, token %q", code, c.bearer)
	}
	c.now = c.now.Add(tokenytest.Life - time.Second)
	c.items("candidates")
	c.now = c.now.Add(time.Second)
	code, said := c.call(http.MethodGet, "/tokens/"+token+"/candidates", "")
	for _, member := range []string{"statusCode", "timestamp", "path", "errors", "message", "name"} {
		if _, ok := said[member]; !ok {
			t.Errorf("the error lacks %s: %v", member, said)
		}
	}
	if code != http.StatusUnauthorized || said["path"] != "/api/tokens/"+token+"/candidates" {
		t.Errorf("%d %v", code, said)
	}
}

func TestFiveWrongPasswordsLockTheAccount(t *testing.T) {
	c := newCaller(t)
	for range 4 {
		if code := c.signIn("wrong"); code != http.StatusUnauthorized {
			t.Fatal(code)
		}
	}
	if code := c.signIn(password); code != http.StatusOK {
		t.Fatalf("locked after four: %d", code)
	}
	for range 5 {
		c.signIn("wrong")
	}
	if code := c.signIn(password); code != http.StatusUnauthorized {
		t.Errorf("not locked after five: %d", code)
	}
	c.Unlock()
	if code := c.signIn(password); code != http.StatusOK {
		t.Errorf("not unlocked: %d", code)
	}
	if n := c.Count(tokenytest.SignIn); n != 12 {
		t.Errorf("counted %d sign-ins, want 12", n)
	}
	if code, _ := c.call(http.MethodPost, "/auth/signin", `{"email":""}`); code != http.StatusBadRequest {
		t.Errorf("nothing to sign in with: %d", code)
	}
}

func TestWhatHappensIsListed(t *testing.T) {
	c := newCaller(t)
	wallet := c.Wallet()
	id := c.Add(token, tokenytest.Investor{Email: "a@b.example", Name: "A", Wallet: wallet})
	c.signIn(password)
	candidate := func() map[string]any {
		t.Helper()
		items := c.items("candidates")
		if len(items) != 1 {
			t.Fatalf("%d candidates", len(items))
		}
		i, _ := items[0].(map[string]any)
		return i
	}
	is := func(i map[string]any, name string, want any) {
		t.Helper()
		if i[name] != want {
			t.Errorf("%s is %v, want %v", name, i[name], want)
		}
	}
	i := candidate()
	is(i, "id", id)
	is(i, "status", "registered")
	is(i, "kycStatus", "not_checked")
	is(i, "kycProvider", nil)
	is(i, "wallet", wallet)
	is(i, "walletProvider", "USER_MANAGED")
	is(candidate(), "wallet", strings.ToLower(wallet)) // its case changes by itself
	c.SetStatus(token, id, "pending")
	c.SetKYC(token, id, "approved", "MANUAL")
	c.SetSection(token, id, "Agreements")
	c.Rename(token, id, "B", "b@b.example")
	c.SetWallet(token, id, "", "")
	login := candidate()["lastLogin"]
	c.Login(token, id)
	i = candidate()
	is(i, "status", "pending")
	is(i, "kycStatus", "approved")
	is(i, "kycProvider", "MANUAL")
	is(i, "currentSection", "Agreements")
	is(i, "name", "B")
	is(i, "email", "b@b.example")
	is(i, "wallet", nil)
	is(i, "createdAt", "2026-04-01T08:00:00.000Z")
	if i["lastLogin"] == login {
		t.Error("lastLogin is as it was")
	}

	status := "qualified"
	c.Promote(token, id, &status)
	if n := len(c.items("candidates")); n != 0 {
		t.Errorf("%d candidates, want none", n)
	}
	holders := c.items("holders")
	if len(holders) != 1 {
		t.Fatalf("%d holders", len(holders))
	}
	holder, _ := holders[0].(map[string]any)
	is(holder, "id", id)
	is(holder, "status", "qualified")
	c.Demote(token, id)
	is(candidate(), "id", id)
	gone := c.Remove(token, id)
	if n := len(c.items("candidates")) + len(c.items("holders")); n != 0 {
		t.Errorf("%d investors, want none", n)
	}
	c.Return(token, gone)
	is(candidate(), "name", "B")

	if code, _ := c.call(http.MethodGet, "/tokens/"+id+"/candidates", ""); code != http.StatusForbidden {
		t.Errorf("a token of others: %d", code)
	}
	if code, _ := c.call(http.MethodGet, "/nothing", ""); code != http.StatusNotFound {
		t.Errorf("no endpoint: %d", code)
	}
}

func TestPagesLeadToTheNext(t *testing.T) {
	c := newCaller(t)
	for range 3 {
		c.Add(token, tokenytest.Investor{})
	}
	c.PageBy(2)
	c.signIn(password)
	_, first := c.call(http.MethodGet, "/tokens/"+token+"/candidates", "")
	next, _ := first["next"].(string)
	if next != "/api/tokens/"+token+"/candidates?offset=2" || first["count"] != float64(3) {
		t.Fatalf("%v", first)
	}
	_, second := c.call(http.MethodGet, "/tokens/"+token+"/candidates?offset=2", "")
	if items, _ := second["items"].([]any); len(items) != 1 || second["next"] != nil {
		t.Errorf("%v", second)
	}
}

func TestFaultsHappenAsOftenAsTheyAreAsked(t *testing.T) {
	c := newCaller(t)
	c.Add(token, tokenytest.Investor{Status: "pending"})
	c.signIn(password)
	get := func() (*http.Response, []byte, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.server.URL+tokenytest.Prefix+"/tokens/"+token+"/candidates", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.bearer)
		req.Close = true // so that the client does not ask again by itself
		res, err := c.server.Client().Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return res, b, err
	}
	for _, f := range []struct {
		fault tokenytest.Fault
		code  int // 0: no answer
		body  string
	}{
		{tokenytest.Fault{Kind: tokenytest.Status, Code: 429, RetryAfter: 3 * time.Second, Times: 2}, 429, `"statusCode":429`},
		{tokenytest.Fault{Kind: tokenytest.Unauthorized}, 401, email},
		{tokenytest.Fault{Kind: tokenytest.NoItems}, 200, `{}`},
		{tokenytest.Fault{Kind: tokenytest.Empty}, 200, `{"items":[]}`},
		{tokenytest.Fault{Kind: tokenytest.Half}, 200, `"total":1000000}`},
		{tokenytest.Fault{Kind: tokenytest.Mistyped}, 200, `"status":7`},
		{tokenytest.Fault{Kind: tokenytest.HTML}, 200, `<html>`},
		{tokenytest.Fault{Kind: tokenytest.Reset}, 0, ""},
	} {
		c.Inject(tokenytest.Fault{Endpoint: tokenytest.Holders, Kind: tokenytest.Cut}) // of another endpoint
		c.Inject(f.fault)
		for range max(f.fault.Times, 1) {
			res, body, err := get()
			switch {
			case f.code == 0 && err == nil:
				t.Errorf("%s: answered", f.fault.Kind)
			case f.code == 0:
			case err != nil:
				t.Errorf("%s: %v", f.fault.Kind, err)
			case res.StatusCode != f.code || !bytes.Contains(body, []byte(f.body)):
				t.Errorf("%s: %d %s", f.fault.Kind, res.StatusCode, body)
			case f.fault.RetryAfter > 0 && res.Header.Get("Retry-After") != "3":
				t.Errorf("%s: Retry-After %q", f.fault.Kind, res.Header.Get("Retry-After"))
			}
		}
		if res, body, err := get(); err != nil || res.StatusCode != http.StatusOK || !jsontext.Value(body).IsValid() {
			t.Errorf("%s goes on: %v", f.fault.Kind, err)
		}
		c.Heal()
	}
}
