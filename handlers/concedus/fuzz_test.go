package concedus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// answers is a platform that logs everybody in and answers everything else
// with the same bytes.
type answers struct {
	code int
	body []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	code, body := a.code, a.body
	if strings.Contains(r.URL.Path, "/auth/") {
		code, body = 200, []byte(`{"accessToken":"x","exp":`+strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)+`}`)
	}
	return &http.Response{
		StatusCode: code, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// sight is a scan that keeps what it sees, and knows a record.
type sight struct {
	handlers.Scan
	seen   []handlers.Sighting
	key    string
	record handlers.Record
}

func (s *sight) Saw(seen handlers.Sighting) error {
	seen.State = seen.State.Clone()
	s.seen = append(s.seen, seen)
	return nil
}
func (*sight) Complete(string) error { return nil }
func (*sight) Began() time.Time      { return received }
func (s *sight) Records(_ context.Context, role string, fn func(string, handlers.Record) error) error {
	if s.record.Parts[role].State == nil {
		return nil
	}
	return fn(s.key, s.record)
}

var received = time.Date(2026, 4, 14, 10, 0, 0, 0, time.UTC)

func poller(t testing.TB, name string, network http.RoundTripper) handlers.Poller {
	t.Helper()
	source, err := concedus.Platform().Open("concedus", settings(t), handlers.Means{
		Client: &http.Client{Transport: network}, Pseudonym: handlerstest.Pseudonym,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range source.Pollers {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no poller %s", name)
	return handlers.Poller{}
}

// delivery is one of a change.
func delivery(t testing.TB, role string, c handlers.Change) handlers.Delivery {
	t.Helper()
	c.Entry, c.Role, c.Generation, c.Digest, c.To = "concedus.x", role, "g1", "d1", received
	payload, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return handlers.Delivery{
		ID: "delivery-1", Source: "concedus", Platform: concedus.Name, Channel: schemas.ChannelPoll,
		Role: role, Received: received, Changes: true, Payload: payload,
	}
}

// normalizes checks that a delivery becomes events that can be published, the
// same every time, or is unusable.
func normalizes(t testing.TB, d handlers.Delivery) handlers.Output {
	t.Helper()
	payload := bytes.Clone(d.Payload)
	out, err := concedus.Platform().Normalize(d)
	again, errAgain := concedus.Platform().Normalize(d)
	if !bytes.Equal(d.Payload, payload) {
		t.Error("payload was changed")
	}
	if diff := cmp.Diff(out, again); diff != "" || (err == nil) != (errAgain == nil) {
		t.Errorf("differs the second time: %v, %v\n%s", err, errAgain, diff)
	}
	var unusable *handlers.UnusableError
	if err != nil && !errors.As(err, &unusable) {
		t.Errorf("got %T: %v", err, err)
	}
	seen := map[string]bool{}
	for _, e := range out.Events {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		if _, err := e.Messages(); err != nil {
			t.Error(err)
		}
		if seen[e.ID] {
			t.Errorf("two events have the id %s", e.ID)
		}
		seen[e.ID] = true
	}
	for _, drift := range out.Drift {
		e := schemas.Event{
			ID: "concedus:platform:x", Source: "concedus", Type: schemas.PlatformSchemaDrift, Key: drift.Path,
			Time: schemas.FormatTime(received), Recorded: received, DeliveryID: "d", Channel: schemas.ChannelPoll, Data: drift,
		}
		if err := e.Validate(); err != nil {
			t.Errorf("drift at %q can't be told: %v", drift.Path, err)
		}
	}
	return out
}

// samples are bodies of the documented forms.
func samples(t testing.TB) [][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/samples/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples")
	}
	var all [][]byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// FuzzList: whatever a list answers is read or is an error that says nothing of
// it, and what is read can be told.
func FuzzList(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := &sight{}
		err := poller(t, "issuer-list-77", answers{200, body}).Scan(t.Context(), s)
		if err != nil {
			if len(s.seen) > 0 {
				t.Error("a list that failed was told")
			}
			scrubbedOf(t, err, body)
			return
		}
		for _, seen := range s.seen {
			if !strings.HasPrefix(seen.Key, "issuer-77-") || schemas.Token(seen.Key) != seen.Key {
				t.Errorf("key %q", seen.Key)
			}
			out := normalizes(t, delivery(t, concedus.RoleIssuerList, handlers.Change{
				Key: seen.Key, Current: handlers.Record{Revision: 1, Parts: map[string]handlers.Part{concedus.RoleIssuerList: {State: seen.State}}},
			}))
			if len(out.Events) != 1 {
				t.Errorf("%d events", len(out.Events))
			}
		}
	})
}

// FuzzCompliance: whatever is answered to the question for a status is one, or
// an error that says nothing of it.
func FuzzCompliance(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b, false)
		f.Add(b, true)
	}
	state := jsontext.Value(`{"key":"A-1","pseudonym":"` + handlerstest.Pseudonym("A-1") + `"}`)
	f.Fuzz(func(t *testing.T, body []byte, missing bool) {
		a := answers{200, body}
		if missing {
			a.code = 404
		}
		part := handlers.Part{State: state, Absent: true, Since: received.Add(-time.Minute)}
		s := &sight{key: "agent-" + handlerstest.Pseudonym("A-1"), record: handlers.Record{Revision: 1, Parts: map[string]handlers.Part{concedus.RoleAgentList: part}}}
		if err := poller(t, "compliance", a).Scan(t.Context(), s); err != nil {
			scrubbedOf(t, err, body)
			if len(s.seen) > 0 {
				t.Error("an answer that is none was told")
			}
			return
		}
		if len(s.seen) != 1 {
			t.Fatalf("saw %d", len(s.seen))
		}
		current := handlers.Record{Revision: 2, Parts: map[string]handlers.Part{concedus.RoleAgentList: part, concedus.RoleCompliance: {State: s.seen[0].State}}}
		out := normalizes(t, delivery(t, concedus.RoleCompliance, handlers.Change{Key: s.key, Previous: s.record, Current: current}))
		for _, e := range out.Events {
			if e.Type != schemas.SubscriptionRejected {
				t.Errorf("told %s", e.Type)
			}
		}
	})
}

