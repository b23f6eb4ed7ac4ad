package corastonetest_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// clock is a time that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// told keeps what a ledger notifies of.
type told struct {
	mu      sync.Mutex
	entries []corastonetest.Entry
}

func (o *told) tell(e corastonetest.Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entries = append(o.entries, e)
}

// names returns a line an entry.
func (o *told) names() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []string
	for _, e := range o.entries {
		switch e := e.(type) {
		case corastonetest.Process:
			out = append(out, e.Method+" "+e.Status)
		case corastonetest.Orchestration:
			out = append(out, "orchestration "+e.Status)
		case corastonetest.Error:
			out = append(out, "error")
		case corastonetest.Job:
			out = append(out, "job")
		}
	}
	return out
}

// caller asks a ledger's API.
type caller struct {
	t      *testing.T
	ledger *corastonetest.Ledger
	token  string
}

func newCaller(t *testing.T, l *corastonetest.Ledger, scopes ...string) *caller {
	t.Helper()
	c := &caller{t: t, ledger: l}
	status, body := c.signIn(corastonetest.ClientID, corastonetest.ClientSecret, scopes...)
	var answer struct {
		Token     string         `json:"access_token"`
		ExpiresIn int            `json:"expires_in"`
		Rest      jsontext.Value `json:",embed"`
	}
	if err := json.Unmarshal(body, &answer); status != http.StatusOK || err != nil || answer.Token == "" || answer.ExpiresIn != 3600 {
		t.Fatalf("token: %d %s", status, body)
	}
	c.token = answer.Token
	return c
}

func (c *caller) signIn(id, secret string, scopes ...string) (int, []byte) {
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(id, secret)
	return c.do(r)
}

func (c *caller) do(r *http.Request) (int, []byte) {
	r.Header.Set("User-Agent", "test")
	w := httptest.NewRecorder()
	c.ledger.ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

func (c *caller) get(path string, query ...string) (int, []byte) {
	q := url.Values{}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	r := httptest.NewRequest(http.MethodGet, "/external/v1/"+path+"?"+q.Encode(), nil)
	r.Header.Set("Authorization", "Bearer "+c.token)
	return c.do(r)
}

// rows returns an answer that must be a list.
func (c *caller) rows(path string, query ...string) []map[string]any {
	c.t.Helper()
	status, body := c.get(path, query...)
	var rows []map[string]any
	if err := json.Unmarshal(body, &rows); status != http.StatusOK || err != nil {
		c.t.Fatalf("%s: %d %s", path, status, body)
	}
	return rows
}

type sequence struct {
	Sequence []map[string]map[string]any `json:"sequence"`
	Granted  []map[string]any            `json:"grantedTxnEntitlements"`
}

func (c *caller) sequence(query ...string) sequence {
	c.t.Helper()
	status, body := c.get("sequencer", query...)
	var s sequence
	if err := json.Unmarshal(body, &s); status != http.StatusOK || err != nil {
		c.t.Fatalf("sequencer: %d %s", status, body)
	}
	return s
}

// refusal returns the code that an action was refused with.
func refusal(err error) string {
	var refused *corastonetest.RefusedError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// fund returns a ledger with a fund that we may subscribe to.
func fund(t *testing.T, o corastonetest.Options, s corastonetest.Security) (l *corastonetest.Ledger, securityID string) {
	t.Helper()
	if o.Now == nil {
		o.Now = newClock().now
	}
	l = corastonetest.NewLedger(o)
	id, err := l.Fund(s)
	if err != nil {
		t.Fatal(err)
	}
	return l, id
}

func subscribe(t *testing.T, l *corastonetest.Ledger, securityID string, how ...corastonetest.How) corastonetest.Receipt {
	t.Helper()
	r, err := l.Subscribe(securityID, corastonetest.Subscription{}, how...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// canonical returns JSON as jsonOf writes it.
func canonical(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return jsonOf(t, v)
}
