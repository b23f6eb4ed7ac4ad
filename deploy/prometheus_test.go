package deploy_test

import (
	"fmt"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.yaml.in/yaml/v3"

	"github.com/seed75441868/postern/handlers/concedus/concedustest"
)

// rules is a file of Prometheus rules.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr string
			For                 string
			Labels, Annotations map[string]string
		}
	}
}

func readRules(t *testing.T) rules {
	t.Helper()
	var r rules
	if err := yaml.Unmarshal([]byte(sample(t, "prometheus/alerts.yml")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// board is what is looked at in a Grafana dashboard.
type board struct {
	Panels []struct {
		ID         int
		Type       string
		Title      string
		Datasource struct{ UID string }
		GridPos    struct{ H, W, X, Y int }
		Targets    []struct {
			Datasource   struct{ UID string }
			Expr         string
			LegendFormat string
		}
	}
	Templating struct {
		List []struct {
			Name       string
			Type       string
			Definition string
			Datasource struct{ UID string }
		}
	}
	Annotations struct {
		List []struct {
			Datasource struct{ UID string }
			Expr       string
		}
	}
}

func readBoard(t *testing.T) board {
	t.Helper()
	var b board
	if err := json.Unmarshal([]byte(sample(t, "grafana/dashboards/postern.json")), &b, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	return b
}

// expressions returns every query of the dashboard, by where it stands.
func (b board) expressions() map[string]string {
	all := map[string]string{}
	for _, p := range b.Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %q, query %d", p.Title, i+1)] = target.Expr
		}
	}
	for i, a := range b.Annotations.List {
		all[fmt.Sprintf("annotation %d", i+1)] = a.Expr
	}
	return all
}

// scraped is what a receiver tells that has seen everything: pushes that were
// accepted, refused and put into quarantine, over TLS, and a subscriber.
var scraped struct {
	once sync.Once
	text string
}

func scrape(t *testing.T) string {
	t.Helper()
	scraped.once.Do(func() {
		secrets := secretsOf(t)
		concedus := concedustest.New(nil)
		concedus.Agent("agent", "password")
		polled := httptest.NewServer(concedus)
		defer polled.Close()
		password := write(t, t.TempDir(), "password", "password")
		r := startReceiver(t, fmt.Sprintf(`
ingress: {tls: {cert: %[1]s/ops.pem, key: %[1]s/ops.key}}
sources:
  concedus:
    platform: concedus
    api: {url: %[2]q}
    agent: {username: agent, password: {file: %[3]q}}
`, secrets, polled.URL, password))
		broker := "nats://" + r.logged("nats listens")
		c := newCaller(t, friend, insideCA(t, secrets))
		steps, err := newNode(t, 4).Life()
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			c.want(t, step.Status, "https://"+r.ingress+"/hooks/corastone", step.Push)
		}
		addConsumer(t, broker)
		// Figures of the bus are read anew after some seconds.
		wanted := []string{`postern_quarantine_open{`, `postern_poll_last_success_timestamp_seconds{`, `postern_consumer_pending{`, `postern_deliveries_relayed_total{outcome="published",source="corastone"} 8`}
		eventually(t, "everything shows", func() bool {
			scraped.text = c.get(t, "http://"+r.ops+"/metrics")
			return !slices.ContainsFunc(wanted, func(w string) bool { return !strings.Contains(scraped.text, w) })
		})
	})
	if scraped.text == "" {
		t.Fatal("no receiver could be scraped")
	}
	return scraped.text
}

// addConsumer makes a durable consumer, as a subscriber on the receiver's
// machine.
func addConsumer(t *testing.T, broker string) {
	t.Helper()
	nc, err := nats.Connect(broker)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is there", func() bool {
		_, err = js.CreateOrUpdateConsumer(t.Context(), "POSTERN_EVENTS", jetstream.ConsumerConfig{
			Durable: "ledger", AckPolicy: jetstream.AckExplicitPolicy,
		})
		return err == nil
	})
}

// How annotations and legends name labels.
var (
	annotationLabel = regexp.MustCompile(`\$labels\.(\w+)`)
	legendLabel     = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)
)

