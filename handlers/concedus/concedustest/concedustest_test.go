package concedustest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/concedus/concedustest"
)

// caller asks a stand-in whose clock a test moves.
type caller struct {
	*testing.T
	server *concedustest.Server
	now    time.Time
	token  string
}

func newCaller(t *testing.T) *caller {
	c := &caller{T: t, now: time.Date(2026, 2, 3, 4, 5, 6, 789e6, time.UTC)}
	c.server = concedustest.New(func() time.Time { return c.now })
	c.server.Agent("agent", "secret")
	c.server.Issuer("77", "issuer", "secret")
	return c
}

// ask returns the status and the body of an answer.
func (c *caller) ask(method, path, body string) (int, string) {
	c.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+c.token)
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

type grant struct {
	AccessToken, RefreshToken string
	Exp                       int64
}

func (c *caller) login(path, body string) grant {
	c.Helper()
	code, answer := c.ask(http.MethodPost, path, body)
	var g grant
	if err := json.Unmarshal([]byte(answer), &g, json.MatchCaseInsensitiveNames(true)); code != http.StatusOK || err != nil || g.AccessToken == "" || g.RefreshToken == "" {
		c.Fatalf("%s answers %d %s", path, code, answer)
	}
	c.token = g.AccessToken
	return g
}

func TestTokensLiveFourMinutesAndAreRefreshedOnce(t *testing.T) {
	c := newCaller(t)
	first := c.login("/v2/auth/token", `{"userName":"agent","password":"secret"}`)
	if want := c.now.Add(4 * time.Minute).Unix(); first.Exp != want {
		t.Errorf("exp %d, want %d", first.Exp, want)
	}
	if code, body := c.ask(http.MethodGet, "/v2/auth/check", ""); code != 200 || !strings.Contains(body, `"exp":`) {
		t.Errorf("check answers %d %s", code, body)
	}
	c.now = c.now.Add(4 * time.Minute)
	if code, _ := c.ask(http.MethodGet, "/v2/auth/check", ""); code != 401 {
		t.Errorf("check answers %d after four minutes", code)
	}
	second := c.login("/v2/auth/refresh", `{"RefreshToken":"`+first.RefreshToken+`"}`)
	if code, _ := c.ask(http.MethodGet, "/v2/compliance/contracts/states/open?page=1&pageSize=5", ""); code != 200 || second.AccessToken == first.AccessToken {
		t.Errorf("list answers %d after a refresh", code)
	}
	if code, body := c.ask(http.MethodPost, "/v2/auth/refresh", `{"RefreshToken":"`+first.RefreshToken+`"}`); code == 200 || body != `{"error":"Invalid request"}` {
		t.Errorf("a second refresh answers %d %s", code, body)
	}
	if code, body := c.ask(http.MethodPost, "/v2/auth/token", `{"username":"agent","password":"guess"}`); code == 200 || !strings.Contains(body, "errorMessageCodes") {
		t.Errorf("a wrong password answers %d %s", code, body)
	}
}

func TestListsAreAsDocumented(t *testing.T) {
	c := newCaller(t)
	c.server.Release(concedustest.Contract{Key: "K-1", Product: "P", InvestorName: "N", Share: "1200", Agio: "0", Signed: "2026-01-03"})
	c.now = c.now.Add(time.Second)
	c.server.Release(concedustest.Contract{Key: "K-2", Product: "P", Share: "200"})
	c.login("/v2/auth/token", `{"username":"agent","password":"secret"}`)
	_, got := c.ask(http.MethodGet, "/v2/compliance/contracts/states/open?page=1&pageSize=25", "")
	want := `{"summary":{"itemsCount":2,"pageNo":1,"pageSize":25,"sumAgio":0,"sumShare":1400},"contracts":[` +
		`{"key":"K-2","updatedDate":"2026-02-03T04:05:07.789Z","type":"PV2","product":"P","share":200,"agio":0},` +
		`{"key":"K-1","updatedDate":"2026-02-03T04:05:06.789Z","signed":"2026-01-03","type":"PV2","product":"P","share":1200,"agio":0}]}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("agent's list (-want +got):\n%s", diff)
	}
	_, got = c.ask(http.MethodGet, "/v2/compliance/contracts/states/open?page=2&pageSize=1", "")
	if !strings.Contains(got, `"key":"K-1"`) || strings.Contains(got, "K-2") {
		t.Errorf("second page: %s", got)
	}
	if code, _ := c.ask(http.MethodGet, "/v2/product-owners/77/contracts/states/open", ""); code != 403 {
		t.Errorf("the agent gets %d for an issuer's list", code)
	}

	c.server.Submit("K-1", "77")
	if diff := cmp.Diff([]string{"K-2"}, c.server.Contracts("")); diff != "" {
		t.Errorf("agent's list (-want +got):\n%s", diff)
	}
	c.login("/v2/auth/token", `{"username":"issuer","password":"secret"}`)
	_, got = c.ask(http.MethodGet, "/v2/product-owners/77/contracts/states/open?page=1&pageSize=25", "")
	want = `{"summary":{"itemsCount":1,"pageNo":1,"pageSize":25,"sumAgio":0,"sumShare":1200},"contracts":[` +
		`{"key":"K-1","updatedDate":"2026-02-03T04:05:07.789Z","type":"PV3","created":"2026-02-03T05:05:07+01:00","product":"P","investorName":"N","share":1200,"agio":0}]}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("issuer's list (-want +got):\n%s", diff)
	}
}

