package corastonetest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

func TestTokenIsGivenToWhomItMay(t *testing.T) {
	clock := newClock()
	l := corastonetest.NewLedger(corastonetest.Options{Now: clock.now})
	l.AddClient("other", "secret", "readErrors")
	c := newCaller(t, l)
	for name, got := range map[string]struct {
		id, secret, scope string
		status            int
	}{
		"all scopes":      {corastonetest.ClientID, corastonetest.ClientSecret, "", http.StatusOK},
		"an own scope":    {"other", "secret", "readErrors", http.StatusOK},
		"a foreign scope": {"other", "secret", "readSequencer", http.StatusBadRequest},
		"no such scope":   {corastonetest.ClientID, corastonetest.ClientSecret, "readMinds", http.StatusBadRequest},
		"another secret":  {"other", "guess", "", http.StatusUnauthorized},
		"nobody":          {"nobody", "secret", "", http.StatusUnauthorized},
	} {
		if status, body := c.signIn(got.id, got.secret, strings.Fields(got.scope)...); status != got.status {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	clock.pass(59 * time.Minute)
	if status, _ := c.get("asset"); status != http.StatusOK {
		t.Errorf("a token of 59 minutes: %d", status)
	}
	clock.pass(2 * time.Minute)
	if status, body := c.get("asset"); status != http.StatusUnauthorized || !strings.Contains(string(body), "AU0001") {
		t.Errorf("a token of 61 minutes: %d %s", status, body)
	}
}

func TestTokenMustBeAskedForAsTheRFCSays(t *testing.T) {
	l := corastonetest.NewLedger(corastonetest.Options{})
	for name, body := range map[string]string{"application/json": `{"grant_type":"client_credentials"}`, "application/x-www-form-urlencoded": "grant_type=password"} {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
		r.Header.Set("User-Agent", "test")
		r.Header.Set("Content-Type", name)
		r.SetBasicAuth(corastonetest.ClientID, corastonetest.ClientSecret)
		w := httptest.NewRecorder()
		if l.ServeHTTP(w, r); w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
}

func TestFirewallRefusesWhoDoesNotSayWhoItIs(t *testing.T) {
	l := corastonetest.NewLedger(corastonetest.Options{})
	for _, path := range []string{"/oauth2/token", "/external/v1/asset"} {
		w := httptest.NewRecorder()
		l.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "AU0") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// paths are the reads, with their scope and how many rows a page may have.
var paths = map[string]struct {
	scope string
	max   int
}{
	"sequencer": {"readSequencer", 100}, "transactions": {"readTransactionData", 50},
	"transactions/orchestrations": {"readTransactionData", 50}, "error-log": {"readErrors", 50},
	"asset": {"readSubscription", 500}, "asset?includeComments=true": {"readSubscription", 50},
	"asset/history": {"readSubscription", 500}, "securities": {"readIssuance", 10}, "securities/history": {"readIssuance", 10},
	"exclusivity": {"readExclusivityOptions", 50}, "exclusivity/pending-assignments": {"readExclusivityOptions", 50},
	"comment": {"readComments", 50},
}

func TestEveryReadNeedsItsScope(t *testing.T) {
	l := corastonetest.NewLedger(corastonetest.Options{Now: newClock().now})
	for _, scope := range corastonetest.Scopes() {
		c := newCaller(t, l, scope)
		for path, p := range paths {
			status, body := c.get(strings.TrimSuffix(path, "?includeComments=true"))
			if p.scope == scope && status != http.StatusOK {
				t.Errorf("%s with %s: %d %s", path, scope, status, body)
			}
			if p.scope != scope && (status != http.StatusForbidden || !strings.Contains(string(body), "AU0002") || !strings.Contains(string(body), "'"+p.scope+"'")) {
				t.Errorf("%s with %s: %d %s", path, scope, status, body)
			}
		}
	}
}

func TestPagesHaveTheirLimits(t *testing.T) {
	c := newCaller(t, corastonetest.NewLedger(corastonetest.Options{Now: newClock().now}))
	for path, p := range paths {
		var more []string
		if base, ok := strings.CutSuffix(path, "?includeComments=true"); ok {
			path, more = base, []string{"includeComments", "true"}
		}
		for _, q := range []struct {
			size, offset string
			code         string
		}{
			{strconv.Itoa(p.max), "0", ""},
			{"1", "7", ""},
			{strconv.Itoa(p.max + 1), "0", "GN0004"},
			{"0", "0", "GN0004"},
			{"-1", "0", "GN0004"},
			{"x", "0", "GN0004"},
			{"1", "-1", "GN0005"},
			{"1", "x", "GN0005"},
		} {
			status, body := c.get(path, append([]string{"pageSize", q.size, "offset", q.offset}, more...)...)
			if q.code == "" && status != http.StatusOK || q.code != "" && (status != http.StatusBadRequest || !strings.Contains(string(body), q.code)) {
				t.Errorf("%s %v: %d %s", path, q, status, body)
			}
		}
	}
	for _, q := range [][]string{
		{"transactions", "processIdsFilter", strings.Repeat("a,", 50) + "a"},
		{"securities", "securityIdsFilter", strings.Repeat("a,", 10) + "a"},
		{"sequencer", "fromDate", "yesterday"},
		{"transactions", "blockNumber", "many"},
	} {
		if status, body := c.get(q[0], q[1:]...); status != http.StatusBadRequest || !strings.Contains(string(body), "GN0002") {
			t.Errorf("%v: %d %s", q, status, body)
		}
	}
}

func TestSequencerIsReadInOrderAndInWholePages(t *testing.T) {
	clock := newClock()
	l, fundID := fund(t, corastonetest.Options{Now: clock.now}, corastonetest.Security{})
	from := clock.now().Add(time.Minute)
	clock.pass(time.Minute)
	for range 60 {
		subscribe(t, l, fundID)
		clock.pass(time.Second)
	}
	to := clock.now().Add(-time.Second)
	c := newCaller(t, l)
	var at []string
	seen := map[string]bool{}
	for offset := 0; ; offset += 50 {
		page := c.sequence("pageSize", "50", "offset", strconv.Itoa(offset), "fromDate", from.Format(time.RFC3339), "toDate", to.Format(time.RFC3339)).Sequence
		for _, row := range page {
			for _, kind := range row {
				when, _ := kind["timestamp"].(string)
				at = append(at, when)
			}
			seen[jsonOf(t, row)] = true
		}
		if len(page) < 50 {
			break
		}
	}
	if len(at) != 120 || len(seen) != 120 || !slices.IsSorted(at) {
		t.Errorf("%d rows, %d of them different, in order: %t", len(at), len(seen), slices.IsSorted(at))
	}
	if got := c.sequence("fromDate", to.Format(time.RFC3339), "toDate", to.Format(time.RFC3339)).Sequence; len(got) != 2 {
		t.Errorf("both ends are included, and there are %d rows", len(got))
	}
}

// TestOrchestrationMovesWhenItEnds: it is where it began, and then where it
// ended.
func TestOrchestrationMovesWhenItEnds(t *testing.T) {
	clock := newClock()
	l, fundID := fund(t, corastonetest.Options{Now: clock.now}, corastonetest.Security{})
	clock.pass(time.Hour)
	began := clock.now().Format(time.RFC3339)
	r := subscribe(t, l, fundID, corastonetest.Held())
	c := newCaller(t, l)
	if got := c.sequence("fromDate", began, "toDate", began).Sequence; len(got) != 2 || got[1]["orchestration"]["status"] != "in_progress" {
		t.Fatalf("%v", got)
	}
	clock.pass(30 * time.Minute)
	if _, err := l.Finish(r.OrchestrationID); err != nil {
		t.Fatal(err)
	}
	first, second := c.sequence("fromDate", began, "toDate", began).Sequence, c.sequence("fromDate", clock.now().Format(time.RFC3339)).Sequence
	if len(first) != 1 || first[0]["transaction"]["status"] != "success" || len(second) != 1 || second[0]["orchestration"]["status"] != "success" {
		t.Errorf("%v and %v", first, second)
	}
}

func TestEntitlementComesLate(t *testing.T) {
	clock := newClock()
	var o told
	l, fundID := fund(t, corastonetest.Options{Now: clock.now, Tell: o.tell}, corastonetest.Security{})
	clock.pass(time.Hour)
	before := len(o.names())
	r := subscribe(t, l, fundID, corastonetest.Hidden())
	c := newCaller(t, l)
	hidden := func() bool {
		return len(c.rows("transactions", "processIdsFilter", r.ProcessIDs[0])) == 0 && len(c.rows("asset/history", "assetIdsFilter", r.AssetID)) == 0
	}
	if !hidden() {
		t.Error("what we may not see is there")
	}
	clock.pass(24 * time.Hour)
	c.token = newCaller(t, l).token
	now := clock.now().Format(time.RFC3339)
	if err := l.Grant("", r.ProcessIDs...); err != nil {
		t.Fatal(err)
	}
	s := c.sequence("fromDate", now)
	if len(s.Sequence) != 0 || len(s.Granted) != 1 || s.Granted[0]["processId"] != r.ProcessIDs[0] || hidden() {
		t.Errorf("%v; hidden: %t", s, hidden())
	}
	if got := len(o.names()); got != before {
		t.Errorf("%d pushes told of it", got-before)
	}
	if err := l.Grant("", r.ProcessIDs...); refusal(err) != "GN0002" {
		t.Errorf("granted twice: %v", err)
	}
}

// TestAssignmentGrantsWhatWasBefore: the opening of the fund was none of our
// business.
func TestAssignmentGrantsWhatWasBefore(t *testing.T) {
	l, fundID := fund(t, corastonetest.Options{}, corastonetest.Security{})
	c := newCaller(t, l)
	s := c.sequence()
	if len(s.Granted) != 1 {
		t.Fatalf("granted are %v", s.Granted)
	}
	id, _ := s.Granted[0]["processId"].(string)
	rows := c.rows("transactions", "processIdsFilter", id)
	if len(rows) != 1 || rows[0]["method"] != "launch" || rows[0]["grantedByProcessId"] == nil {
		t.Errorf("%v", rows)
	}
	other := l.AddSecurity(corastonetest.Security{})
	if got := c.rows("securities"); len(got) != 1 || got[0]["securityId"] != fundID || len(c.rows("securities", "securityIdsFilter", other)) != 0 {
		t.Errorf("we see %v", got)
	}
}

func TestWhatIsNotKnownIsNotThere(t *testing.T) {
	l, _ := fund(t, corastonetest.Options{}, corastonetest.Security{})
	c := newCaller(t, l)
	for _, q := range [][]string{
		{"transactions", "processIdsFilter", "x"},
		{"asset", "assetIdsFilter", "x"},
		{"asset/history", "assetIdsFilter", "x"},
		{"asset/history", "transactionId", "x"},
		{"securities", "securityIdsFilter", "x"},
		{"exclusivity", "securityIdsFilter", "x"},
		{"comment", "assetIdsFilter", "x"},
		{"error-log", "errorIdsFilter", "x"},
	} {
		if rows := c.rows(q[0], q[1:]...); len(rows) != 0 {
			t.Errorf("%v: %v", q, rows)
		}
	}
	if status, _ := c.get("nav"); status != http.StatusNotFound {
		t.Errorf("another path: %d", status)
	}
}

func TestReasonsAreInComments(t *testing.T) {
	l, fundID := fund(t, corastonetest.Options{}, corastonetest.Security{})
	lot := subscribe(t, l, fundID).AssetID
	reasons := []corastonetest.Reason{{Category: "EC003", Message: "no signature", Documents: []corastonetest.Document{{Name: "a.pdf", Pages: []corastonetest.Page{{Number: 3, Description: "below"}}}}}}
	if _, err := l.RequestRemediation(lot, nil); err != nil {
		t.Fatal(err)
	}
	c := newCaller(t, l)
	if rows := c.rows("comment", "assetIdsFilter", lot); len(rows) != 0 {
		t.Errorf("there are reasons already: %v", rows)
	}
	r, err := l.AddReasons(lot, reasons)
	if err != nil {
		t.Fatal(err)
	}
	// One comment is a bare object, two are a list.
	_, body := c.get("comment", "assetIdsFilter", lot)
	var one map[string]any
	if err := json.Unmarshal(body, &one); err != nil || !strings.Contains(jsonOf(t, one["reason"]), `"pages":[{"description":"below","pageNumber":3}]`) {
		t.Errorf("%s", body)
	}
	if got := jsonOf(t, c.rows("transactions", "processIdsFilter", r.ProcessIDs[0])[0]["details"]); !strings.Contains(got, `"commentIds"`) || strings.Contains(got, lot) {
		t.Errorf("the comment's transaction touches %s", got)
	}
	if _, err := l.AddReasons(lot, reasons); err != nil {
		t.Fatal(err)
	}
	if rows := c.rows("comment"); len(rows) != 2 {
		t.Errorf("%v", rows)
	}
	assets := c.rows("asset", "includeComments", "true", "excludeCommentReviewStatusFilter", "pending")
	if comments, ok := assets[0]["comments"].([]any); !ok || len(comments) != 0 {
		t.Errorf("%v", assets[0]["comments"])
	}
}

func TestFaultsHappenAsOftenAsOrdered(t *testing.T) {
	clock := newClock()
	l, fundID := fund(t, corastonetest.Options{Now: clock.now}, corastonetest.Security{})
	lot := subscribe(t, l, fundID).AssetID
	c := newCaller(t, l)
	for _, f := range []struct {
		fault  corastonetest.Fault
		status int
		has    string
	}{
		{corastonetest.Fault{Kind: corastonetest.NotFound}, http.StatusNotFound, "{"},
		{corastonetest.Fault{Kind: corastonetest.TooMany, RetryAfter: time.Minute}, http.StatusTooManyRequests, "{"},
		{corastonetest.Fault{Kind: corastonetest.Broken, Times: 3}, http.StatusInternalServerError, "{"},
		{corastonetest.Fault{Kind: corastonetest.WAF}, http.StatusForbidden, "<html>"},
		{corastonetest.Fault{Kind: corastonetest.Unauthorized}, http.StatusUnauthorized, "AU0001"},
		{corastonetest.Fault{Kind: corastonetest.Empty, Times: 2}, http.StatusOK, "[]"},
		{corastonetest.Fault{Kind: corastonetest.Truncated}, http.StatusOK, "["},
	} {
		f.fault.Endpoint = corastonetest.EndpointAssetHistory
		l.Inject(f.fault)
		for range max(f.fault.Times, 1) {
			status, body := c.get("asset/history", "assetIdsFilter", lot)
			if status != f.status || !strings.HasPrefix(string(body), f.has) && !strings.Contains(string(body), f.has) {
				t.Errorf("%s: %d %s", f.fault.Kind, status, body)
			}
			var v any
			if f.fault.Kind == corastonetest.Truncated && json.Unmarshal(body, &v) == nil {
				t.Errorf("%s is whole", body)
			}
		}
		if rows := c.rows("asset/history", "assetIdsFilter", lot); len(rows) != 1 {
			t.Errorf("after %s: %v", f.fault.Kind, rows)
		}
	}
	l.Inject(corastonetest.Fault{Endpoint: corastonetest.EndpointAsset, Kind: corastonetest.Broken, Until: clock.now().Add(30 * time.Minute)})
	for _, want := range []int{http.StatusInternalServerError, http.StatusInternalServerError, http.StatusOK} {
		if status, _ := c.get("asset"); status != want {
			t.Errorf("at %s: %d", clock.now(), status)
		}
		clock.pass(15 * time.Minute)
	}
}

func TestHangEndsWithTheCaller(t *testing.T) {
	l := corastonetest.NewLedger(corastonetest.Options{})
	l.Inject(corastonetest.Fault{Endpoint: corastonetest.EndpointAsset, Kind: corastonetest.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	url := serve(t, l)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/external/v1/asset", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := http.DefaultClient.Do(r); err == nil {
		_ = res.Body.Close()
		t.Errorf("it was answered %d", res.StatusCode)
	}
}

func TestListMovesBetweenPages(t *testing.T) {
	clock := newClock()
	l, fundID := fund(t, corastonetest.Options{Now: clock.now}, corastonetest.Security{})
	for range 4 {
		subscribe(t, l, fundID)
	}
	c := newCaller(t, l)
	whole := c.sequence().Sequence
	for kind, first := range map[corastonetest.Kind]int{corastonetest.PageRepeats: 3, corastonetest.PageSkips: 5} {
		l.Inject(corastonetest.Fault{Endpoint: corastonetest.EndpointSequencer, Kind: kind})
		one, two := c.sequence("pageSize", "4").Sequence, c.sequence("pageSize", "4", "offset", "4").Sequence
		if jsonOf(t, one) != jsonOf(t, whole[:4]) || jsonOf(t, two[0]) != jsonOf(t, whole[first]) {
			t.Errorf("%s: the second page begins elsewhere", kind)
		}
	}
}
