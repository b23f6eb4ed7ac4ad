package tokeny_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/tokeny"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
	"github.com/seed75441868/postern/schemas"
)

const (
	token    = "3f0c1b7e-5d0a-4c55-9c1e-7a2f4be0d911"
	other    = "6a2d9c40-71be-4e0f-8f3d-0c9b5e7a1f22"
	email    = "agent@fund.example"
	password = "correct horse battery staple"
)

// began is when everything begins in these tests.
var began = time.Date(2026, 4, 1, 8, 30, 0, 250e6, time.UTC)

// world is a watch of a stand-in.
type world struct {
	*handlerstest.Watch
	platform *tokenytest.Platform
	server   *httptest.Server

	mu       sync.Mutex
	heard    map[string]bool // deliveries, by their id
	drift    []schemas.Drift // what was told of the vocabulary so far
	payloads [][]byte        // of all deliveries so far
	tokens   []string
	secret   string // the password
}

func newWorld(t testing.TB, tokens ...string) *world {
	t.Helper()
	if tokens == nil {
		tokens = []string{token}
	}
	w := &world{
		heard: map[string]bool{},
		platform: tokenytest.New(tokenytest.Options{
			Email: email, Password: password, Seed: 3,
			Now: func() time.Time { return began },
		}, tokens...),
		tokens: tokens,
		secret: password,
	}
	w.open(t, w.platform)
	return w
}

// open watches what a handler says.
func (w *world) open(t testing.TB, handler http.Handler) {
	t.Helper()
	w.server = httptest.NewServer(handler)
	t.Cleanup(w.server.Close)
	client := w.server.Client()
	client.Timeout = 5 * time.Second
	t.Cleanup(client.CloseIdleConnections)
	p := tokeny.Platform()
	translate := p.Normalize
	p.Normalize = func(d handlers.Delivery) (handlers.Output, error) {
		out, err := translate(d)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.heard[d.ID] { // a watch translates twice, to compare
			w.heard[d.ID] = true
			w.drift = append(w.drift, out.Drift...)
			w.payloads = append(w.payloads, bytes.Clone(d.Payload))
		}
		return out, err
	}
	s := settings(w.server.URL, w.tokens...)
	s.API.Password = handlers.NewSecret(w.secret)
	w.Watch = handlerstest.NewWatch(t, p, s, client)
}

func settings(url string, tokens ...string) *tokeny.Settings {
	s, _ := tokeny.Platform().Settings().(*tokeny.Settings)
	s.Tokens = tokens
	s.API = &tokeny.API{URL: url, Email: email, Password: handlers.NewSecret(password)}
	return s
}

// round scans a minute later than before, and returns what was told.
func (w *world) round(t testing.TB) []schemas.Event {
	t.Helper()
	w.Advance(time.Minute)
	events := w.Round()
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	return events
}

// types returns what events tell: "added qualified".
func types(events []schemas.Event) string {
	var list []string
	for _, e := range events {
		list = append(list, e.Type.Event())
	}
	return strings.Join(list, " ")
}

// tells scans once more, and checks what was told.
func (w *world) tells(t testing.TB, want string) []schemas.Event {
	t.Helper()
	events := w.round(t)
	if diff := cmp.Diff(want, types(events)); diff != "" {
		t.Errorf("told something else (-want +got):\n%s", diff)
	}
	return events
}

// silent checks that scanning again and again tells nothing.
func (w *world) silent(t testing.TB) {
	t.Helper()
	for range 3 {
		w.tells(t, "")
	}
	w.Restart()
	w.tells(t, "")
}

func investor(t testing.TB, e schemas.Event) schemas.Investor {
	t.Helper()
	i, ok := e.Data.(schemas.Investor)
	if !ok {
		t.Fatalf("data is %T", e.Data)
	}
	return i
}

func hashOf(value string) *string {
	h := handlerstest.Pseudonym(strings.ToLower(value))
	return &h
}

func ptr[T any](v T) *T { return &v }
