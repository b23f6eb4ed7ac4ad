package corastone_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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
	ledger   *corastonetest.Ledger
	node     *corastonetest.Node
	outbox   []corastonetest.Entry // what the ledger notified of and nobody has pushed
	timeless bool                  // the ledger's answers have no date
	ahead    time.Duration         // how far our clock is ahead of the ledger's
	// alter changes what an endpoint answers; nil: nothing.
	alter func(path string, body []byte) []byte
	// rewrite changes what an endpoint is asked; nil: nothing.
	rewrite func(path string, query url.Values)
	t       *testing.T
}

func ask(t *testing.T) *asked {
	t.Helper()
	a := &asked{t: t, node: corastonetest.NewNode(signer(t), corastonetest.Topic, 1)}
	// The ledger's time is that of the watch, unless a test says otherwise: what
	// happens is dated by it.
	a.ledger = corastonetest.NewLedger(corastonetest.Options{
		Now:  func() time.Time { return a.Now().Add(-a.ahead) },
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
	if k.a.rewrite != nil {
		query := r.URL.Query()
		k.a.rewrite(r.URL.Path, query)
		at := *r.URL
		at.RawQuery = query.Encode()
		r.URL = &at
	}
	res, err := k.next.RoundTrip(r)
	if err == nil && k.a.timeless {
		res.Header.Del("Date")
	}
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

// TestNothingIsLostWhenOurClockIsWrong: it may be ahead for days and be set
// right, whether the platform says what time it is or not.
func TestNothingIsLostWhenOurClockIsWrong(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		timeless bool
		jump     func(a *asked, d time.Duration)
	}{
		"ours":               {false, func(a *asked, d time.Duration) { a.Advance(d); a.ahead += d }},
		"ours, without date": {true, func(a *asked, d time.Duration) { a.Advance(d); a.ahead += d }},
		"both":               {false, func(a *asked, d time.Duration) { a.Advance(d) }},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			a.timeless = c.timeless
			fund, err := a.ledger.Fund(corastonetest.Security{})
			if err != nil {
				t.Fatal(err)
			}
			a.Advance(time.Hour)
			a.read()
			told := func(when string) {
				t.Helper()
				r, err := a.ledger.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"})
				if err != nil {
					t.Fatal(err)
				}
				ids := slices.Concat(a.read(), a.read(), a.read())
				if want := "corastone:process:" + r.ProcessIDs[0] + ":success"; !slices.Contains(ids, want) {
					t.Errorf("%s: it is not told: %v", when, ids)
				}
			}
			told("before")
			c.jump(a, day)
			told("ahead")
			a.Advance(day / 2)
			told("still ahead")
			c.jump(a, -day)
			told("set right")
		})
	}
}

// TestASequencerThatBeginsInTheFutureLosesNothing: our clock is ahead when it is
// started first.
func TestASequencerThatBeginsInTheFutureLosesNothing(t *testing.T) {
	a := ask(t)
	a.ahead = 24 * time.Hour
	fund, err := a.ledger.Fund(corastonetest.Security{})
	if err != nil {
		t.Fatal(err)
	}
	a.Advance(time.Hour)
	a.read()
	r, err := a.ledger.Subscribe(fund, corastonetest.Subscription{Amount: "1200.00"})
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Concat(a.read(), a.read(), a.read())
	if want := "corastone:process:" + r.ProcessIDs[0] + ":success"; !slices.Contains(ids, want) {
		t.Errorf("it is not told: %v", ids)
	}
}

// TestAPageMayHaveFewerRowsThanWereAskedFor: a node that gives fewer is read to
// its end, and one that shows all on one page, whichever is asked for, is read.
func TestAPageMayHaveFewerRowsThanWereAskedFor(t *testing.T) {
	for name, rewrite := range map[string]func(url.Values){
		"fewer": func(q url.Values) {
			if q.Has("pageSize") {
				q.Set("pageSize", "2")
			}
		},
		"one page": func(q url.Values) { q.Del("offset") },
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(t)
			a.rewrite = func(_ string, q url.Values) { rewrite(q) }
			a.read()
			want := map[string]string{}
			for range 5 {
				fund, err := a.ledger.Fund(corastonetest.Security{})
				if err != nil {
					t.Fatal(err)
				}
				want[fund] = "offering.opened"
			}
			processes := len(a.ledger.Processes())
			a.Advance(6 * time.Hour)
			got := map[string]string{}
			for _, e := range a.Round("securities") {
				got[e.Key] = string(e.Type)
			}
			if diff := cmp.Diff(want, got); diff != "" || a.Err() != nil {
				t.Errorf("offerings (-want +got):\n%s%v", diff, a.Err())
			}
			told := map[string]bool{}
			for _, id := range slices.Concat(a.read(), a.read()) {
				if strings.Contains(id, ":process:") {
					told[id] = true
				}
			}
			if len(told) != processes {
				t.Errorf("%d processes are told, want %d", len(told), processes)
			}
		})
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
