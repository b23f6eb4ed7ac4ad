package handlerstest

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/poll/polltest"
	"github.com/seed75441868/postern/schemas"
)

// Pseudonym is how a [Watch] replaces a personal value: as a receiver does,
// with a key that is always the same.
func Pseudonym(value string) string {
	mac := hmac.New(sha256.New, []byte("a key for tests, and for nothing"))
	mac.Write([]byte(value))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))[:22]
}

// Watch polls a platform as a receiver does, one scan at a time and with its
// bus in memory, so that a test sees what becomes of what the platform says.
type Watch struct {
	t        testing.TB
	platform handlers.Platform
	source   handlers.Source
	bus      *polltest.Bus
	road     *polltest.Road
	pollers  *poll.Pollers
	now      time.Time
	err      error
	letters  []*letter // events that are to be followed up
	givenUp  []string
	logs     bytes.Buffer
}

// NewWatch opens a source of settings, which are decoded and validated, and
// which reach the platform by client. The source has the platform's name.
func NewWatch(t testing.TB, p handlers.Platform, settings any, client *http.Client) *Watch {
	t.Helper()
	source, err := p.Open(p.Name, settings, handlers.Means{Client: client, Pseudonym: Pseudonym})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if len(source.Pollers) == 0 {
		t.Fatal("source polls nothing")
	}
	w := &Watch{
		t: t, platform: p, source: source, bus: polltest.NewBus(),
		now: time.Date(2026, 4, 14, 10, 0, 0, 0, time.UTC),
	}
	w.road = polltest.NewRoad(w.bus, map[string]polltest.Normalize{p.Name: w.normalize})
	w.Restart()
	return w
}

// Restart goes on as a receiver does that was started again: it knows what is
// on the bus, and nothing else.
func (w *Watch) Restart() {
	w.t.Helper()
	w.pollers = poll.New(w.config())
	w.pollers.Update([]handlers.Source{w.source})
}

func (w *Watch) config() poll.Config {
	return poll.Config{
		Journal: w.road, Relay: w.road, Bus: w.bus,
		Seal: polltest.Seal, Open: polltest.Open, Pseudonym: Pseudonym,
		Holder: "test", Log: slog.New(slog.NewTextHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: func() time.Time { return w.now },
	}
}

// Round runs the named pollers of the source once each, all in their order if
// none is named, and returns the events that were told, which are valid. What
// could not become events fails the test; what the platform didn't answer is
// what Err returns.
func (w *Watch) Round(pollers ...string) []schemas.Event {
	w.t.Helper()
	if len(pollers) == 0 {
		for _, p := range w.source.Pollers {
			pollers = append(pollers, p.Name)
		}
	}
	w.err = nil
	for _, name := range pollers {
		err := w.pollers.Once(w.t.Context(), w.source.Name+"/"+name)
		if errors.Is(err, poll.ErrUnknown) {
			w.t.Fatal(err)
		}
		w.err = errors.Join(w.err, err)
	}
	return w.told(schemas.ChannelPoll)
}

// told has everything told, and returns what that was since it was asked last.
func (w *Watch) told(by schemas.Channel) []schemas.Event {
	w.t.Helper()
	if err := w.road.Drain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	events, _, refused := w.road.Take()
	for _, err := range refused {
		w.t.Errorf("a delivery could not be told: %v", err)
	}
	for _, e := range events {
		w.check(e, by)
	}
	return events
}

// check fails the test if an event can't be published. One that is to be
// followed up is kept.
func (w *Watch) check(e schemas.Event, by schemas.Channel) {
	w.t.Helper()
	if e.Source != w.source.Name || e.Channel != by || !e.Recorded.Equal(w.now) {
		w.t.Errorf("%s is not an event of its delivery: %+v", e.ID, e)
	}
	begins := func(entity string) bool { return strings.HasPrefix(e.ID, e.Source+":"+entity+":") }
	// A step on a ledger has the id of the ledger's entry.
	if entity := e.Type.Entity(); !begins(entity) && (entity != "subscription" || !begins("asset")) {
		w.t.Errorf("id %s does not begin with source and entity", e.ID)
	}
	messages, err := e.Messages()
	if err != nil {
		w.t.Error(err)
	}
	for _, m := range messages {
		if !subjects.MatchString(m.Subject) || !ids.MatchString(m.ID) {
			w.t.Errorf("subject %q or id %q has what it may not have", m.Subject, m.ID)
		}
	}
	if len(messages) > 0 {
		w.keep(e, messages[0])
	}
}

// normalize translates a delivery, and fails the test if that isn't pure, or if
// two events of the delivery have the same id.
func (w *Watch) normalize(d handlers.Delivery) (handlers.Output, error) {
	if d.Role == handlers.RoleFollowUp && !d.Changes {
		return handlers.Output{}, w.giveUp(d)
	}
	s := &suite{Case: Case{Platform: w.platform}}
	given := d
	given.Payload = bytes.Clone(d.Payload)
	want := s.told(given)
	out, err := w.platform.Normalize(given)
	// A diff is dear, and seldom needed.
	if again := s.told(given); !reflect.DeepEqual(want, again) {
		w.t.Errorf("the same delivery becomes something else (-first +later):\n%s", cmp.Diff(want, again))
	}
	if !reflect.DeepEqual(d, given) {
		w.t.Errorf("the delivery was changed (-before +after):\n%s", cmp.Diff(d, given))
	}
	seen := map[string]bool{}
	for _, e := range out.Events {
		if seen[e.ID] {
			w.t.Errorf("two events of one delivery have the id %s", e.ID)
		}
		seen[e.ID] = true
		if e.DeliveryID != d.ID {
			w.t.Errorf("%s is not an event of its delivery", e.ID)
		}
	}
	return out, err
}

// Err returns why scans of the last round failed, or nil.
func (w *Watch) Err() error { return w.err }

// Logged returns all that was logged.
func (w *Watch) Logged() []byte { return w.logs.Bytes() }

// Now returns the time of the watch, which stands still but for Advance.
func (w *Watch) Now() time.Time { return w.now }

// Advance moves the time of scans and deliveries. That of sessions and stand-ins
// is the process's.
func (w *Watch) Advance(d time.Duration) { w.now = w.now.Add(d) }

// Stored returns all that the bus holds of the source, as it is when it is
// opened: a test can look for what may not be there.
func (w *Watch) Stored() []byte {
	w.t.Helper()
	var all []byte
	for _, bucket := range []string{schemas.BucketState, schemas.BucketCursors} {
		entries := w.bus.Entries(bucket)
		keys := make([]string, 0, len(entries))
		for key := range entries {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			all = append(append(append(all, key...), ' '), entries[key].Value...)
			all = append(all, '\n')
		}
	}
	return all
}

// Golden compares events with a file, as they are published. The flag -update
// writes it.
func Golden(t testing.TB, file string, events []schemas.Event) {
	t.Helper()
	var b strings.Builder
	for _, e := range events {
		messages, err := e.Messages()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			fmt.Fprintf(&b, "%s %s\n%s\n\n", m.Stream, m.Subject, m.Body)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; -update writes it", err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("differs from %s; if that is right, -update writes it (-golden +got):\n%s", file, diff)
	}
}
