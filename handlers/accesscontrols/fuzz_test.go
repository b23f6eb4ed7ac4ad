package accesscontrols

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

// FuzzProject: whatever a document is, its projection is JSON that projects to
// no change, and becomes a valid event.
func FuzzProject(f *testing.F) {
	for name, native := range natives(f) {
		f.Add(native, strings.HasSuffix(name, "full"), uint8(len(name)))
	}
	f.Add([]byte(`{"view":[[]],"hedge":null,"rowVersion":-1,"a\u0000b":1e999}`), true, uint8(1))
	names := []string{"tranche_v1", "tranche_v2_user", "tranche_v2_full", "deal_user", "deal_full"}
	f.Fuzz(func(t *testing.T, native []byte, _ bool, which uint8) {
		tree, err := parse(native)
		object, ok := tree.(map[string]any)
		if err != nil || !ok {
			return
		}
		name := names[int(which)%len(names)]
		s, role, key, _ := shapeFor(name)
		p := projector{full: strings.HasSuffix(name, "full"), pseudonym: pseudonym}
		d := p.project(object, s, nil)
		d.API, d.ID = "v2", "x"
		again := p.project(object, s, nil)
		if !bytes.Equal(d.Doc, again.Doc) {
			t.Fatalf("differs the second time: %s, %s", d.Doc, again.Doc)
		}
		state, err := json.Marshal(d, json.Deterministic(true))
		if err != nil {
			t.Fatal(err)
		}
		c := handlers.Change{
			Entry: "e", Key: key + "x", Role: role, To: time.Unix(1, 0), Generation: "g", Digest: "d",
			Current: handlers.Record{Revision: 1, Parts: map[string]handlers.Part{role: {State: state}}},
		}
		if out := told(t, c, 1); out[0].Type != schemas.AccessCreated {
			t.Errorf("told %s", out[0].Type)
		}
		c.Previous = c.Current
		told(t, c, 0)
		c.Previous = handlers.Record{Revision: 1, Parts: map[string]handlers.Part{role: {State: []byte(`{"api":"v2","id":"x","doc":{}}`)}}}
		if out := told(t, c, -1); len(out) > 0 && out[0].Type != schemas.AccessChanged {
			t.Errorf("told %s", out[0].Type)
		}
	})
}

// told normalizes a change, which becomes n events, valid ones. -1: any number.
func told(t testing.TB, c handlers.Change, n int) []schemas.Event {
	t.Helper()
	payload, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := normalize(handlers.Delivery{
		ID: "d", Source: "cas", Platform: Name, Channel: schemas.ChannelPoll, Role: c.Role,
		Received: time.Unix(2, 0), Changes: true, Payload: payload,
	})
	if err != nil || n >= 0 && len(out.Events) != n {
		t.Fatalf("%d events, want %d; error %v", len(out.Events), n, err)
	}
	for _, e := range out.Events {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		if _, err := e.Messages(); err != nil {
			t.Error(err)
		}
	}
	for _, d := range out.Drift {
		e := schemas.Event{
			ID: "cas:platform:x", Source: "cas", Type: schemas.PlatformSchemaDrift, Key: "cas", DeliveryID: "d",
			Time: "2026-01-01T00:00:00Z", Recorded: time.Unix(2, 0), Channel: schemas.ChannelPoll, Data: d,
		}
		if err := e.Validate(); err != nil {
			t.Errorf("drift at %q can't be told: %v", d.Path, err)
		}
	}
	return out.Events
}

// FuzzNormalize: whatever was delivered becomes valid events, nothing, or an
// *UnusableError, the same every time.
func FuzzNormalize(f *testing.F) {
	roles := []string{RoleTranchesV1, RoleTranchesV2, RoleDeals, RoleGrants, RoleDowngrade, ""}
	for i, state := range []string{
		`{"api":"v1","id":"t","doc":{"isLeiEnabled":true}}`,
		`{"api":"v2","view":"full","id":"t","rowVersion":3,"doc":{"view":[{"action":"Default"}]}}`,
		`{"trancheId":"t","flags":{"bookOpen":true},"releaseApi":"v1"}`,
		`{"trancheId":"t","byFirmId":"1","toFirmId":"2","accessType":"terms.view"}`,
	} {
		f.Add(uint8(i), []byte(state), []byte(nil), false, false)
		f.Add(uint8(i), []byte(state), []byte(state), true, false)
		f.Add(uint8(i), []byte(state), []byte(state), false, true)
	}
	f.Fuzz(func(t *testing.T, which uint8, after, before []byte, absent, was bool) {
		role := roles[int(which)%len(roles)]
		c := handlers.Change{
			Entry: "e", Key: "t-1-2-terms-view", Role: role, To: time.Unix(1, 0), Generation: "g", Digest: "d",
			Current: handlers.Record{Revision: 2, Parts: map[string]handlers.Part{role: {State: after, Absent: absent}}},
		}
		if len(before) > 0 {
			c.Previous = handlers.Record{Revision: 1, Parts: map[string]handlers.Part{role: {State: before, Absent: was}}}
		}
		payload, err := c.Encode()
		if err != nil {
			return
		}
		d := handlers.Delivery{
			ID: "d", Source: "cas", Platform: Name, Channel: schemas.ChannelPoll, Role: role, Received: time.Unix(2, 0),
			Changes: true, Payload: payload,
		}
		out, err := normalize(d)
		again, errAgain := normalize(d)
		if diff := cmp.Diff(out, again); diff != "" || (err == nil) != (errAgain == nil) {
			t.Errorf("differs the second time: %v, %v\n%s", err, errAgain, diff)
		}
		var unusable *handlers.UnusableError
		if err != nil && !asUnusable(err, &unusable) {
			t.Errorf("got %T", err)
		}
		seen := map[string]bool{}
		for _, e := range out.Events {
			if _, err := e.Messages(); err != nil || seen[e.ID] {
				t.Errorf("%s is there twice, or error %v", e.ID, err)
			}
			seen[e.ID] = true
		}
	})
}

func asUnusable(err error, to **handlers.UnusableError) bool {
	u, ok := err.(*handlers.UnusableError) //nolint:errorlint // it must be one itself
	*to = u
	return ok
}
