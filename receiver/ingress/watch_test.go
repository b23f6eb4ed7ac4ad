package ingress_test

import (
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
)

func TestEveryOutcomeIsThereFromTheFirstScrape(t *testing.T) {
	g := open(t, nil)
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		if f.GetName() != "postern_deliveries_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "source" {
					got[l.GetValue()]++
				}
			}
		}
	}
	// A source that doesn't push has no outcomes. Of no source are strangers and
	// wrong paths.
	if diff := cmp.Diff(map[string]int{"one": 11, "two": 11, "unknown": 2}, got); diff != "" {
		t.Error(diff)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

func TestGaugesOfPushesAreAbsentUntilOneComes(t *testing.T) {
	g := open(t, nil)
	one := map[string]string{"source": "one"}
	names := []string{"postern_push_last_received_timestamp_seconds", "postern_push_clock_skew_seconds"}
	for _, name := range names {
		if v, ok := g.metric(t, name, one); ok {
			t.Errorf("%s is %v before the first push", name, v)
		}
	}
	g.push(t, friend, "/hooks/one", "signature")
	if _, ok := g.metric(t, names[0], one); ok {
		t.Error("a forgery counts as a sign of life")
	}
	g.push(t, friend, "/hooks/one", "stale a0")
	if v, ok := g.metric(t, names[1], one); ok {
		t.Errorf("skew %v of a push that may be as old as it likes", v)
	}
	g.push(t, friend, "/hooks/one", "ok a1")
	now := time.Now()
	if v, _ := g.metric(t, names[0], one); math.Abs(v-float64(now.Unix())) > 5 {
		t.Errorf("last received %v", v)
	}
	skew, _ := g.metric(t, names[1], one)
	if want := now.Sub(sent).Seconds(); math.Abs(skew-want) > 5 {
		t.Errorf("skew %v, want %v", skew, want)
	}
	g.push(t, friend, "/hooks/one", "ok a1")
	if again, _ := g.metric(t, names[1], one); again != skew {
		t.Errorf("a repeat moved the skew from %v to %v", skew, again)
	}
	if n, _ := g.metric(t, "postern_accept_duration_seconds", one); n != 3 {
		t.Errorf("%v durations", n)
	}
}

func TestCertificatesOfPushesHaveTheirExpiry(t *testing.T) {
	end := time.Date(2031, 1, 2, 0, 0, 0, 0, time.UTC)
	g := open(t, func(c *ingress.Config) {
		c.Sources[0].Push.Certificates = []handlers.Certificate{
			{Name: "sns.pem", NotAfter: end},
			{Name: "sns.pem", NotAfter: end.AddDate(1, 0, 0)},
			{Name: "/etc/postern/next.pem", NotAfter: end.AddDate(2, 0, 0)},
			{Name: "a/same.pem", NotAfter: end.AddDate(3, 0, 0)},
			{Name: "b/same.pem", NotAfter: end.AddDate(4, 0, 0)},
		}
	})
	for name, want := range map[string]time.Time{
		"sns.pem": end, "next.pem": end.AddDate(2, 0, 0),
		"a/same.pem": end.AddDate(3, 0, 0), "b/same.pem": end.AddDate(4, 0, 0), // one name is two files'
	} {
		v, ok := g.metric(t, "postern_certificate_expiry_timestamp_seconds", map[string]string{"source": "one", "name": name})
		if !ok || v != float64(want.Unix()) {
			t.Errorf("%s: %v, want %v", name, v, want.Unix())
		}
	}
}

func TestRefusalsAreLoggedOnceAMinuteForEachKind(t *testing.T) {
	g := open(t, nil)
	for i := range 50 {
		g.push(t, friend, "/hooks/one", "signature")
		g.push(t, stranger, fmt.Sprintf("/hooks/x%d", i), "")
		g.push(t, friend, fmt.Sprintf("/hooks/x%d", i), "")
	}
	g.push(t, friend, "/hooks/one", "topic")
	g.push(t, neighbor, "/hooks/two", "signature")
	var reasons []string
	for line := range strings.Lines(g.logs.String()) {
		var entry struct {
			Level, Msg, Reason, Source, Remote string
			Status                             int
			RequestID                          string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(line), &entry, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Fatal(err)
		}
		if entry.Level != "WARN" || entry.RequestID == "" || entry.Remote == "" {
			t.Errorf("line %s", line)
		}
		reasons = append(reasons, fmt.Sprint(entry.Status, " ", entry.Source, " ", entry.Reason))
	}
	want := []string{
		"403 one refused, signature: not as it should be",
		"403  address",
		"404  path",
		"403 one refused, topic: not as it should be",
		"403 two refused, signature: not as it should be",
	}
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
}

func TestPanicIsLoggedWithItsPlaceOnly(t *testing.T) {
	g := open(t, nil)
	g.push(t, friend, "/hooks/one", "panic")
	log := g.logs.String()
	if !strings.Contains(log, "words.Authenticate") || !strings.Contains(log, "ERROR") {
		t.Errorf("log: %s", log)
	}
	if strings.Contains(log, "4929") {
		t.Errorf("the panic's value is in the log: %s", log)
	}
}

func TestAcceptedPushIsLoggedAtDebugWithoutItsContent(t *testing.T) {
	g := open(t, nil)
	h := g.push(t, friend, "/hooks/one", "ok a1 4929-1234")
	var id struct{ ID string }
	if err := json.Unmarshal([]byte(h.body), &id, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "logged", func() bool { return strings.Contains(g.logs.String(), id.ID) })
	log := g.logs.String()
	if !strings.Contains(log, `"level":"DEBUG"`) || strings.Contains(log, "4929") || strings.Contains(log, "a1") {
		t.Errorf("log: %s", log)
	}
}

func TestSourceThatWouldKeepNobodyOutIsRefused(t *testing.T) {
	some := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	for name, push := range map[string]*handlers.Push{
		"no list":     {Webhook: words{}},
		"no webhook":  {Allow: some},
		"zero prefix": {Allow: []netip.Prefix{{}}, Webhook: words{}},
		"mapped":      {Allow: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:203.0.113.1"), 128)}, Webhook: words{}},
	} {
		_, err := ingress.New(nil, ingress.Config{
			Sources:    []handlers.Source{{Name: "one", Push: push}},
			Journal:    &fakeJournal{},
			Registerer: prometheus.NewRegistry(),
			Log:        slog.New(slog.DiscardHandler),
		})
		if err == nil || !strings.Contains(err.Error(), "source one") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutSourcesEverybodyIsAStranger(t *testing.T) {
	g := open(t, func(c *ingress.Config) { c.Sources = nil })
	wantError(t, g.push(t, friend, "/hooks/one", "ok a1"), http.StatusForbidden, "forbidden")
}
