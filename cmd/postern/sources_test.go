package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/receiver/ops"
)

// outside is SNS as a receiver reaches it: through a proxy, which notes every
// host that is dialed.
type outside struct {
	*world
	sns *corastonetest.CertificateHost
}

func newOutside(t *testing.T, names ...string) *outside {
	t.Helper()
	o := &outside{world: newWorld(t, append(names, snsHost)...), sns: &corastonetest.CertificateHost{}}
	o.serve = o.sns
	return o
}

// confirming returns a receiver that finds SNS there. Unasked is what
// confirm_subscriptions is.
func (o *outside) confirming(t *testing.T, unasked bool) *receiver {
	t.Helper()
	r := newReceiver(t, operators)
	for _, name := range []string{"vera", "otto", "ursula"} {
		r.write(name+".token", "token of "+name+" that nobody guesses\n")
	}
	r.write("nats.password", "correct horse battery\n")
	r.write("out.pem", o.ca)
	r.edit("data_dir: data", "data_dir: data\noutbound: {proxy: \""+o.proxy+"\", ca_file: out.pem}")
	if unasked {
		r.edit("signature: pinned", "signature: pinned\n      confirm_subscriptions: true")
	}
	return r
}

// ready starts it and waits until it knows what waits.
func (r *receiver) ready() *receiver {
	r.t.Helper()
	r.startBroker()
	r.known()
	return r
}

// known waits until it knows what waits.
func (r *receiver) known() {
	r.t.Helper()
	eventually(r.t, "it is known what waits", func() bool { return r.as("", "sources", "list").code == exitOK })
}

// source returns the only source as `sources list` shows it.
func (r *receiver) source() ops.SourcePush {
	r.t.Helper()
	got := r.as("", "sources", "list", "-o", "json").want(r.t, "sources list", exitOK)
	list := decoded[[]ops.Source](r.t, got.stdout)
	if len(list) != 1 || list[0].Push == nil {
		r.t.Fatalf("sources are %s", got.stdout)
	}
	return *list[0].Push
}

// asks pushes a confirmation and returns it.
func (r *receiver) asks(node *corastonetest.Node, change func(*corastonetest.Envelope)) corastonetest.Envelope {
	r.t.Helper()
	e := node.Confirmation(corastonetest.TypeSubscriptionConfirmation)
	if change != nil {
		change(&e)
	}
	if status, _ := r.pushed(signed(r.t, e)); status != http.StatusOK {
		r.t.Fatalf("the confirmation was answered %d\n%s", status, r.stderr)
	}
	return e
}

// waits waits until so many confirmations wait, and returns them.
func (r *receiver) waits(n int) []ops.WaitingConfirmation {
	r.t.Helper()
	var waiting []ops.WaitingConfirmation
	eventually(r.t, "confirmations wait or wait no more", func() bool {
		waiting = r.source().Waiting
		return len(waiting) == n
	})
	return waiting
}

// toldOf returns the subjects of events about subscriptions, in order.
func (r *receiver) toldOf(t *testing.T, url string) []string {
	t.Helper()
	var subjects []string
	for _, m := range r.held(connect(t, url), "POSTERN_OPS") {
		if strings.Contains(m.Subject(), ".push_") {
			subjects = append(subjects, strings.TrimPrefix(m.Subject(), "postern.ops.corastone."))
		}
	}
	return subjects
}

// admin returns how to reach the embedded NATS as somebody who may see all.
func (r *receiver) admin() string {
	return strings.Replace(r.broker, "nats://", "nats://ops:correct%20horse%20battery@", 1)
}

