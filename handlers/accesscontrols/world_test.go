package accesscontrols_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

const (
	clientID = "api-north.client"
	secret   = "a secret that nobody should hear of"
)

// began is when everything begins in these tests.
var began = time.Date(2026, 4, 1, 8, 30, 0, 250123400, time.UTC)

// world is a watch of a stand-in.
type world struct {
	*handlerstest.Watch
	platform *accesscontrolstest.Platform
	server   *httptest.Server
	clock    time.Time         // the stand-in's
	drift    []schemas.Drift   // what was told of the vocabulary so far
	payloads [][]byte          // of all deliveries so far
	told     map[string]string // events by id, of all rounds
}

// newWorld watches a stand-in that scene has furnished, under the settings that
// it leaves.
func newWorld(t testing.TB, scene func(*accesscontrolstest.Platform, *accesscontrols.Settings)) *world {
	t.Helper()
	w := &world{clock: began, told: map[string]string{}}
	w.platform = accesscontrolstest.New(accesscontrolstest.Options{
		ClientID: clientID, ClientSecret: secret, Seed: 5, Now: func() time.Time { return w.clock },
	})
	w.server = httptest.NewServer(w.platform)
	t.Cleanup(w.server.Close)
	client := w.server.Client()
	client.Timeout = 5 * time.Second
	t.Cleanup(client.CloseIdleConnections)
	s := settings(w.server.URL)
	scene(w.platform, s)
	w.open(t, s, client)
	return w
}

func (w *world) open(t testing.TB, s *accesscontrols.Settings, client *http.Client) {
	t.Helper()
	p := accesscontrols.Platform()
	translate, seen := p.Normalize, map[string]bool{}
	p.Normalize = func(d handlers.Delivery) (handlers.Output, error) {
		out, err := translate(d)
		if !seen[d.ID] { // it is translated more than once, to see that this makes no difference
			seen[d.ID] = true
			w.drift = append(w.drift, out.Drift...)
			w.payloads = append(w.payloads, bytes.Clone(d.Payload))
		}
		return out, err
	}
	w.Watch = handlerstest.NewWatch(t, p, s, client)
}

func settings(url string) *accesscontrols.Settings {
	s, _ := accesscontrols.Platform().Settings().(*accesscontrols.Settings)
	s.API = &accesscontrols.API{
		URL: url, TokenURL: url + accesscontrolstest.TokenPath, ClientID: clientID, ClientSecret: handlers.NewSecret(secret),
	}
	return s
}

// one is a world with one tranche, and what else with does.
func one(t testing.TB, with ...func(*accesscontrols.Settings)) (*world, string) {
	t.Helper()
	var id string
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		id = p.AddTranche("")
		s.Tranches = []string{id}
		for _, fn := range with {
			fn(s)
		}
	})
	return w, id
}

func full(s *accesscontrols.Settings) { s.View = accesscontrols.ViewFull }

func shared(s *accesscontrols.Settings) { s.Shared = true }

// round scans a minute later than before, and returns what was told.
func (w *world) round(t testing.TB, pollers ...string) []schemas.Event {
	t.Helper()
	w.Advance(time.Minute)
	w.clock = w.clock.Add(time.Minute)
	events := w.Round(pollers...)
	for _, e := range events {
		if other, ok := w.told[e.ID]; ok {
			t.Errorf("%s was told twice, as %s before", e.ID, other)
		}
		w.told[e.ID] = string(e.Type)
	}
	return events
}

// tells scans once more, and checks what was told: "access.changed …".
func (w *world) tells(t testing.TB, want string) []schemas.Event {
	t.Helper()
	events := w.round(t)
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	if diff := cmp.Diff(want, types(events)); diff != "" {
		t.Errorf("told something else (-want +got):\n%s", diff)
	}
	return events
}

// silent checks that scanning again and again tells nothing, after a restart
// too.
func (w *world) silent(t testing.TB) {
	t.Helper()
	for range 3 {
		w.tells(t, "")
	}
	w.Restart()
	w.tells(t, "")
}

// types returns what events tell, sorted.
func types(events []schemas.Event) string {
	var list []string
	for _, e := range events {
		list = append(list, string(e.Type))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// the returns the only event of a type.
func the(t testing.TB, events []schemas.Event, typ schemas.Type) schemas.Event {
	t.Helper()
	var found []schemas.Event
	for _, e := range events {
		if e.Type == typ {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d events of %s, want one", len(found), typ)
	}
	return found[0]
}

func access(t testing.TB, e schemas.Event) schemas.Access {
	t.Helper()
	a, ok := e.Data.(schemas.Access)
	if !ok {
		t.Fatalf("data is %T", e.Data)
	}
	return a
}

func offering(t testing.TB, e schemas.Event) schemas.OfferingFlags {
	t.Helper()
	o, ok := e.Data.(schemas.OfferingFlags)
	if !ok {
		t.Fatalf("data is %T", e.Data)
	}
	return o
}

// paths returns where an event's changes are.
func paths(list []schemas.Difference) string {
	var all []string
	for _, d := range list {
		all = append(all, d.Op+" "+d.Path)
	}
	return strings.Join(all, ", ")
}
