package main

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
)

func bond(key string) concedustest.Contract {
	return concedustest.Contract{Key: key, Product: "North Bond", InvestorName: "Probst Dora", Share: "1200", Agio: "36.00", Signed: "2026-02-03"}
}

// tells checks what was published since the last time.
func (w *polled) tells(what string, want map[string][]string) {
	w.t.Helper()
	w.settled()
	for _, stream := range []string{"POSTERN_EVENTS", "POSTERN_RESTRICTED", "POSTERN_QUARANTINE", "POSTERN_OPS"} {
		if want[stream] == nil {
			want[stream] = []string{}
		}
		if diff := cmp.Diff(want[stream], w.told(stream)); diff != "" {
			w.t.Errorf("%s: %s (-want +got):\n%s", what, stream, diff)
		}
	}
}

func (w *polled) quiet(what string) {
	w.t.Helper()
	w.tells(what, map[string][]string{})
}

// Every platform is polled by one receiver. What happens at them is told once,
// and nothing else ever is, whatever becomes of the receiver.
func TestWhatHappensAtPolledPlatformsIsToldOnce(t *testing.T) {
	t.Parallel()
	w := newPolled(t)
	w.concedus.Release(bond("N-CONTRACT-0001-A"))
	early := w.tokeny.Add(firstToken, tokenytest.Investor{Email: "dora@probst.example", Name: "Dora Probst"})
	other := w.tokeny.Add(secondToken, tokenytest.Investor{Email: "egon@probst.example", Name: "Egon Probst", Status: "qualified"})
	grant := accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "5930", AccessType: "indication.view"}
	w.cas.Grant(w.tranche, grant)
	w.names[early], w.names[other] = "dora", "egon"
	w.begin()

	w.tells("the first scans", map[string][]string{
		"POSTERN_EVENTS": {
			"cas.access.created.tranche-v1-tranche", "cas.access.created.tranche-v2-tranche",
			"cas.access.granted.tranche-4821-5930-indication-view",
			"concedus.subscription.released.agent-*",
			"fund-one.investor.added.first-dora", "fund-one.investor.added.second-egon", "fund-one.investor.qualified.second-egon",
		},
		"POSTERN_RESTRICTED": {"concedus.subscription.released.agent-*"},
	})
	w.quiet("nothing happened")
	w.bootstrapped(7)

	w.concedus.Release(bond("N-CONTRACT-0002-B"))
	w.tokeny.SetStatus(firstToken, early, "qualified")
	w.cas.OpenBook(w.tranche)
	w.tells("released, qualified, opened", map[string][]string{
		"POSTERN_EVENTS": {
			"cas.offering.book_opened.tranche",
			"concedus.subscription.released.agent-*",
			"fund-one.investor.qualified.first-dora", "fund-one.investor.status_changed.first-dora",
		},
		"POSTERN_RESTRICTED": {"concedus.subscription.released.agent-*"},
	})

	w.concedus.Submit("N-CONTRACT-0002-B", "77")
	w.tokeny.SetWallet(firstToken, early, w.tokeny.Wallet(), "USER_MANAGED")
	w.cas.Release(w.tranche, true)
	w.tells("submitted, allocations released", map[string][]string{
		"POSTERN_EVENTS": {
			"cas.offering.allocations_released.tranche",
			"concedus.subscription.absent.agent-*", "concedus.subscription.agent_approved.agent-*", "concedus.subscription.submitted_to_issuer.issuer-77-*",
			"fund-one.investor.wallet_changed.first-dora",
		},
		"POSTERN_RESTRICTED": {
			"concedus.subscription.absent.agent-*", "concedus.subscription.agent_approved.agent-*", "concedus.subscription.submitted_to_issuer.issuer-77-*",
		},
	})

	w.kill()
	w.begin()
	w.quiet("it was killed")

	// What happens while nobody looks is found afterwards, once.
	w.kill()
	w.concedus.Reject("N-CONTRACT-0001-A", 301)
	w.concedus.Leave("N-CONTRACT-0002-B")
	w.tokeny.Remove(secondToken, other)
	w.cas.Revoke(w.tranche, grant)
	w.begin()
	w.tells("all left while it was dead", map[string][]string{
		"POSTERN_EVENTS": {
			"cas.access.revoked.tranche-4821-5930-indication-view",
			"concedus.subscription.absent.agent-*", "concedus.subscription.absent.issuer-77-*",
			"concedus.subscription.compliance_changed.agent-*", "concedus.subscription.rejected.agent-*",
			"fund-one.investor.absent.second-egon", "fund-one.investor.disqualified.second-egon",
		},
		"POSTERN_RESTRICTED": {
			"concedus.subscription.absent.agent-*", "concedus.subscription.absent.issuer-77-*",
			"concedus.subscription.compliance_changed.agent-*", "concedus.subscription.rejected.agent-*",
		},
	})
	if code := w.terminate(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, w.stderr)
	}
	w.begin()
	w.quiet("it was started again")
	w.discreet()
}

// bootstrapped checks that all events so far say that they are the first ones.
func (w *polled) bootstrapped(n int) {
	w.t.Helper()
	messages := w.held(w.js, "POSTERN_EVENTS")
	if len(messages) != n {
		w.t.Errorf("%d events", len(messages))
	}
	for _, m := range messages {
		var body struct {
			ID   string `json:"id"`
			Data struct {
				Bootstrap bool  `json:"bootstrap"`
				Revision  int64 `json:"revision"`
			} `json:"data"`
		}
		if err := json.Unmarshal(m.Data(), &body); err != nil || !body.Data.Bootstrap || body.Data.Revision != 1 {
			w.t.Errorf("%s: %v\n%s", m.Subject(), err, m.Data())
		}
		if got := m.Headers().Get("postern-channel"); got != "poll" || m.Headers().Get("Nats-Msg-Id") != body.ID {
			w.t.Errorf("%s came by %q as %s", m.Subject(), got, m.Headers().Get("Nats-Msg-Id"))
		}
	}
}

// discreet checks that neither the log nor what everybody may read says who
// somebody is, or what opens a platform.
func (w *polled) discreet() {
	w.t.Helper()
	secrets := append(w.concedus.Secrets(), tokenyPassword, casSecret,
		"Probst", "probst.example", "N-CONTRACT-", "agent@fund.example", "/v2/compliance/", "/servicing/api")
	public := w.stderr.String()
	for _, m := range w.held(w.js, "POSTERN_EVENTS") {
		public += m.Subject() + string(m.Data())
	}
	for _, secret := range secrets {
		if i := strings.Index(public, secret); i >= 0 {
			w.t.Errorf("%q is told to everybody: %s", secret, public[max(0, i-200):min(len(public), i+100)])
		}
	}
}
