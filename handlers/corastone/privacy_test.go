package corastone_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// Names of investors and accounts, messages, the names of files, what is wrong
// with a page, free text and the API's secrets are told to nobody but the
// readers of twins; secrets not even to them.
func TestNobodyHearsOfInvestorsMessagesAndSecrets(t *testing.T) {
	planted := canaries.Some(11, 12)
	text := func(i int) string { return planted[i].Text }
	secrets := []canaries.Canary{
		{Kind: "secret", Text: corastonetest.ClientSecret},
		{Kind: "signer", Text: "Sam Zeichner"},
		{Kind: "signer", Text: "sam.zeichner@standin.example"},
	}
	open, closed := canaries.NewEar(append(slices.Clone(planted), secrets...)), canaries.NewEar(secrets[:1])
	heard := 0
	a := ask(t)
	// Whatever object the API shows has members that nobody knows.
	a.alter = func(_ string, body []byte) []byte {
		var tree any
		if json.Unmarshal(body, &tree) != nil {
			return body
		}
		litter(tree, planted)
		b, err := json.Marshal(tree, json.Deterministic(true))
		if err != nil {
			t.Error(err)
		}
		return b
	}
	listen := func(events []schemas.Event) {
		t.Helper()
		for _, e := range events {
			messages, err := e.Messages()
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range messages {
				ear, body := open, m.Body
				if m.Stream == schemas.StreamRestricted {
					heard += len(open.Hear(m.Body))
					if h := closed.Hear(m.Body); h != nil {
						t.Errorf("%v on a twin of %s", h, m.ID)
					}
					body = nil
				}
				if h := ear.Hear(fmt.Appendf(nil, "%s %s %v %s", m.Subject, m.ID, m.Header, body)); h != nil {
					t.Errorf("%v in %s on %s: %s", h, m.ID, m.Stream, body)
				}
			}
		}
	}
	hear := func() {
		t.Helper()
		events := append(a.push(1), a.Follow()...)
		listen(append(events, a.poll()...))
		listen(a.follow())
	}
	fund := a.fund()
	lot := a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{Investor: text(0), Account: text(1)}))
	hear()
	a.done(a.ledger.RequestRemediation(lot, []corastonetest.Reason{{
		Category: text(2), Message: text(3),
		Documents: []corastonetest.Document{{Name: text(4), Pages: []corastonetest.Page{{Number: 1, Description: text(5)}}}},
	}}))
	hear()
	a.done(a.ledger.Remediate(lot))
	a.done(a.ledger.RequestRemediation(lot, nil))
	hear()
	a.done(a.ledger.AddReasons(lot, []corastonetest.Reason{{Category: "EC001", Message: text(6)}}))
	hear()
	if _, err := a.ledger.Subscribe(fund, corastonetest.Subscription{Investor: text(7)}, corastonetest.Fails("IV0010")); err != nil {
		t.Fatal(err)
	}
	hear()
	a.done(a.ledger.Complete(fund))
	hear()
	// What fails says nothing of it, either.
	for _, kind := range []corastonetest.Kind{corastonetest.Truncated, corastonetest.Broken, corastonetest.Unauthorized, corastonetest.WAF} {
		a.ledger.Inject(corastonetest.Fault{Kind: kind, Until: a.Now().Add(time.Minute)})
		a.done(a.ledger.Review(a.another(fund)))
		listen(append(a.push(1), a.Follow()...))
		listen(a.Round())
		if err := a.Err(); err == nil {
			t.Errorf("nothing failed with %s", kind)
		} else if h := open.Hear([]byte(err.Error())); h != nil {
			t.Errorf("%v in an error: %v", h, err)
		}
		a.Advance(2 * time.Minute)
		a.Restart()
	}
	a.follow()
	if h := open.Hear(a.Logged()); h != nil {
		t.Errorf("%v in the log", h)
	}
	if heard == 0 {
		t.Error("no twin has anything of it: nothing was planted")
	}
}

// another returns a subscription of an offering that became active again.
func (a *asked) another(fund string) string {
	a.t.Helper()
	if a.ledger.SecurityStatus(fund) == "completed" {
		a.done(a.ledger.ApproveRevert(fund))
		a.done(a.ledger.RevertToActive(fund))
	}
	return a.done(a.ledger.Subscribe(fund, corastonetest.Subscription{}))
}

// litter puts canaries into every object of a tree, as members and as names of
// members.
func litter(tree any, planted []canaries.Canary) {
	switch v := tree.(type) {
	case map[string]any:
		for _, member := range v {
			litter(member, planted)
		}
		c := planted[8+len(v)%4].Text
		v["remark"], v["remarks"], v[c] = c, []any{map[string]any{"text": c}}, true
	case []any:
		for _, element := range v {
			litter(element, planted)
		}
	}
}