func TestOperatorConfirmsWhatWaits(t *testing.T) {
	o := newOutside(t)
	r := o.confirming(t, false).ready()
	node := nodeOf(t, 41)
	r.as("otto.token", "sources", "confirm", "corastone").want(t, "confirm when nothing waits", exitNotFound)

	e := r.asks(node, nil)
	w := r.waits(1)[0]
	asked, err := time.Parse(time.RFC3339, e.Timestamp)
	if err != nil {
		t.Fatal(err)
	}
	if w.Topic != corastonetest.Topic || !w.Asked.Equal(asked) || w.Deadline.Sub(asked) != 48*time.Hour || w.Lapsed {
		t.Errorf("waits: %+v", w)
	}
	status := r.as("", "status").want(t, "status while it waits", exitFailed)
	if !strings.Contains(status.stdout, "run `postern sources confirm corastone`") {
		t.Errorf("status does not say what to do:\n%s", status.stdout)
	}
	findings, _ := r.examined("--ops", r.ops)
	says(t, findings, "warn", "sources.corastone", "waits to be confirmed")
	if r.metric(`postern_push_confirmation_deadline_timestamp_seconds{source="corastone"}`) == "0" {
		t.Error("the metric says that nothing waits")
	}
	if got := o.connected(); len(got) != 0 {
		t.Errorf("nobody was asked, but connected to %q", got)
	}

	for token, code := range map[string]int{"": exitNotAllowed, "vera.token": exitNotAllowed, "ursula.token": exitNotAllowed} {
		r.as(token, "sources", "confirm", "corastone").want(t, "confirm by "+token, code)
	}
	r.as("otto.token", "sources", "confirm", "other").want(t, "confirm of another source", exitNotFound)
	r.as("otto.token", "sources", "confirm", "No/Name").want(t, "confirm of no name", exitUsage)
	got := r.as("otto.token", "sources", "confirm", "corastone", "-o", "json").want(t, "confirm", exitOK)
	want := []ops.Confirmation{{Topic: corastonetest.Topic, Outcome: ops.OutcomeConfirmed}}
	if diff := cmp.Diff(want, decoded[[]ops.Confirmation](t, got.stdout)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	confirmed := []corastonetest.Confirmation{{Host: snsHost, Topic: corastonetest.Topic, Token: e.Token}}
	if diff := cmp.Diff(confirmed, o.sns.Confirmed()); diff != "" {
		t.Errorf("SNS was asked (-want +got):\n%s", diff)
	}
	r.waits(0)
	r.as("otto.token", "sources", "confirm", "corastone").want(t, "confirm again", exitNotFound)
	if diff := cmp.Diff([]string{"push_confirmation_requested", "push_confirmed"}, r.toldOf(t, r.admin())); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"subscription_confirmed otto corastone"}, r.actions()); diff != "" {
		t.Errorf("actions (-want +got):\n%s", diff)
	}
	if status := r.as("", "status").want(t, "status afterwards", exitOK); !strings.Contains(status.stdout, "nothing is wrong") {
		t.Error(status.stdout)
	}
	if strings.Contains(r.stderr.String(), e.Token) || strings.Contains(status.stdout, e.Token) || strings.Contains(r.stderr.String(), "ConfirmSubscription") {
		t.Errorf("the log holds the token, or the URL:\n%s", r.stderr)
	}

	// A repeat of what was confirmed does not wait; another one does.
	if status, _ := r.pushed(signed(t, e)); status != http.StatusOK {
		t.Errorf("a repeat was answered %d", status)
	}
	another := r.asks(node, nil)
	if w := r.waits(1)[0]; !strings.Contains(w.Event, another.MessageID) {
		t.Errorf("%s waits, not the other one", w.Event)
	}
	table := r.as("", "sources", "list").want(t, "sources list", exitOK)
	for _, part := range []string{"corastone", "pinned", "none", "waits until " + w.Deadline.Format("2006")} {
		if !strings.Contains(table.stdout, part) {
			t.Errorf("the list lacks %q:\n%s", part, table.stdout)
		}
	}
}

func TestSubscriptionIsConfirmedUnaskedWhereThatIsConfigured(t *testing.T) {
	o := newOutside(t)
	r := o.confirming(t, true).ready()
	e := r.asks(nodeOf(t, 42), nil)
	eventually(t, "it is confirmed", func() bool { return len(o.sns.Confirmed()) > 0 })
	eventually(t, "that is told", func() bool {
		return slices.Equal(r.toldOf(t, r.admin()), []string{"push_confirmation_requested", "push_confirmed"})
	})
	r.waits(0)
	if got := o.connected(); !slices.Equal(got, []string{"CONNECT " + snsHost + ":443"}) {
		t.Errorf("connected to %q", got)
	}
	if got := r.metric(`postern_push_confirmations_total{outcome="confirmed",source="corastone"}`); got != "1" {
		t.Errorf("counted %q", got)
	}
	if len(r.actions()) != 0 {
		t.Errorf("nobody acted, but %q", r.actions())
	}
	// Whoever knows the stream knows it all after a restart.
	r.kill()
	r.ready()
	if status, _ := r.pushed(signed(t, e)); status != http.StatusOK {
		t.Errorf("a repeat was answered %d", status)
	}
	r.waits(0)
	if got := o.sns.Confirmed(); len(got) != 1 {
		t.Errorf("confirmed %d times", len(got))
	}
}

