package tokeny_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/tokeny"
	"github.com/seed75441868/postern/schemas"
)

// change returns the payload of a change from one part to another.
func change(t testing.TB, before, after handlers.Part) []byte {
	t.Helper()
	c := handlers.Change{
		Entry: "tokeny.x", Base: 7, Key: token + "-c1", Role: tokeny.RoleCandidates,
		Current: handlers.Record{Revision: 2, Parts: map[string]handlers.Part{tokeny.RoleCandidates: after}},
		From:    began, To: began.Add(time.Minute), Generation: "g1", Digest: "d",
	}
	if before.State != nil {
		c.Previous = handlers.Record{Revision: 1, Parts: map[string]handlers.Part{tokeny.RoleCandidates: before}}
	}
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func part(state string) handlers.Part {
	return handlers.Part{Container: token, State: jsontext.Value(state)}
}

func delivery(role string, payload []byte) handlers.Delivery {
	return handlers.Delivery{
		ID: "delivery-1", Source: "tokeny", Platform: "tokeny", Channel: schemas.ChannelPoll,
		Role: role, Received: began, Changes: role == tokeny.RoleCandidates, Payload: payload,
	}
}

func TestPayloadsThatAreNoneAreUnusable(t *testing.T) {
	for name, c := range map[string]struct {
		role    string
		payload []byte
		want    schemas.Reason
	}{
		"another role":      {"list", change(t, handlers.Part{}, part(`{"status":"pending"}`)), schemas.ReasonUnknownKind},
		"no JSON":           {tokeny.RoleCandidates, []byte(`{`), schemas.ReasonBadJSON},
		"no change":         {tokeny.RoleCandidates, []byte(`{}`), schemas.ReasonBadJSON},
		"another part":      {tokeny.RoleCandidates, []byte(`{"entry":"e","role":"grants"}`), schemas.ReasonUnknownKind},
		"no state":          {tokeny.RoleCandidates, change(t, handlers.Part{}, handlers.Part{Container: token}), schemas.ReasonInvalidEvent},
		"no token":          {tokeny.RoleCandidates, change(t, handlers.Part{}, handlers.Part{State: jsontext.Value(`{"status":"a"}`)}), schemas.ReasonInvalidEvent},
		"another token":     {tokeny.RoleCandidates, change(t, handlers.Part{}, handlers.Part{Container: other, State: jsontext.Value(`{"status":"a"}`)}), schemas.ReasonInvalidEvent},
		"state of others":   {tokeny.RoleCandidates, change(t, handlers.Part{}, part(`["pending"]`)), schemas.ReasonInvalidEvent},
		"state before":      {tokeny.RoleCandidates, change(t, part(`7`), part(`{"status":"pending"}`)), schemas.ReasonInvalidEvent},
		"evidence":          {tokeny.RoleCandidates, change(t, part(`{"status":"a"}`), handlers.Part{Container: token, State: jsontext.Value(`{"status":"a"}`), Absent: true, Evidence: jsontext.Value(`"no"`)}), schemas.ReasonInvalidEvent},
		"drift, no JSON":    {tokeny.RoleDrift, []byte(`path`), schemas.ReasonBadJSON},
		"drift, no path":    {tokeny.RoleDrift, []byte(`{}`), schemas.ReasonInvalidEvent},
		"drift, a long one": {tokeny.RoleDrift, []byte(`{"path":"` + strings.Repeat("a", 201) + `"}`), schemas.ReasonInvalidEvent},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := tokeny.Platform().Normalize(delivery(c.role, c.payload))
			var unusable *handlers.UnusableError
			if !errors.As(err, &unusable) || unusable.Reason != c.want || out.Events != nil {
				t.Errorf("got %d events and %v, want %s", len(out.Events), err, c.want)
			}
		})
	}
}

