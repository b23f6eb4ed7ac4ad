package accesscontrols_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/handlerstest/canaries"
	"github.com/seed75441868/postern/schemas"
)

// Users, secrets and whatever nobody knows are in no event, no delivery, no
// state and no error.
func TestNobodyHearsOfUsersAndSecrets(t *testing.T) {
	planted := canaries.Some(7, 10)
	// The secret only has to be sent to be told.
	for _, text := range []string{accesscontrolstest.Creator, accesscontrolstest.Modifier, accesscontrolstest.Trader} {
		planted = append(planted, canaries.Canary{Kind: "user", Text: text})
	}
	ear := canaries.NewEar(append(slices.Clone(planted), canaries.Canary{Kind: "secret", Text: secret}))
	for name, with := range map[string]func(*accesscontrols.Settings){
		"user": func(*accesscontrols.Settings) {}, "full": full, "shared": shared,
	} {
		t.Run(name, func(t *testing.T) {
			var deal, id string
			w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
				deal = p.AddDeal()
				id = p.AddTranche(deal)
				s.Discover = true
				with(s)
			})
			listen := func(events []schemas.Event) {
				t.Helper()
				for _, e := range events {
					messages, err := e.Messages()
					if err != nil {
						t.Fatal(err)
					}
					for _, m := range messages {
						for _, heard := range ear.Hear(append([]byte(m.Subject+" "+m.ID+" "), m.Body...)) {
							t.Fatalf("%s on %s: %s", heard, m.Stream, m.Body)
						}
					}
				}
			}
			listen(w.round(t))
			for i, c := range planted {
				if at := map[string]int{"full": 0, "user": 1, "shared": 2}[name]; i%3 != at && i < 10 {
					continue // the views differ in rules, and in little else
				}
				user := c.Text
				nest := map[string]any{user: user, "list": []any{user, map[string]any{"x": user}}}
				for _, api := range []string{"v1", "v2"} {
					w.platform.Member(id, api, "remark", user)
					w.platform.Member(id, api, "nested", nest)
					w.platform.Member(id, api, user, true)
					w.platform.Member(id, api, "createdBy", user)
					w.platform.Member(id, api, "indication", nil)
				}
				w.platform.Member(id, "v1", "bookOpen", user)
				w.platform.Member(id, "v1", "isLeiEnabled", user)
				w.platform.Member(id, "v1", "defaultIndicationIntentType", user)
				w.platform.Member(id, "v1", "availableLimitTypes", nest)
				w.platform.Member(id, "v1", "availableBasisTypes", user)
				w.platform.Member(id, "v2", "hedge", user)
				w.platform.Member(id, "v2", "indication", map[string]any{"view": user, "add": []any{user}, "limitConstraints": nest})
				w.platform.Member(id, "v2", "rowVersion", user)
				w.platform.EditRules(id, "view", accesscontrolstest.Rule{Roles: []string{"sales"}, UserIDs: []string{user, "x" + user}})
				w.platform.EditRules(deal, "view", accesscontrolstest.Rule{Roles: []string{user}, UserIDs: []string{user}, Action: user})
				w.platform.Touch(id, user)
				w.platform.Grant(id, accesscontrolstest.Grant{ByFirmID: "1", ToFirmID: "2", AccessType: "x." + user})
				events := w.round(t)
				if len(events) == 0 && i < 3 {
					t.Error("told nothing")
				}
				listen(events)
				quiet(t, w.Err())
				for _, heard := range ear.Hear([]byte(errText(w.Err()))) {
					t.Errorf("%s in an error", heard)
				}
			}
			for _, payload := range w.payloads {
				for _, heard := range ear.Hear(payload) {
					t.Fatalf("%s in a delivery", heard)
				}
			}
			for _, heard := range ear.Hear(w.Stored()) {
				t.Errorf("%s in the state", heard)
			}
			for _, d := range w.drift {
				if len(ear.Hear([]byte(d.Path))) > 0 || d.Value != nil && len(ear.Hear([]byte(*d.Value))) > 0 {
					t.Errorf("a canary in the drift at %s", d.Path)
				}
			}
			if len(w.drift) == 0 {
				t.Error("no drift was told")
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestUnknownMembersAreToldAsDriftOnceAndAsChanges(t *testing.T) {
	w, id := one(t, full)
	w.tells(t, bothCreated)
	w.platform.Member(id, "v2", "quota", map[string]any{"enabled": true, "note": "for Ms Example", "limit": 12})
	a := access(t, w.tells(t, "access.changed")[0])
	if got := paths(a.Changes); got != "add /quota" {
		t.Errorf("changes: %s", got)
	}
	if text := string(a.Changes[0].New); !strings.Contains(text, `"enabled":true`) || strings.Contains(text, "Example") || strings.Contains(text, "12,") {
		t.Errorf("told %s", text)
	}
	w.platform.Member(id, "v2", "quota", map[string]any{"enabled": false, "note": "for Ms Example", "limit": 12})
	if got := paths(access(t, w.tells(t, "access.changed")[0]).Changes); got != "replace /quota/enabled" {
		t.Errorf("changes: %s", got)
	}
	want := []schemas.Drift{{Platform: accesscontrols.Name, Path: "quota"}}
	if diff := cmp.Diff(want, w.drift); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	w.silent(t)
}

func TestUnknownValuesPassAndAreFlagged(t *testing.T) {
	w, id := one(t, full)
	w.tells(t, bothCreated)
	w.platform.EditRules(id, "view", accesscontrolstest.Rule{Roles: []string{"sales"}, Action: "Suspend"})
	e := w.tells(t, "access.changed")[0]
	if !e.Unknown || !strings.Contains(string(access(t, e).Changes[0].New), `"Suspend"`) {
		t.Errorf("known: %v, %s", !e.Unknown, access(t, e).Changes[0].New)
	}
	w.platform.EditRules(id, "add", accesscontrolstest.Rule{Roles: []string{"sales"}})
	if e := w.tells(t, "access.changed")[0]; e.Unknown {
		t.Error("another change is flagged too")
	}
	w.platform.Grant(id, accesscontrolstest.Grant{ByFirmID: "1", ToFirmID: "2", AccessType: "tranche.update"})
	if e := w.tells(t, "access.granted")[0]; !e.Unknown || e.Data.(schemas.Grant).AccessType != "tranche.update" {
		t.Errorf("%+v", e)
	}
	var told []string
	for _, d := range w.drift {
		told = append(told, d.Path+" "+*d.Value)
	}
	if want := []string{"view.action Suspend", "grants.accessType tranche.update"}; !slices.Equal(told, want) {
		t.Errorf("drift %q, want %q", told, want)
	}
}
