package deploy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics is what a receiver tells: by name, the labels and their values.
type metrics map[string]map[string][]string

// readMetrics reads what /metrics said. What a histogram is asked for counts as
// metrics of its own.
func readMetrics(t *testing.T, text string) metrics {
	t.Helper()
	families := parseMetrics(t, text)
	m := metrics{"up": {}}
	for name, family := range families {
		names := []string{name}
		if family.GetType() == dto.MetricType_HISTOGRAM {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, name := range names {
			m[name] = labelsOf(family)
		}
		if family.GetType() == dto.MetricType_HISTOGRAM {
			m[name+"_bucket"]["le"] = nil
		}
	}
	// Prometheus adds these.
	for _, labels := range m {
		labels["job"], labels["instance"] = []string{"postern"}, nil
	}
	return m
}

func parseMetrics(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// total returns the sum of all series of a counter.
func total(t *testing.T, text, name string) float64 {
	t.Helper()
	var sum float64
	for _, series := range parseMetrics(t, text)[name].GetMetric() {
		sum += series.GetCounter().GetValue()
	}
	return sum
}

func labelsOf(family *dto.MetricFamily) map[string][]string {
	labels := map[string][]string{}
	for _, series := range family.Metric {
		for _, label := range series.Label {
			if !slices.Contains(labels[label.GetName()], label.GetValue()) {
				labels[label.GetName()] = append(labels[label.GetName()], label.GetValue())
			}
		}
	}
	return labels
}

var (
	selectorPattern = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\{([^}]*)\}`)
	matcherPattern  = regexp.MustCompile(`([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	groupingPattern = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	numberPattern   = regexp.MustCompile(`\b[0-9][0-9a-zA-Z.]*`)
	namePattern     = regexp.MustCompile(`[a-zA-Z_:][\w:]*`)
	keywords        = []string{"and", "or", "unless", "offset", "bool"}
)

// query is what a PromQL expression names. Whether it is one is promtool's to
// say.
type query struct {
	metrics  []string
	matchers [][4]string // metric, label, operator, value
	grouping []string    // labels
	by       bool        // grouping is what is left of the labels
}

func parseQuery(expr string) query {
	var q query
	expr = selectorPattern.ReplaceAllStringFunc(expr, func(s string) string {
		m := selectorPattern.FindStringSubmatch(s)
		for _, matcher := range matcherPattern.FindAllStringSubmatch(m[2], -1) {
			q.matchers = append(q.matchers, [4]string{m[1], matcher[1], matcher[2], matcher[3]})
		}
		return m[1] + " "
	})
	expr = groupingPattern.ReplaceAllStringFunc(expr, func(s string) string {
		m := groupingPattern.FindStringSubmatch(s)
		q.grouping = append(q.grouping, namePattern.FindAllString(m[2], -1)...)
		q.by = q.by || m[1] == "by"
		return " "
	})
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	expr = numberPattern.ReplaceAllString(expr, "")
	for _, at := range namePattern.FindAllStringIndex(expr, -1) {
		name := expr[at[0]:at[1]]
		call := strings.HasPrefix(strings.TrimLeft(expr[at[1]:], " "), "(")
		if !call && !slices.Contains(keywords, name) {
			q.metrics = append(q.metrics, name)
		}
	}
	return q
}

// check fails the test if a query names what isn't there: a metric, a label, or
// a value that a label never has. It returns the labels that its result may
// have.
func (m metrics) check(t *testing.T, where, expr string) []string {
	t.Helper()
	q := parseQuery(expr)
	if len(q.metrics) == 0 && !strings.Contains(expr, "vector(") {
		t.Errorf("%s: %q names no metric", where, expr)
	}
	var labels []string
	for _, name := range q.metrics {
		known, ok := m[name]
		if !ok {
			t.Errorf("%s: there is no metric %s", where, name)
		}
		for label := range known {
			labels = append(labels, label)
		}
	}
	for _, label := range q.grouping {
		if !slices.Contains(labels, label) {
			t.Errorf("%s: none of its metrics has a label %s", where, label)
		}
	}
	for _, match := range q.matchers {
		m.checkMatcher(t, where, match)
	}
	if q.by {
		return q.grouping
	}
	return labels
}

func (m metrics) checkMatcher(t *testing.T, where string, match [4]string) {
	t.Helper()
	name, label, operator, value := match[0], match[1], match[2], match[3]
	known, ok := m[name][label]
	if !ok {
		t.Errorf("%s: %s has no label %s", where, name, label)
		return
	}
	if known == nil || strings.HasPrefix(value, "$") { // anything; a variable
		return
	}
	alternatives := []string{regexp.QuoteMeta(value)}
	if operator == "=~" || operator == "!~" {
		alternatives = strings.Split(value, "|")
	}
	for _, a := range alternatives {
		pattern, err := regexp.Compile("^(?:" + a + ")$")
		if err != nil || !slices.ContainsFunc(known, pattern.MatchString) {
			t.Errorf("%s: %s of %s is never %q; it may be %q", where, label, name, a, known)
		}
	}
}
