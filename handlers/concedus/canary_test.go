package concedus_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// TestNothingPersonalIsOpen: names, keys, notes, and what is text where none
// should be are in no event that everybody may read, and secrets nowhere at
// all, whatever happens.
func TestNothingPersonalIsOpen(t *testing.T) {
	birds := canaries.Some(7, 24)
	next := func() string {
		bird := birds[0].Text
		birds = birds[1:]
		return bird
	}
	ear := canaries.NewEar(birds)
	password, notes := next(), next()
	secret := canaries.NewEar([]canaries.Canary{{Kind: "password", Text: password}, {Kind: "notes", Text: notes}})
	s := settings(t)
	s.Agent.Password = handlers.NewSecret(password)
	within(t, s, func(w *world) {
		w.server.Agent("agent-user", password)
		contract := func() concedustest.Contract {
			c := w.contract(next())
			c.InvestorName = next()
			c.More = map[string]string{"remark": fmt.Sprintf("%q", next()), "person": fmt.Sprintf(`{"name":%q}`, next())}
			return c
		}
		tokens := map[string]bool{}
		listen := func(events []schemas.Event) {
			w.Helper()
			for _, token := range w.server.Secrets() {
				tokens[token] = true
			}
			open, twins := "", ""
			for _, e := range events {
				messages, err := e.Messages()
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range messages {
					if m.Stream == schemas.StreamRestricted {
						twins += string(m.Body)
						m.Body = nil
					}
					open += fmt.Sprintf("%s %s %v %s\n", m.Subject, m.ID, m.Header, m.Body)
				}
			}
			if err := w.watch.Err(); err != nil {
				open += err.Error()
			}
			for _, heard := range ear.Hear([]byte(open)) {
				t.Errorf("heard %s in what everybody may read", heard)
			}
			hidden := twins + string(w.watch.Stored())
			for _, heard := range secret.Hear([]byte(hidden)) {
				t.Errorf("heard %s in what is restricted or kept", heard)
			}
			for token := range tokens {
				if strings.Contains(open+hidden, token) {
					t.Error("a token is told or kept")
				}
			}
		}
		a, b := contract(), contract()
		w.server.Release(a)
		w.server.Enter(owner, b)
		w.server.Note(a.Key, 100, next(), notes)
		w.server.Note(b.Key, 200, "2026-01-02T03:04:05", notes)
		listen(w.round())
		w.server.Change(a.Key, func(c *concedustest.Contract) { c.Signed, c.Type, c.Updated = next(), next(), next() })
		w.server.Change(b.Key, func(c *concedustest.Contract) { c.InvestorName, c.Created = next(), next() })
		listen(w.round())
		w.server.Change(b.Key, func(c *concedustest.Contract) { c.Share = fmt.Sprintf("%q", next()) })
		w.server.Note(a.Key, 300, next(), notes)
		w.server.Note(b.Key, 301, next(), notes)
		w.pass(15 * time.Minute)
		listen(w.round())
		w.server.Leave(a.Key)
		w.server.Leave(b.Key)
		var told []schemas.Event
		for range 4 {
			events := w.round()
			listen(events)
			told = append(told, events...)
		}
		var kinds []string
		for _, e := range told {
			kinds = append(kinds, e.Type.Event())
		}
		if got := strings.Join(kinds, " "); strings.Count(got, "absent") != 2 || strings.Count(got, "rejected") != 2 {
			t.Errorf("told %s", got)
		}
		for _, kind := range []concedustest.Kind{concedustest.Broken, concedustest.HTML, concedustest.Truncated, concedustest.Reset, concedustest.Hang} {
			w.server.Release(a)
			for _, endpoint := range []string{concedustest.EndpointAgentList, concedustest.EndpointIssuerList, concedustest.EndpointStatus, concedustest.EndpointRefresh} {
				w.server.Inject(concedustest.Fault{Endpoint: endpoint, Kind: kind, Times: 2})
			}
			w.pass(15 * time.Minute)
			listen(w.round())
			listen(w.round())
		}
	})
}