func TestComplianceStatusesAreTheAgentsToRead(t *testing.T) {
	c := newCaller(t)
	c.server.Release(concedustest.Contract{Key: "K 1/Ä"})
	const path = "/v2/compliance/status/contracts/K%201%2F%C3%84"
	c.login("/v2/auth/token", `{"username":"agent","password":"secret"}`)
	if code, body := c.ask(http.MethodGet, path, ""); code != 200 || !strings.Contains(body, `"status":100`) {
		t.Errorf("%d %s", code, body)
	}
	c.server.Reject("K 1/Ä", 302)
	if code, body := c.ask(http.MethodGet, path, ""); code != 200 || !strings.Contains(body, `"status":302`) || len(c.server.Contracts("")) != 0 {
		t.Errorf("%d %s", code, body)
	}
	c.server.SetCompliance("K 1/Ä", 0)
	if code, body := c.ask(http.MethodGet, path, ""); code != 404 || !strings.HasPrefix(body, `{"code":"404","info":"Not found","reason":`) {
		t.Errorf("%d %s", code, body)
	}
	if n := len(c.server.Asked("K 1/Ä")); n != 3 {
		t.Errorf("noted %d questions", n)
	}
	c.login("/v2/auth/token", `{"username":"issuer","password":"secret"}`)
	if code, _ := c.ask(http.MethodGet, path, ""); code != 403 {
		t.Errorf("the issuer gets %d", code)
	}
}

// TestFaultsHappenInTheirOrderAndThenNoMore, over real connections.
func TestFaultsHappenInTheirOrderAndThenNoMore(t *testing.T) {
	s := concedustest.New(nil)
	s.Agent("agent", "secret")
	s.Release(concedustest.Contract{Key: "K", Share: "1"})
	server := httptest.NewServer(s)
	defer server.Close()
	client := server.Client()
	client.Timeout = 5 * time.Second
	defer client.CloseIdleConnections()
	res, err := client.Post(server.URL+"/v2/auth/token", "application/json", strings.NewReader(`{"username":"agent","password":"secret"}`))
	if err != nil {
		t.Fatal(err)
	}
	var g grant
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err := json.Unmarshal(body, &g, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	kinds := []concedustest.Kind{
		concedustest.Unauthorized, concedustest.TooMany, concedustest.Broken, concedustest.HTML, concedustest.Bare,
		concedustest.Truncated, concedustest.Vanish, concedustest.PageShift,
	}
	for _, kind := range kinds {
		s.Inject(concedustest.Fault{Endpoint: concedustest.EndpointAgentList, Kind: kind, RetryAfter: 7 * time.Second})
	}
	ask := func() string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v2/compliance/contracts/states/open?page=1&pageSize=9", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+g.AccessToken)
		res, err := client.Do(r)
		if err != nil {
			return "no answer"
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return strings.Join([]string{res.Status[:3], res.Header.Get("Retry-After"), res.Header.Get("Content-Type"), string(body)}, " ")
	}
	for i, want := range []string{`401 `, `429 7 `, `500 `, `200  text/html`, `200  application/json; charset=utf-8 {"info"`} {
		if got := ask(); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", kinds[i], got)
		}
	}
	if got := ask(); strings.HasSuffix(got, "}") || !strings.Contains(got, `{"summary"`) {
		t.Errorf("truncated: %s", got)
	}
	if got := ask(); !strings.Contains(got, `"itemsCount":0`) || !strings.HasSuffix(got, `"contracts":[]}`) {
		t.Errorf("vanish: %s", got)
	}
	if got := ask(); !strings.Contains(got, `"itemsCount":1`) || !strings.HasSuffix(got, `"contracts":[]}`) {
		t.Errorf("shift: %s", got)
	}
	s.Inject(concedustest.Fault{Endpoint: concedustest.EndpointAgentList, Kind: concedustest.Reset, Times: 2})
	if got := ask(); got != "no answer" || s.Pending() != 0 {
		t.Errorf("reset: %s, %d faults to come", got, s.Pending())
	}
	client.Timeout = 50 * time.Millisecond
	s.Inject(concedustest.Fault{Endpoint: concedustest.EndpointAgentList, Kind: concedustest.Hang})
	if got := ask(); got != "no answer" || s.Pending() != 0 {
		t.Errorf("hang: %s, %d faults to come", got, s.Pending())
	}
	client.Timeout = 5 * time.Second
	if got := ask(); !strings.Contains(got, `"key":"K"`) {
		t.Errorf("afterwards: %s", got)
	}
}
