package main

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
	"github.com/seed75441868/postern/schemas"
)

// The tokens that are watched at the stand-in of Tokeny.
const (
	firstToken  = "6f1d0b7e-52c3-4a98-b1e4-0d7c93a5f210"
	secondToken = "c2a97f34-8be1-4d06-9f5a-71e0b4d8c653"
)

// What the stand-ins let in, and what must be found nowhere else.
const (
	agentPassword  = "agent-password-7d41"
	issuerPassword = "issuer-password-a80c"
	tokenyPassword = "tokeny-password-3e95"
	casSecret      = "cas-secret-c6f2"
)

// polled is a receiver that polls a stand-in of each platform.
type polled struct {
	*receiver
	concedus *concedustest.Server
	tokeny   *tokenytest.Platform
	cas      *accesscontrolstest.Platform
	tranche  string // the one that is watched
	js       jetstream.JetStream
	seen     map[string]uint64 // how much of each stream was looked at
	names    map[string]string // what ids in subjects stand for
	statuses map[string]string // of investors, as they were set last
}

// every is how often the stand-ins are asked, unless a test says otherwise.
const every = "250ms"

// newPolled returns one whose stand-ins are in place and empty but for a
// tranche. It is not started yet.
func newPolled(t testing.TB) *polled {
	t.Helper()
	w := &polled{seen: map[string]uint64{}, statuses: map[string]string{}, names: map[string]string{firstToken: "first", secondToken: "second"}}
	w.concedus = concedustest.New(nil)
	w.concedus.Agent("tied-agent", agentPassword)
	w.concedus.Issuer("77", "4711", issuerPassword)
	w.tokeny = tokenytest.New(tokenytest.Options{Email: "agent@fund.example", Password: tokenyPassword, Seed: 3}, firstToken, secondToken)
	w.cas = accesscontrolstest.New(accesscontrolstest.Options{ClientID: "postern.client", ClientSecret: casSecret, Seed: 4})
	w.tranche = w.cas.AddTranche("")
	w.names[w.tranche] = "tranche"
	w.receiver = newReceiver(t, "")
	for name, text := range map[string]string{
		"agent.password": agentPassword, "issuer.password": issuerPassword, "tokeny.password": tokenyPassword,
		"cas.secret": casSecret, "nats.password": "correct horse battery",
	} {
		w.write(name, text+"\n")
	}
	concedus, tokeny, cas := httptest.NewServer(w.concedus), httptest.NewServer(w.tokeny), httptest.NewServer(w.cas)
	for _, s := range []*httptest.Server{concedus, tokeny, cas} {
		t.Cleanup(s.Close)
	}
	t.Cleanup(w.kill) // before the stand-ins, which wait for what is asked
	w.write("more.yaml", `
nats: {embedded: {users: [{name: all, password: {file: nats.password}, allow: all}]}}
sources:
  concedus:
    platform: concedus
    api: {url: "`+concedus.URL+`"}
    agent: {username: tied-agent, password: {file: agent.password}}
    issuers: [{owner: "77", username: "4711", password: {file: issuer.password}}]
    poll: {interval: `+every+`}
    resolve_for: 72h
  fund-one:
    platform: tokeny
    tokens: ["`+firstToken+`", "`+secondToken+`"]
    api: {url: "`+tokeny.URL+`", email: agent@fund.example, password: {file: tokeny.password}}
    poll: {interval: `+every+`}
  cas:
    platform: accesscontrols
    tranches: ["`+w.tranche+`"]
    api: {url: "`+cas.URL+`", token_url: "`+cas.URL+accesscontrolstest.TokenPath+`", client_id: postern.client, client_secret: {file: cas.secret}}
    poll: {interval: `+every+`}
`)
	return w
}

// amend replaces text of what newPolled configured.
func (w *polled) amend(from, to string) {
	w.t.Helper()
	text := readFile(w.t, w.dir+"/more.yaml")
	if !strings.Contains(text, from) {
		w.t.Fatalf("the configuration has no %q", from)
	}
	w.write("more.yaml", strings.ReplaceAll(text, from, to))
}

// set gives an investor of the first token another status.
func (w *polled) set(id, status string) {
	w.statuses[id] = status
	w.tokeny.SetStatus(firstToken, id, status)
}

