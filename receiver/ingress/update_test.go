package ingress_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
)

// role is a webhook that vouches for everything, in a role of its own.
type role string

func (w role) Authenticate(r handlers.Request) (handlers.Authentic, error) {
	return handlers.Authentic{Role: string(w), TransportID: string(r.Body), Content: sha256.Sum256(r.Body)}, nil
}

// pushing is a source that one caller may push to.
func pushing(name, caller string, w handlers.Webhook) handlers.Source {
	return handlers.Source{Name: name, Platform: "words", Push: &handlers.Push{
		Allow: []netip.Prefix{netip.MustParsePrefix(caller + "/32")}, Webhook: w,
	}}
}

// seriesOf returns how many series a source has of each metric.
func (g *gate) seriesOf(t *testing.T, source string) map[string]int {
	t.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "source" && l.GetValue() == source {
					series[f.GetName()]++
				}
			}
		}
	}
	return series
}

func TestUpdateReplacesSourcesListsAndWebhooks(t *testing.T) {
	g := open(t, nil)
	kept, moved := g.dial(t, friend), g.dial(t, neighbor)
	over := func(c io.ReadWriter, source, body string) (heard, bool) {
		_, _ = fmt.Fprintf(c, "POST /hooks/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", source, len(body), body)
		return hear(t, c)
	}
	for source, c := range map[string]io.ReadWriter{"one": kept, "two": moved} {
		if h, _ := over(c, source, "ok a1"); h.status != http.StatusOK {
			t.Fatalf("before: %s heard %d", source, h.status)
		}
	}
	wantError(t, g.push(t, stranger, "/hooks/three", "x"), http.StatusForbidden, "forbidden")

	end := time.Date(2033, 1, 2, 0, 0, 0, 0, time.UTC)
	three := pushing("three", stranger, role("new"))
	three.Push.Certificates = []handlers.Certificate{{Name: "new.pem", NotAfter: end}}
	if err := g.Update([]handlers.Source{pushing("one", friend, role("new")), three}); err != nil {
		t.Fatal(err)
	}

	if h, _ := over(kept, "one", "signature"); h.status != http.StatusOK {
		t.Errorf("the new webhook's push heard %d", h.status)
	}
	// The other connection was accepted from a caller who is now on no list.
	h, closed := over(moved, "two", "ok a2")
	wantError(t, h, http.StatusForbidden, "forbidden")
	if !closed {
		t.Error("its connection stays")
	}
	if h := g.push(t, stranger, "/hooks/three", "x"); h.status != http.StatusOK {
		t.Errorf("who is on a list now heard %d", h.status)
	}
	wantError(t, g.push(t, friend, "/hooks/two", "ok a3"), http.StatusNotFound, "not_found")

	var roles []string
	for _, d := range g.journal.kept() {
		roles = append(roles, d.Source+" "+d.Role)
	}
	if got := strings.Join(roles[2:], ", "); got != "one new, three new" {
		t.Errorf("kept afterwards: %s", got)
	}
	if n := g.count(t, "one", "accepted"); n != 2 {
		t.Errorf("a source that stayed has counted %v pushes", n)
	}
	if left := g.seriesOf(t, "two"); len(left) > 0 {
		t.Errorf("a source that is gone has %v", left)
	}
	if v, _ := g.metric(t, "postern_certificate_expiry_timestamp_seconds", map[string]string{"source": "three", "name": "new.pem"}); v != float64(end.Unix()) {
		t.Errorf("the new certificate ends at %v", v)
	}
	if n := g.seriesOf(t, "three"); n["postern_deliveries_total"] != 11 || n["postern_accept_duration_seconds"] != 1 {
		t.Errorf("a new source has %v", n)
	}

	// Who comes back begins anew.
	if err := g.Update([]handlers.Source{pushing("two", neighbor, role("back"))}); err != nil {
		t.Fatal(err)
	}
	if n := g.count(t, "two", "accepted"); n != 0 {
		t.Errorf("a source that came back has counted %v pushes", n)
	}
}