// TestConfirmationThatWaitsSurvivesARestart: between what asks and what
// confirms the receiver is killed, and a reload later lets it confirm.
func TestConfirmationThatWaitsSurvivesARestart(t *testing.T) {
	o := newOutside(t)
	r := o.confirming(t, false).ready()
	e := r.asks(nodeOf(t, 43), nil)
	before := r.waits(1)
	r.kill()
	r.ready()
	if diff := cmp.Diff(before, r.waits(1)); diff != "" {
		t.Errorf("waits after a restart (-before +after):\n%s", diff)
	}
	r.edit("signature: pinned", "signature: pinned\n      confirm_subscriptions: true")
	r.as("otto.token", "reload").want(t, "reload", exitOK)
	r.waits(0)
	if got := o.sns.Confirmed(); len(got) != 1 || got[0].Token != e.Token {
		t.Errorf("confirmed %+v", got)
	}
}

func TestTokenThatLapsedIsTriedOnceAndShown(t *testing.T) {
	o := newOutside(t)
	r := o.confirming(t, true).ready()
	e := r.asks(nodeOf(t, 44), func(e *corastonetest.Envelope) { o.sns.Lapse(e.Token) })
	eventually(t, "it is refused", func() bool {
		return r.metric(`postern_push_confirmations_total{outcome="refused",source="corastone"}`) == "1"
	})
	w := r.waits(1)[0]
	if w.Tries != 1 || !strings.Contains(w.Failure, "400") || strings.Contains(w.Failure, e.Token) {
		t.Errorf("waits: %+v", w)
	}
	if status := r.as("", "status").want(t, "status", exitFailed); !strings.Contains(status.stdout, "400") {
		t.Errorf("status does not tell it:\n%s", status.stdout)
	}
	r.as("otto.token", "sources", "confirm", "corastone").want(t, "confirm what has lapsed", exitFailed)
	if n := len(o.sns.Asked()); n != 2 {
		t.Errorf("SNS was asked %d times, want once, and once for the operator", n)
	}
	if strings.Contains(r.stderr.String(), e.Token) {
		t.Error("the log holds the token")
	}
	if diff := cmp.Diff([]string{"push_confirmation_requested"}, r.toldOf(t, r.admin())); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestConfirmationIsTriedAgainWhileSNSIsAway(t *testing.T) {
	o := newOutside(t)
	o.sns.Fail(http.StatusServiceUnavailable)
	r := o.confirming(t, true).ready()
	r.asks(nodeOf(t, 45), nil)
	eventually(t, "it fails", func() bool {
		return r.metric(`postern_push_confirmations_total{outcome="failed",source="corastone"}`) == "1"
	})
	if w := r.waits(1)[0]; w.Tries != 1 || !strings.Contains(w.Failure, "503") {
		t.Errorf("waits: %+v", w)
	}
	r.as("otto.token", "sources", "confirm", "corastone").want(t, "confirm without SNS", exitUnavailable)
	o.sns.Fail(0)
	r.waits(0)
	if got := o.sns.Confirmed(); len(got) != 1 {
		t.Errorf("confirmed %d times", len(got))
	}
}

// TestEndOfASubscriptionAlarms until it is confirmed again.
func TestEndOfASubscriptionAlarms(t *testing.T) {
	o := newOutside(t)
	r := o.confirming(t, false).ready()
	node := nodeOf(t, 48)
	e := node.Confirmation(corastonetest.TypeUnsubscribeConfirmation)
	if status, _ := r.pushed(signed(t, e)); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	eventually(t, "the end is known", func() bool { return len(r.source().Ended) == 1 })
	ended := r.source().Ended[0]
	if ended.Topic != corastonetest.Topic || e.Timestamp != ended.Ended.Format(corastonetest.TimeLayout) {
		t.Errorf("ended: %+v", ended)
	}
	text := "the subscription to " + corastonetest.Topic + " ended at " + e.Timestamp
	if status := r.as("", "status").want(t, "status", exitFailed); !strings.Contains(status.stdout, text) {
		t.Errorf("status does not say %q:\n%s", text, status.stdout)
	}
	findings, code := r.examined("--ops", r.ops)
	says(t, findings, "fail", "sources.corastone", text)
	if code != exitFailed {
		t.Errorf("doctor: exit code %d", code)
	}
	if r.metric(`postern_push_ended_timestamp_seconds{source="corastone"}`) == "0" {
		t.Error("the metric says that none ended")
	}
	if got := o.connected(); len(got) != 0 {
		t.Errorf("connected to %q", got)
	}
	// What SNS tries again within an hour proves nothing.
	r.pushed(signed(t, node.Notification(node.Process("createInvestment", "success"))))
	r.relayed("published", 2)
	if len(r.source().Ended) != 1 {
		t.Error("a push that may be older than the end ends the alarm")
	}
	r.asks(node, nil)
	r.waits(1)
	r.as("otto.token", "sources", "confirm", "corastone").want(t, "confirm", exitOK)
	eventually(t, "the end is over", func() bool { return len(r.source().Ended) == 0 })
	r.as("", "status").want(t, "status afterwards", exitOK)
}