// FuzzNormalize: whatever was delivered becomes events that can be written or an
// *UnusableError, the same every time.
func FuzzNormalize(f *testing.F) {
	const full = `{"status":"pending","section":"Agreements","kycStatus":"pending","kycProvider":"MANUAL","walletHash":"w","walletProvider":"USER_MANAGED","emailHash":"e","identity":"i","investorType":"individual","country":"LUX","createdAt":"2026-03-01T10:00:00Z"}`
	absent := part(full)
	absent.Absent, absent.Evidence = true, jsontext.Value(`{"found":false}`)
	for _, c := range [][2]handlers.Part{
		{{}, part(full)},
		{part(full), part(`{"status":"qualified"}`)},
		{part(`{"status":"qualified"}`), part(`{"status":"x y","kycStatus":"expired","holder":{"found":true,"status":"x"}}`)},
		{part(full), absent},
		{absent, part(full)},
	} {
		f.Add(change(f, c[0], c[1]), true)
	}
	f.Add([]byte(`{"path":"candidates.items.foo","value":"x"}`), false)
	f.Fuzz(func(t *testing.T, payload []byte, changes bool) {
		role := tokeny.RoleDrift
		if changes {
			role = tokeny.RoleCandidates
		}
		d := delivery(role, bytes.Clone(payload))
		out, err := tokeny.Platform().Normalize(d)
		again, errAgain := tokeny.Platform().Normalize(d)
		if diff := cmp.Diff(out, again); diff != "" || (err == nil) != (errAgain == nil) || !bytes.Equal(d.Payload, payload) {
			t.Errorf("differs the second time: %v, %v\n%s", err, errAgain, diff)
		}
		if err != nil {
			var unusable *handlers.UnusableError
			if !errors.As(err, &unusable) || out.Events != nil {
				t.Errorf("got %d events and %T: %v", len(out.Events), err, err)
			}
			return
		}
		ids := map[string]bool{}
		for _, e := range out.Events {
			if ids[e.ID] {
				t.Errorf("two events have the id %s", e.ID)
			}
			ids[e.ID] = true
			if _, err := e.Messages(); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzScan: whatever the platform answers, a scan ends with valid events or an
// error that has nothing of the answer, and the next one is none the worse for
// it.
func FuzzScan(f *testing.F) {
	for _, body := range []string{
		`{"items":[` + one + `,` + two + `]}`, `{"items":[` + one + `],"next":"?page=2","total":2}`,
		`{"items":[{"id":"a","email":"Anna.Lind@mail.example","name":"Anna Lind","wallet":"0xAbc","lastLogin":7,"createdAt":"x"}]}`,
		`[{"id":"a","wallets":[{"address":"0xAbc"}],"status":["x"]}]`, `{"items":{}}`, `{`, ``, `{"items":[],"links":{"next":{"href":"/x?y"}}}`,
	} {
		f.Add([]byte(body), []byte(body))
	}
	f.Fuzz(func(t *testing.T, candidates, holders []byte) {
		good := true
		m := &inMemory{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case strings.HasSuffix(r.URL.Path, "/signin"):
				_, _ = w.Write([]byte(`{"token":"t"}`))
			case good:
				_, _ = w.Write([]byte(`{"items":[` + one + `]}`))
			case strings.HasSuffix(r.URL.Path, "/candidates"):
				_, _ = w.Write(candidates)
			default:
				_, _ = w.Write(holders)
			}
		})}
		w := handlerstest.NewWatch(t, tokeny.Platform(), settings("https://api.tokeny.com", token), &http.Client{Transport: m})
		if got := types(w.Round()); got != "added" {
			t.Fatalf("told %q", got)
		}
		good = false
		w.Round()
		if err := w.Err(); err != nil && len(candidates) > 40 && strings.Contains(err.Error(), string(candidates)) {
			t.Errorf("the error has the answer: %v", err)
		}
		good = true
		if w.Round(); w.Err() != nil {
			t.Error(w.Err())
		}
		if left := types(w.Round()); left != "" && !strings.HasPrefix(left, "absent") {
			t.Errorf("told %q", left)
		}
	})
}