func TestPushInFlightEndsAsItBegan(t *testing.T) {
	g := open(t, nil)
	g.journal.entered = make(chan struct{})
	g.journal.held = make(chan struct{})
	answer := make(chan heard, 1)
	go func() { answer <- g.push(t, friend, "/hooks/one", "ok a1") }()
	<-g.journal.entered
	// A body that is still on its way belongs to a push that has begun.
	slow := g.dial(t, friend)
	_, _ = io.WriteString(slow, "POST /hooks/one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	interim := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(slow, interim); err != nil {
		t.Fatal(err)
	}
	if err := g.Update([]handlers.Source{pushing("two", neighbor, role("new"))}); err != nil {
		t.Fatal(err)
	}
	close(g.journal.held)
	if h := <-answer; h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
	_, _ = io.WriteString(slow, "ok a2")
	<-g.journal.entered
	if h, _ := hear(t, slow); h.status != http.StatusOK {
		t.Errorf("whose body came later heard %d", h.status)
	}
	for _, d := range g.journal.kept() {
		if d.Source != "one" || d.Role != "notification" {
			t.Errorf("kept as %s of %s", d.Role, d.Source)
		}
	}
	if left := g.seriesOf(t, "one"); len(left) > 0 {
		t.Errorf("their end brought back %v", left)
	}
}

func TestUpdateThatIsRefusedChangesNothing(t *testing.T) {
	g := open(t, nil)
	for name, bad := range map[string]handlers.Source{
		"no list":    {Name: "new", Push: &handlers.Push{Webhook: words{}}},
		"no webhook": pushing("new", stranger, nil),
	} {
		err := g.Update([]handlers.Source{pushing("one", stranger, role("new")), bad})
		if err == nil || !strings.Contains(err.Error(), "source new") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if h := g.push(t, friend, "/hooks/one", "ok a1"); h.status != http.StatusOK {
		t.Errorf("heard %d", h.status)
	}
	wantError(t, g.push(t, stranger, "/hooks/one", "ok a2"), http.StatusForbidden, "forbidden")
	if n := g.seriesOf(t, "new"); len(n) > 0 {
		t.Errorf("a source that never was has %v", n)
	}
	if n := g.seriesOf(t, "two"); n["postern_deliveries_total"] != 11 {
		t.Errorf("a source that stays has %v", n)
	}
}

// One configuration knows the friend by one webhook, the other the neighbor by
// another one: no push may be answered by a bit of both.
func TestUpdateIsAllOrNothingUnderLoad(t *testing.T) {
	g := open(t, nil)
	both := [][]handlers.Source{
		{pushing("one", friend, role(friend))},
		{pushing("one", neighbor, role(neighbor)), pushing("two", friend, role("two"))},
	}
	if err := g.Update(both[0]); err != nil {
		t.Fatal(err)
	}
	done, answered := make(chan struct{}), make(chan struct{})
	var clients sync.WaitGroup
	for _, addr := range []string{friend, neighbor} {
		clients.Go(func() {
			for i := 0; ; i++ {
				h := g.push(t, addr, "/hooks/one", fmt.Sprintf("%s %d", addr, i))
				if h.status != http.StatusOK && h.status != http.StatusForbidden {
					t.Errorf("heard %d", h.status)
				}
				select {
				case answered <- struct{}{}:
				case <-done:
					return
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		<-answered
		if err := g.Update(both[r.IntN(2)]); err != nil {
			t.Error(err)
		}
	}
	close(done)
	clients.Wait()
	heardOf := map[string]int{}
	for _, d := range g.journal.kept() {
		caller, _, _ := strings.Cut(string(d.Payload), " ")
		heardOf[caller]++
		if d.Role != caller {
			t.Fatalf("a push of %s was vouched for by the webhook of %s", caller, d.Role)
		}
	}
	if len(heardOf) != 2 {
		t.Errorf("heard of %v", heardOf)
	}
}
