package concedus_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

const owner = "77"

// world is a source that polls a stand-in, in a time of its own.
type world struct {
	*testing.T
	server *concedustest.Server
	watch  *handlerstest.Watch
	names  map[string]string // contracts' keys by their pseudonyms
}

// settings are good ones, for a stand-in with the accounts of newWorld.
func settings(t testing.TB) *concedus.Settings {
	t.Helper()
	s, ok := concedus.Platform().Settings().(*concedus.Settings)
	if !ok {
		t.Fatal("Settings returns something else than *concedus.Settings")
	}
	s.API.URL = "http://127.0.0.1:1/"
	s.Agent = &concedus.Login{Username: "agent-user", Password: handlers.NewSecret("agent-password-9f")}
	s.Issuers = []concedus.Issuer{{Owner: owner, Username: "4711", Password: handlers.NewSecret("issuer-password-3c")}}
	return s
}

// within runs a test in a world.
func within(t *testing.T, s *concedus.Settings, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := concedustest.New(time.Now)
		server.Agent("agent-user", "agent-password-9f")
		server.Issuer(owner, "4711", "issuer-password-3c")
		test(&world{
			T: t, server: server, names: map[string]string{},
			watch: handlerstest.NewWatch(t, concedus.Platform(), s, handlerstest.Serve(t, server)),
		})
	})
}

// contract is a contract that the tests know by its key.
func (w *world) contract(key string) concedustest.Contract {
	w.names[handlerstest.Pseudonym(key)] = key
	return concedustest.Contract{
		Key: key, Product: "North Bond", InvestorName: "Probst Dora", Share: "1200", Agio: "36.00", Signed: "2026-02-03",
	}
}

func (w *world) release(keys ...string) {
	for _, key := range keys {
		w.server.Release(w.contract(key))
	}
}

// pass lets time pass, for everybody.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	w.watch.Advance(d)
}

// round lets a minute pass and returns what was told then.
func (w *world) round(pollers ...string) []schemas.Event {
	w.Helper()
	w.pass(time.Minute)
	return w.watch.Round(pollers...)
}

// tells checks what is told in a round: event, list and contract.
func (w *world) tells(want ...string) []schemas.Event {
	w.Helper()
	events := w.round()
	if err := w.watch.Err(); err != nil {
		w.Errorf("the round failed: %v", err)
	}
	w.told(events, want...)
	return events
}

func (w *world) told(events []schemas.Event, want ...string) {
	w.Helper()
	var got []string
	for _, e := range events {
		i := len(e.Key) - 22
		list, pseudonym := strings.TrimSuffix(e.Key[:i], "-"), e.Key[i:]
		name, ok := w.names[pseudonym]
		if data := e.Data.(schemas.Contract); !ok || *data.ContractKey != pseudonym || data.Platform != concedus.Name {
			w.Errorf("%s is about a contract that is none: %q", e.Type, pseudonym)
		}
		got = append(got, fmt.Sprintf("%s %s %s", e.Type.Event(), list, name))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("told (-want +got):\n%s", diff)
	}
}

// quiet checks that nothing is told in some rounds.
func (w *world) quiet(rounds int) {
	w.Helper()
	for range rounds {
		w.tells()
	}
}

// only returns the one event of a type.
func (w *world) only(events []schemas.Event, t schemas.Type) (schemas.Event, schemas.Contract) {
	w.Helper()
	i := slices.IndexFunc(events, func(e schemas.Event) bool { return e.Type == t })
	if i < 0 {
		w.Fatalf("no %s in %d events", t, len(events))
	}
	return events[i], events[i].Data.(schemas.Contract)
}
