package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
	"github.com/seed75441868/postern/receiver/ops"
)

const candidatesOne = "fund-one/candidates-" + firstToken

// operator runs a command as somebody who has the token of data_dir.
func (w *polled) operator(args ...string) ran {
	w.t.Helper()
	return w.as(filepath.Join("data", opsTokenFile), args...)
}

// poller returns how a poller is.
func (w *polled) poller(name string) ops.PollerStatus {
	w.t.Helper()
	list := decoded[pollerList](w.t, w.operator("pollers", "list", "-o", "json").want(w.t, "pollers list", exitOK).stdout)
	i := slices.IndexFunc(list.Pollers, func(s ops.PollerStatus) bool { return s.Name == name })
	if i < 0 {
		w.t.Fatalf("there is no poller %s among %+v", name, list.Pollers)
	}
	return list.Pollers[i]
}

// Nothing is due for an hour, so that all that is scanned is what an operator
// asks for.
func TestOperatorsMovePollers(t *testing.T) {
	t.Parallel()
	w := newPolled(t)
	w.amend("interval: "+every, "interval: 1h")
	var ids []string
	for i := range 60 {
		ids = append(ids, w.tokeny.Add(firstToken, tokenytest.Investor{Email: fmt.Sprintf("%d@probst.example", i)}))
	}
	w.begin()
	for _, name := range allPollers() {
		eventually(t, name+" has scanned", func() bool { return w.metric(ofPoller("poll_runs_total", name, `result="success"`)) == "1" })
	}
	eventually(t, "the candidates are told", func() bool { return len(w.held(w.js, "POSTERN_EVENTS")) == 60+2 })
	w.since("POSTERN_EVENTS")
	w.since("POSTERN_OPS")

	list := w.operator("pollers", "list").want(t, "pollers list", exitOK).stdout
	for _, name := range allPollers() {
		if !strings.Contains(list, name) || !strings.Contains(list, "1h0m0s") {
			t.Errorf("the list lacks %s:\n%s", name, list)
		}
	}
	w.operator("pollers", "run", "concedus/nothing").want(t, "run of what isn't there", exitNotFound)
	w.operator("pollers", "accept", candidatesOne).want(t, "accept of nothing", exitFailed)
	w.as("", "pollers", "run", candidatesOne).want(t, "run as nobody", exitNotAllowed)

	w.tokeny.SetStatus(firstToken, ids[0], "pending")
	w.operator("pollers", "run", candidatesOne).want(t, "run", exitOK)
	eventually(t, "what the scan found is told", func() bool { return len(w.held(w.js, "POSTERN_EVENTS")) == 63 })
	w.names[ids[0]] = "somebody"
	if diff := cmp.Diff([]string{"fund-one.investor.status_changed.first-somebody"}, w.told("POSTERN_EVENTS")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	// A list that shrinks by a third is not believed, until somebody says so.
	for _, id := range ids[:20] {
		w.tokeny.Remove(firstToken, id)
	}
	for range 2 {
		w.operator("pollers", "run", candidatesOne).want(t, "run", exitOK)
	}
	s := w.poller(candidatesOne)
	if s.State != "suspect" || len(s.Suspect) != 1 || s.Suspect[0].Known != 60 || s.Suspect[0].Seen != 40 {
		t.Errorf("the poller is %+v", s)
	}
	if got := w.metric(ofPoller("poll_suspect", candidatesOne)); got != "1" {
		t.Errorf("poll_suspect is %q", got)
	}
	status := w.operator("status").want(t, "status", exitFailed).stdout
	if !strings.Contains(status, "pollers accept "+candidatesOne) {
		t.Errorf("status doesn't say what to do:\n%s", status)
	}
	if got := w.told("POSTERN_EVENTS"); len(got) > 0 {
		t.Errorf("told though suspect: %q", got)
	}
	w.operator("pollers", "accept", candidatesOne).want(t, "accept", exitOK)
	eventually(t, "the absent are told", func() bool { return len(w.held(w.js, "POSTERN_EVENTS")) == 83 })
	for _, subject := range w.told("POSTERN_EVENTS") {
		if !strings.HasPrefix(subject, "fund-one.investor.absent.first-") {
			t.Errorf("told %s", subject)
		}
	}
	eventually(t, "nothing is suspect", func() bool { return w.metric(ofPoller("poll_suspect", candidatesOne)) == "0" })

	// A pause survives, and ends when somebody says so.
	w.operator("pollers", "pause", candidatesOne).want(t, "pause", exitOK)
	w.terminate()
	w.begin()
	eventually(t, "it is paused still", func() bool { return w.metric(ofPoller("poll_paused", candidatesOne)) == "1" })
	if status := w.operator("status").want(t, "status", exitFailed).stdout; !strings.Contains(status, "paused") || !strings.Contains(status, "pollers resume "+candidatesOne) {
		t.Errorf("status doesn't say that it is paused:\n%s", status)
	}
	asked := w.tokeny.Count(tokenytest.Candidates)
	eventually(t, "the others scan", func() bool {
		return w.metric(ofPoller("poll_runs_total", "fund-one/candidates-"+secondToken, `result="success"`)) == "1"
	})
	if got := w.tokeny.Count(tokenytest.Candidates); got != asked && got != asked+1 {
		t.Errorf("the paused one was asked: %d lists instead of %d", got, asked)
	}
	w.operator("pollers", "resume", candidatesOne).want(t, "resume", exitOK)
	eventually(t, "it scans again", func() bool {
		return w.metric(ofPoller("poll_runs_total", candidatesOne, `result="success"`)) == "1"
	})
	w.operator("status").want(t, "status of a sound receiver", exitOK)

	want := []string{
		"fund-one.scan_suspect", "postern.poller_paused", "postern.poller_resumed",
		"postern.poller_run", "postern.poller_run", "postern.poller_run", "postern.scan_accepted",
	}
	if diff := cmp.Diff(want, w.told("POSTERN_OPS")); diff != "" {
		t.Errorf("POSTERN_OPS (-want +got):\n%s", diff)
	}
}

// A reload adds and removes what is polled. What config doesn't ask for any
// more is not absent.
func TestReloadAddsAndRemovesPollers(t *testing.T) {
	t.Parallel()
	w := newPolled(t)
	w.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example"})
	w.tokeny.Add(secondToken, tokenytest.Investor{Email: "egon@probst.example"})
	w.begin()
	w.scanned(2)
	known := len(w.held(w.js, "POSTERN_EVENTS"))

	w.amend(`tokens: ["`+firstToken+`", "`+secondToken+`"]`, `tokens: ["`+firstToken+`"]`)
	w.operator("reload").want(t, "reload", exitOK)
	second := "fund-one/candidates-" + secondToken
	eventually(t, "the poller is gone", func() bool { return w.metric(ofPoller("poll_interval_seconds", second)) == "" })
	w.scanned(4, candidatesOne)
	w.amend(`tokens: ["`+firstToken+`"]`, `tokens: ["`+firstToken+`", "`+secondToken+`"]`)
	w.operator("reload").want(t, "reload", exitOK)
	w.tokeny.Add(secondToken, tokenytest.Investor{Email: "fritz@probst.example"})
	eventually(t, "the poller is back", func() bool { return w.metric(ofPoller("poll_interval_seconds", second)) == "0.25" })
	w.scanned(3, second, candidatesOne)
	if got := len(w.held(w.js, "POSTERN_EVENTS")); got != known+1 {
		t.Errorf("%d events, want one more than %d: %q", got, known, w.told("POSTERN_EVENTS"))
	}
}

// A login that is refused is told once and not tried again and again: the
// account could be locked. When the secret is right it goes on by itself.
func TestWrongPasswordIsToldOnceAndNotTriedAgain(t *testing.T) {
	t.Parallel()
	w := newPolled(t)
	w.write("tokeny.password", "a wrong password 51f7\n")
	w.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example"})
	w.begin()
	eventually(t, "the refusal is told", func() bool {
		return slices.Contains(w.news(), "auth_failed")
	})
	w.scanned(5, "cas/grants", "concedus/agent-list") // others are not held up
	if n := w.tokeny.Count(tokenytest.SignIn); n != 1 {
		t.Errorf("%d sign-ins were tried", n)
	}
	if diff := cmp.Diff([]string{"auth_failed"}, w.news()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	status := w.operator("status").want(t, "status", exitFailed).stdout
	if !strings.Contains(status, "WRONG: "+candidatesOne) {
		t.Errorf("status says nothing of it:\n%s", status)
	}
	findings, code := w.examined("--ops", w.ops)
	if code != exitFailed {
		t.Errorf("doctor: exit code %d", code)
	}
	says(t, findings, "fail", "sources.fund-one.api", "refused")
	says(t, findings, "ok", "sources.concedus.agent", "logs in")
	says(t, findings, "ok", "sources.concedus.issuers[0]", "logs in")
	says(t, findings, "ok", "sources.cas.api", "the token has the scope accesscontrol-read")
	says(t, findings, "warn", "sources.fund-one", candidatesOne+" failed")

	w.tokeny.Unlock()
	w.write("tokeny.password", tokenyPassword+"\n")
	w.operator("reload").want(t, "reload", exitOK)
	eventually(t, "the recovery is told", func() bool { return slices.Contains(w.news(), "poll_recovered") })
	eventually(t, "the candidate is told", func() bool { return len(w.of("fund-one")) == 1 })
	w.scanned(2, candidatesOne)
	w.operator("status").want(t, "status of a sound receiver", exitOK)
	if diff := cmp.Diff([]string{"auth_failed", "poll_recovered"}, w.news()); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if log := w.stderr.String(); strings.Contains(log, "51f7") || strings.Contains(log, tokenyPassword) || strings.Contains(log, "agent@fund.example") {
		t.Errorf("the log has a login:\n%s", log)
	}
}

// news returns what is told on POSTERN_OPS about how fund-one is polled.
func (w *polled) news() []string {
	w.t.Helper()
	list := []string{}
	for _, m := range w.held(w.js, "POSTERN_OPS") {
		if event, ok := strings.CutPrefix(m.Subject(), "postern.ops.fund-one."); ok {
			list = append(list, event)
		}
	}
	slices.Sort(list)
	return list
}

// of returns the subjects of a source's events.
func (w *polled) of(source string) []string {
	w.t.Helper()
	var list []string
	for _, m := range w.held(w.js, "POSTERN_EVENTS") {
		if strings.HasPrefix(m.Subject(), "postern.events."+source+".") {
			list = append(list, m.Subject())
		}
	}
	return list
}

// A platform that fails in every way that it can loses nothing, invents
// nothing, and leaves nothing of its answers in the log.
func TestFailingPlatformsAreToldAndRecover(t *testing.T) {
	t.Parallel()
	w := newPolled(t)
	id := w.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example"})
	w.concedus.Release(bond("N-CONTRACT-0001-A"))
	w.names[id] = "dora"
	w.begin()
	w.settled()
	w.told("POSTERN_EVENTS")
	w.tokeny.Inject(tokenytest.Fault{Kind: tokenytest.HTML, Endpoint: tokenytest.Candidates, Times: 8})
	w.concedus.Inject(concedustest.Fault{Kind: concedustest.Truncated, Endpoint: concedustest.EndpointAgentList, Times: 2})
	w.concedus.Inject(concedustest.Fault{Kind: concedustest.Vanish, Endpoint: concedustest.EndpointAgentList})
	w.concedus.Inject(concedustest.Fault{Kind: concedustest.Broken, Endpoint: concedustest.EndpointAgentList, Times: 2})
	began := time.Now()
	eventually(t, "recovery is told", func() bool { return slices.Contains(w.news(), "poll_recovered") })
	t.Logf("it took %v", time.Since(began).Round(time.Millisecond))
	eventually(t, "the faults are over", func() bool { return w.concedus.Pending() == 0 })
	w.quietEvents()
	got := map[string]int{}
	for _, event := range w.news() {
		got[event]++
	}
	if got["poll_failed"] == 0 || got["poll_failed"] != got["poll_recovered"] || len(got) != 2 {
		t.Errorf("told %v", got)
	}
	w.discreet()
	told := w.metrics()
	for name := range told {
		if strings.Contains(name, "probst") || strings.Contains(name, "N-CONTRACT") {
			t.Errorf("a metric has %s", name)
		}
	}
}

func (w *polled) quietEvents() {
	w.t.Helper()
	w.settled()
	if got := w.told("POSTERN_EVENTS"); len(got) > 0 {
		w.t.Errorf("told %q", got)
	}
}

// The metrics that are promised are there.
func TestPollersHaveTheirMetrics(t *testing.T) {
	t.Parallel()
	w := newPolled(t)
	w.begin()
	w.scanned(1)
	families := map[string]int{}
	for name := range w.metrics() {
		family, _, _ := strings.Cut(name, "{")
		families[family]++
	}
	for _, family := range []string{
		"poll_runs_total", "poll_last_success_timestamp_seconds", "poll_interval_seconds", "poll_items_total", "poll_paused",
		"poll_suspect", "poll_lease_held", "upstream_requests_total", "upstream_request_duration_seconds_count",
	} {
		if families["postern_"+family] == 0 {
			t.Errorf("there is no postern_%s among %v", family, slices.Sorted(maps.Keys(families)))
		}
	}
	for _, source := range []string{"cas", "concedus", "fund-one"} {
		if ends := w.metric(`postern_upstream_token_expiry_timestamp_seconds{source="` + source + `"}`); ends == "" {
			t.Errorf("when the token of %s ends is not told", source)
		}
	}
	for _, name := range allPollers() {
		if got := w.metric(ofPoller("poll_lease_held", name)); got != "1" {
			t.Errorf("%s: lease held is %q", name, got)
		}
	}
	sources := decoded[[]ops.Source](t, w.operator("sources", "list", "-o", "json").want(t, "sources list", exitOK).stdout)
	var polled []string
	for _, s := range sources {
		polled = append(polled, s.Pollers...)
		if s.Push != nil && s.Push.LastPush != nil {
			t.Errorf("%s pushed at %s", s.Name, s.Push.LastPush)
		}
	}
	if diff := cmp.Diff(allPollers(), polled); diff != "" {
		t.Errorf("pollers of sources (-want +got):\n%s", diff)
	}
}
