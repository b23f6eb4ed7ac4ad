package concedus_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// onBoth has a contract on the agent's list and an issuer's, for long.
func (w *world) onBoth(key string) {
	w.Helper()
	w.server.Enter("", w.contract(key))
	w.server.Enter(owner, w.contract(key))
	w.tells("released agent "+key, "submitted_to_issuer issuer-77 "+key)
	w.pass(24 * time.Hour)
	w.quiet(4)
}

// TestAListThatNobodyCanReadProvesNothing: what it showed before is no proof, nor
// that it doesn't show it any more when it can be read again.
func TestAListThatNobodyCanReadProvesNothing(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.onBoth("A-1")
		fault := concedustest.Fault{Endpoint: concedustest.EndpointIssuerList, Kind: concedustest.Broken, Times: 30}
		w.server.Inject(fault)
		w.pass(time.Hour)
		w.server.Leave("A-1")
		w.told(w.round())
		w.told(w.round(), "absent agent A-1")
		for w.server.Pending() > 0 {
			w.told(w.round())
		}
		w.quiet(1)
		w.tells("absent issuer-77 A-1")
		w.quiet(3)
		w.pass(72 * time.Hour)
		w.tells("undetermined agent A-1", "undetermined issuer-77 A-1")
	})
}

// TestAListThatOthersReadProvesWhatItShows: another receiver has the lease on an
// issuer's list, or its poller fails; then it is read once more to be sure.
func TestAListThatOthersReadProvesWhatItShows(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.onBoth("A-1")
		w.server.Change("A-1", func(c *concedustest.Contract) { c.Product = "North Bond II" })
		w.tells("changed agent A-1", "changed issuer-77 A-1")
		w.pass(time.Hour)
		w.server.Submit("A-1", owner)
		mine := []string{concedus.RoleAgentList, concedus.RoleCompliance}
		w.told(w.round(mine...))
		before := w.server.Count(concedustest.EndpointIssuerList)
		_, data := w.only(w.round(mine...), schemas.SubscriptionAgentApproved)
		if data.Evidence.By != "issuer_list" || *data.Evidence.Owner != owner {
			t.Errorf("evidence %+v", data.Evidence)
		}
		w.told(w.round(mine...))
		if n := w.server.Count(concedustest.EndpointIssuerList) - before; n != 1 {
			t.Errorf("the issuer's list was asked for %d times, want 1", n)
		}
	})
}

// TestAListThatIsNotConfiguredProvesNothing: nobody would ever learn that it
// doesn't show a contract any more.
func TestAListThatIsNotConfiguredProvesNothing(t *testing.T) {
	for name, configured := range map[string]bool{"configured": true, "removed": false} {
		t.Run(name, func(t *testing.T) {
			network := both{}
			list := &sight{}
			if err := poller(t, concedus.RoleIssuerList+"-"+owner, network).Scan(t.Context(), list); err != nil || len(list.seen) != 1 {
				t.Fatalf("%d contracts, %v", len(list.seen), err)
			}
			state := list.seen[0].State
			s := settings(t)
			if !configured {
				s.Issuers = nil
			}
			source, err := concedus.Platform().Open("concedus", s, handlers.Means{
				Client: &http.Client{Transport: network}, Pseudonym: handlerstest.Pseudonym,
			})
			if err != nil {
				t.Fatal(err)
			}
			scan := &sight{key: "x", record: handlers.Record{Key: "x", Parts: map[string]handlers.Part{
				concedus.RoleAgentList:  {State: state, Absent: true, Since: received},
				concedus.RoleIssuerList: {State: state, Since: received.Add(-48 * time.Hour)},
			}}}
			if err := source.Pollers[len(source.Pollers)-1].Scan(t.Context(), scan); err != nil {
				t.Fatal(err)
			}
			approved := slices.ContainsFunc(scan.seen, func(seen handlers.Sighting) bool {
				return strings.Contains(string(seen.State), "agent_approved")
			})
			if approved != configured {
				t.Errorf("approved: %v", approved)
			}
		})
	}
}

// both answers as lists and compliance statuses do.
type both struct{}

func (both) RoundTrip(r *http.Request) (*http.Response, error) {
	body := `{"summary":{"itemsCount":1},"contracts":[{"key":"A-1","product":"North Bond","share":"1200"}]}`
	if strings.Contains(r.URL.Path, "/status/") {
		body = `{"status":100}`
	}
	return answers{code: 200, body: []byte(body)}.RoundTrip(r)
}