// begin starts it, and connects to its NATS as somebody who may read all.
func (w *polled) begin() {
	w.t.Helper()
	w.startBroker()
	w.js = connect(w.t, strings.Replace(w.broker, "nats://", "nats://all:correct%20horse%20battery@", 1))
	eventually(w.t, "the streams are there", func() bool {
		for _, stream := range schemas.Streams() { // they are created all at once
			if _, err := w.js.Stream(w.t.Context(), string(stream)); err != nil {
				return false
			}
		}
		return true
	})
}

// allPollers are the pollers of what newPolled configures.
func allPollers() []string {
	return []string{
		"cas/grants", "cas/tranches-v1", "cas/tranches-v2",
		"concedus/agent-list", "concedus/compliance", "concedus/issuer-list-77",
		"fund-one/candidates-" + firstToken, "fund-one/candidates-" + secondToken,
	}
}

// metrics returns all lines of /metrics.
func (r *receiver) metrics() map[string]string {
	r.t.Helper()
	res, err := http.Get(r.ops + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	all := map[string]string{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 && lines.Text()[0] != '#' {
			all[lines.Text()[:i]] = lines.Text()[i+1:]
		}
	}
	return all
}

// ofPoller is the name of a poller's metric.
func ofPoller(metric, name string, more ...string) string {
	source, poller, _ := strings.Cut(name, "/")
	labels := append(more, fmt.Sprintf("poller=%q", poller), fmt.Sprintf("source=%q", source))
	slices.Sort(labels)
	return "postern_" + metric + "{" + strings.Join(labels, ",") + "}"
}

// scanned waits until pollers, all if none are named, have made so many scans
// that ended well. One may have begun before it was called.
func (w *polled) scanned(n int, pollers ...string) {
	w.t.Helper()
	if pollers == nil {
		pollers = allPollers()
	}
	runs := func() []int {
		told, list := w.metrics(), make([]int, len(pollers))
		for i, name := range pollers {
			list[i], _ = strconv.Atoi(told[ofPoller("poll_runs_total", name, `result="success"`)])
		}
		return list
	}
	before := runs()
	began, looked := time.Now(), time.Time{}
	eventually(w.t, fmt.Sprintf("%d scans of %v", n, pollers), func() bool {
		if time.Since(looked) < 50*time.Millisecond {
			return false // gathering them takes what scans need
		}
		looked = time.Now()
		for i, now := range runs() {
			if now < before[i]+n {
				return false
			}
		}
		return true
	})
	w.t.Logf("%d scans took %v", n, time.Since(began).Round(time.Millisecond))
}

// settled waits until what happened has been told: an absence is believed after
// two scans, what became of it is found after that, and all of it is told
// before the next scan.
func (w *polled) settled() {
	w.t.Helper()
	w.scanned(4)
	w.scanned(2, "concedus/compliance")
}

var pseudonymToken = regexp.MustCompile(`=?[A-Za-z0-9_-]{22}$`)

// told returns what was published to a stream since it was asked last, sorted:
// subjects without their prefix, with names for ids.
func (w *polled) told(stream string) []string {
	w.t.Helper()
	list := []string{}
	for _, m := range w.since(stream) {
		_, subject, _ := strings.Cut(strings.TrimPrefix(m.Subject(), "postern."), ".")
		for id, name := range w.names {
			subject = strings.ReplaceAll(subject, id, name)
		}
		if strings.HasPrefix(subject, "concedus.") && stream != "POSTERN_OPS" {
			subject = pseudonymToken.ReplaceAllString(subject, "*")
		}
		list = append(list, subject)
	}
	slices.Sort(list)
	return list
}

// since returns what was published to a stream since it was asked last.
func (w *polled) since(stream string) []jetstream.Msg {
	w.t.Helper()
	var list []jetstream.Msg
	for _, m := range w.held(w.js, stream) {
		meta, err := m.Metadata()
		if err != nil {
			w.t.Fatal(err)
		}
		if meta.Sequence.Stream > w.seen[stream] {
			w.seen[stream] = meta.Sequence.Stream
			list = append(list, m)
		}
	}
	return list
}
