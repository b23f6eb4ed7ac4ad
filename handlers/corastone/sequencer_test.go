package corastone_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// asked is a source that asks a ledger, and what it was told.
type asked struct {
	*handlerstest.Watch
	ledger *corastonetest.Ledger
	node   *corastonetest.Node
	outbox []corastonetest.Entry // what the ledger notified of and nobody has pushed
	// alter changes what an endpoint answers; nil: nothing.
	alter func(path string, body []byte) []byte
	t     *testing.T
}

func ask(t *testing.T) *asked {
	t.Helper()
	a := &asked{t: t, node: corastonetest.NewNode(signer(t), corastonetest.Topic, 1)}
	// The ledger's time is that of the watch: what happens is dated by it.
	a.ledger = corastonetest.NewLedger(corastonetest.Options{
		Now:  func() time.Time { return a.Now() },
		Tell: func(e corastonetest.Entry) { a.outbox = append(a.outbox, e) },
	})
	server := httptest.NewServer(a.ledger)
	t.Cleanup(server.Close)
	t.Cleanup(server.Client().CloseIdleConnections)
	s := settings(t)
	s.API = &corastone.API{
		URL: server.URL, OrgID: corastonetest.OurOrg, ClientID: corastonetest.ClientID,
		ClientSecret: handlers.NewSecret(corastonetest.ClientSecret),
	}
	client := server.Client()
	client.Transport = known{client.Transport, a}
	a.Watch = handlerstest.NewWatch(t, corastone.Platform(), s, client)
	return a
}

// known says who asks, as the receiver's client does: the node's firewall
// refuses those who don't.
type known struct {
	next http.RoundTripper
	a    *asked
}

func (k known) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "postern/test")
	res, err := k.next.RoundTrip(r)
	if err != nil || k.a.alter == nil {
		return res, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(k.a.alter(r.URL.Path, body))), -1
	return res, nil
}

// read runs the sequencer's poller and returns what it told.
func (a *asked) read() []string {
	a.t.Helper()
	a.Advance(time.Minute)
	var ids []string
	for _, e := range a.Round("sequencer") {
		ids = append(ids, e.ID)
	}
	if err := a.Err(); err != nil {
		a.t.Fatal(err)
	}
	return ids
}

// facts are the ids that the ledger's transactions have, as they ended.
func (a *asked) facts() []string {
	var ids []string
	for _, p := range a.ledger.Processes() {
		ids = append(ids, "corastone:process:"+p.ProcessID+":"+strings.ToLower(p.Status))
	}
	return ids
}

func TestTheSequencerTellsWhatWasMissed(t *testing.T) {
	a := ask(t)
	before, err := a.ledger.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	old := a.facts()
	a.Advance(time.Hour)
	if got := a.read(); got != nil {
		t.Errorf("what was before it was switched on is told: %v", got)
	}
	if _, err := a.ledger.Subscribe(before, corastonetest.Subscription{Amount: "1200.00"}); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(a.read(), a.read())
	var want []string
	for _, id := range a.facts() {
		if !slices.Contains(old, id) {
			want = append(want, id)
		}
	}
	processes := slices.DeleteFunc(slices.Clone(got), func(id string) bool { return !strings.Contains(id, ":process:") })
	slices.Sort(processes)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Compact(processes)); diff != "" {
		t.Errorf("processes that were told (-want +got):\n%s", diff)
	}
	if len(processes) != len(want) {
		t.Errorf("told twice: %v", got)
	}
	if got := a.read(); got != nil {
		t.Errorf("told again: %v", got)
	}
	a.Restart()
	if got := a.read(); got != nil {
		t.Errorf("told again after a restart: %v", got)
	}
}

// It reads up to half an interval ago: what happened since may be on its way.
func TestAPushHasItsChanceBeforeThePollerTells(t *testing.T) {
	a := ask(t)
	a.Advance(time.Hour)
	a.read()
	if _, err := a.ledger.Fund(corastonetest.Security{}); err != nil {
		t.Fatal(err)
	}
	a.Advance(29 * time.Second)
	if events := a.Round("sequencer"); len(events) > 0 || a.Err() != nil {
		t.Errorf("told after 29 seconds: %v, with %v", names(events), a.Err())
	}
	if events := a.push(1); len(events) == 0 {
		t.Error("the push told nothing")
	}
	if got := a.read(); slices.ContainsFunc(got, func(id string) bool {
		return strings.HasSuffix(id, ":success") && strings.Contains(id, a.ledger.Processes()[2].ProcessID)
	}) {
		t.Errorf("what was pushed is told again: %v", got)
	}
}

func TestTheSequencerAsksUntilATransactionEnds(t *testing.T) {
	a := ask(t)
	fund, err := a.ledger.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	a.read()
	held, err := a.ledger.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"}, corastonetest.Held())
	if err != nil {
		t.Fatal(err)
	}
	a.Advance(time.Minute)
	a.read()
	// Long after what it reads again.
	a.Advance(3 * time.Hour)
	a.read()
	if _, err := a.ledger.Finish(held.OrchestrationID); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(a.read(), a.read())
	if !slices.ContainsFunc(got, func(id string) bool { return id == "corastone:process:"+held.ProcessIDs[0]+":success" }) {
		t.Errorf("the end of %s is not told: %v", held.ProcessIDs[0], got)
	}
}

func TestWhatIsGrantedLaterIsToldThen(t *testing.T) {
	a := ask(t)
	fund, err := a.ledger.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	a.read()
	hidden, err := a.ledger.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"}, corastonetest.Hidden())
	if err != nil {
		t.Fatal(err)
	}
	a.Advance(5 * time.Hour) // far behind the mark
	if got := slices.Concat(a.read(), a.read()); slices.ContainsFunc(got, func(id string) bool { return strings.Contains(id, hidden.ProcessIDs[0]) }) {
		t.Fatalf("what is hidden is told: %v", got)
	}
	if err := a.ledger.Grant("", hidden.ProcessIDs[0]); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(a.read(), a.read())
	if n := len(slices.DeleteFunc(slices.Clone(got), func(id string) bool { return id != "corastone:process:"+hidden.ProcessIDs[0]+":success" })); n != 1 {
		t.Errorf("what was granted is told %d times: %v", n, got)
	}
}

func TestOfferingsAndAssignmentsAreToldAsTheyChange(t *testing.T) {
	a := ask(t)
	fund, err := a.ledger.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	types := func(events []schemas.Event) []string {
		var list []string
		for _, e := range events {
			if e.Key == fund {
				list = append(list, string(e.Type))
			}
		}
		return list
	}
	round := func() []string {
		a.Advance(6 * time.Hour)
		got := types(a.Round("securities", "exclusivity", "assets"))
		if err := a.Err(); err != nil {
			t.Fatal(err)
		}
		return got
	}
	steps := []struct {
		name string
		do   func(string, ...corastonetest.How) (corastonetest.Receipt, error)
		want []string
	}{
		{"at first", nil, []string{"offering.opened", "offering.assignment_accepted"}},
		{"paused", a.ledger.Pause, []string{"offering.paused"}},
		{"resumed", a.ledger.Resume, []string{"offering.resumed"}},
		{"completed", a.ledger.Complete, []string{"offering.completed"}},
		{"approved", a.ledger.ApproveRevert, []string{"offering.revert_approved"}},
		{"reverted", a.ledger.RevertToActive, []string{"offering.reverted_to_active"}},
		{"nothing", nil, nil},
	}
	for _, step := range steps {
		if step.do != nil {
			if _, err := step.do(fund); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
		}
		if diff := cmp.Diff(step.want, round()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}
