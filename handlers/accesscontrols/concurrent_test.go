package accesscontrols_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/handlerstest"
)

// counting is a scan that only counts. Its other methods know nothing.
type counting struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (c *counting) Saw(s handlers.Sighting) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen[s.Key] = true
	return nil
}
func (*counting) Missing(string, func(string) error) error { return nil }
func (*counting) Missed(string, jsontext.Value) error      { return nil }
func (*counting) Complete(string) error                    { return nil }
func (*counting) Records(context.Context, string, func(string, handlers.Record) error) error {
	return nil
}

func (*counting) Record(context.Context, string) (handlers.Record, error) {
	return handlers.Record{}, nil
}
func (*counting) Tell(handlers.Fact) error                       { return nil }
func (*counting) Cursor(context.Context) (jsontext.Value, error) { return nil, nil }
func (*counting) Advance(jsontext.Value) error                   { return nil }
func (*counting) Began() time.Time                               { return began }
func (*counting) Previous() time.Time                            { return time.Time{} }

// All pollers of a source at once log in once and list deals once.
func TestPollersShareWhatTheyKnow(t *testing.T) {
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		for range 5 {
			tranche := p.AddTranche(p.AddDeal())
			p.Grant(tranche, accesscontrolstest.Grant{ByFirmID: "1", ToFirmID: "2", AccessType: "terms.view"})
		}
		s.Discover = true
	})
	s := settings(w.server.URL)
	s.Discover = true
	source, err := accesscontrols.Platform().Open("cas", s, handlers.Means{Client: w.server.Client(), Pseudonym: handlerstest.Pseudonym})
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{seen: map[string]bool{}}
	var wg sync.WaitGroup
	for range 3 {
		for _, p := range source.Pollers {
			wg.Go(func() {
				if err := p.Scan(t.Context(), c); err != nil {
					t.Errorf("%s: %v", p.Name, err)
				}
			})
		}
	}
	wg.Wait()
	if len(c.seen) != 5*5 { // of each: two documents of a tranche, its flags, a grant, a deal's document
		t.Errorf("%d entities, want 25", len(c.seen))
	}
	for endpoint, want := range map[string]int{accesscontrolstest.Token: 1, accesscontrolstest.Deals: 2} {
		if n := w.platform.Count(endpoint); n != want {
			t.Errorf("%s was asked %d times, want %d", endpoint, n, want)
		}
	}
}