// FuzzNormalize: whatever was delivered becomes valid events or is unusable.
func FuzzNormalize(f *testing.F) {
	roles := []string{concedus.RoleAgentList, concedus.RoleIssuerList, concedus.RoleCompliance, ""}
	for i, role := range roles {
		part := handlers.Part{State: jsontext.Value(`{"key":"A-1","pseudonym":"p","share":"5"}`)}
		f.Add(delivery(f, role, handlers.Change{Key: "agent-p", Current: handlers.Record{Revision: 1, Parts: map[string]handlers.Part{role: part}}}).Payload, uint8(i))
	}
	f.Fuzz(func(t *testing.T, payload []byte, role uint8) {
		d := delivery(t, roles[int(role)%len(roles)], handlers.Change{})
		d.Payload = bytes.Clone(payload)
		_, err := concedus.Platform().Normalize(d)
		var unusable *handlers.UnusableError
		if err != nil && !errors.As(err, &unusable) {
			t.Errorf("got %T: %v", err, err)
		}
	})
}

// scrubbedOf checks that an error has no text of a body.
func scrubbedOf(t testing.TB, err error, body []byte) {
	t.Helper()
	dec := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	for {
		token, failed := dec.ReadToken()
		if failed != nil {
			return
		}
		if s := token.String(); token.Kind() == jsontext.KindString && len(s) > 12 && strings.Contains(err.Error(), s) {
			t.Errorf("the error holds a text of the answer: %v", err)
		}
	}
}

func TestUnusableDeliveriesSayWhy(t *testing.T) {
	good := handlers.Part{State: jsontext.Value(`{"key":"A-1","pseudonym":"p"}`)}
	bad := handlers.Part{State: jsontext.Value(`{"key":7}`)}
	record := func(role string, p handlers.Part) handlers.Record {
		return handlers.Record{Revision: 1, Parts: map[string]handlers.Part{role: p}}
	}
	for name, c := range map[string]struct {
		role   string
		change handlers.Change
		want   schemas.Reason
	}{
		"role":              {"other", handlers.Change{}, schemas.ReasonUnknownKind},
		"no state":          {concedus.RoleAgentList, handlers.Change{}, schemas.ReasonInvalidEvent},
		"bad state":         {concedus.RoleAgentList, handlers.Change{Current: record(concedus.RoleAgentList, bad)}, schemas.ReasonInvalidEvent},
		"bad former state":  {concedus.RoleIssuerList, handlers.Change{Previous: record(concedus.RoleIssuerList, bad), Current: record(concedus.RoleIssuerList, good)}, schemas.ReasonInvalidEvent},
		"status of nothing": {concedus.RoleCompliance, handlers.Change{Current: record(concedus.RoleCompliance, handlers.Part{State: jsontext.Value(`{}`)})}, schemas.ReasonInvalidEvent},
	} {
		_, err := concedus.Platform().Normalize(delivery(t, c.role, c.change))
		var unusable *handlers.UnusableError
		if !errors.As(err, &unusable) || unusable.Reason != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := delivery(t, concedus.RoleAgentList, handlers.Change{})
	d.Payload = []byte(`{`)
	if _, err := concedus.Platform().Normalize(d); err == nil {
		t.Error("what is no change was translated")
	}
}