// checkLabels fails the test if a text names labels that its result lacks.
func checkLabels(t *testing.T, where, text string, pattern *regexp.Regexp, labels []string) {
	t.Helper()
	for _, m := range pattern.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(labels, m[1]) {
			t.Errorf("%s speaks of the label %s, which its result does not have", where, m[1])
		}
	}
}

// Alerts ask for metrics that a receiver has, and tell what to do.
func TestAlertsNameOnlyWhatThereIs(t *testing.T) {
	t.Parallel()
	known := readMetrics(t, scrape(t))
	all := readRules(t)
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				known[r.Record] = map[string][]string{}
			}
		}
	}
	names := map[string]bool{}
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			labels := known.check(t, r.Alert+r.Record, r.Expr)
			if r.Alert == "" {
				continue
			}
			if names[r.Alert] || !strings.HasPrefix(r.Alert, "Postern") {
				t.Errorf("%s: an alert has a name of its own that begins with Postern", r.Alert)
			}
			names[r.Alert] = true
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s has severity %q", r.Alert, r.Labels["severity"])
			}
			summary, description := r.Annotations["summary"], r.Annotations["description"]
			if summary == "" || len(description) < 80 {
				t.Errorf("%s does not say what is wrong and what to do", r.Alert)
			}
			checkLabels(t, r.Alert, summary+description, annotationLabel, labels)
		}
	}
	tests := sample(t, "prometheus/alerts_test.yml")
	for name := range names {
		if !strings.Contains(tests, `alertname="`+name+`"`) {
			t.Errorf("no test shows %s fire", name)
		}
	}
}

// The dashboard asks for metrics that a receiver has, of a Prometheus that its
// user chooses.
func TestDashboardNamesOnlyWhatThereIs(t *testing.T) {
	t.Parallel()
	known := readMetrics(t, scrape(t))
	b := readBoard(t)
	for where, expr := range b.expressions() {
		known.check(t, where, expr)
	}
	const variable = "${datasource}"
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range b.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q has the id of another", p.Title)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("panel %q lies on %q or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && (p.Datasource.UID != variable || len(p.Targets) == 0) {
			t.Errorf("panel %q asks nobody, or not %s", p.Title, variable)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != variable {
				t.Errorf("panel %q does not ask %s", p.Title, variable)
			}
			labels := known.check(t, p.Title, target.Expr)
			checkLabels(t, "the legend of panel "+p.Title, target.LegendFormat, legendLabel, labels)
		}
	}
	for _, v := range b.Templating.List {
		if v.Type == "datasource" {
			continue
		}
		metric, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ")"), ", ")
		if _, has := known[metric][label]; !ok || !has || v.Datasource.UID != variable {
			t.Errorf("variable %s asks for %q", v.Name, v.Definition)
		}
	}
}

// promtool understands the configuration, the rules and every query of the
// dashboard, and sees each alert fire when it should.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", "prometheus")
	check := func(name string, args ...string) {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			if out, err := run(t, promtool, args...); err != nil {
				t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
			}
			t.Logf("took %s", time.Since(begin).Round(time.Millisecond))
		})
	}
	dir := t.TempDir()
	secrets := secretsOf(t)
	write(t, dir, "alerts.yml", sample(t, "prometheus/alerts.yml"))
	config := write(t, dir, "prometheus.yml", sample(t, "prometheus/prometheus.yml", "/run/secrets", secrets))
	check("config", "check", "config", config)
	check("rules", "check", "rules", "--lint-fatal", "prometheus/alerts.yml")
	check("alerts", "test", "rules", "prometheus/alerts_test.yml")

	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	queries := []rule{}
	for _, expr := range readBoard(t).expressions() {
		queries = append(queries, rule{"query", strings.ReplaceAll(expr, "$__rate_interval", "5m")})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": queries}}})
	if err != nil {
		t.Fatal(err)
	}
	check("dashboard", "check", "rules", "--lint=none", write(t, dir, "dashboard.yml", string(text)))
}

// promtool has nothing to say against the names and types of our metrics.
func TestMetricsAreNamedAsUsual(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", "prometheus")
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
