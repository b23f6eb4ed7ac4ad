package accesscontrols_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/schemas"
)

var granted = accesscontrolstest.Grant{ByFirmID: "17", ToFirmID: accesscontrolstest.SharedFirm, AccessType: "terms.view"}

func TestSharedDataIsReadOneByOne(t *testing.T) {
	w, id := one(t, shared)
	w.platform.Grant(id, granted)
	w.platform.OpenBook(id)
	for _, e := range w.tells(t, "access.created access.created access.granted offering.book_opened") {
		if !isShared(t, e) {
			t.Errorf("%s is not marked as shared", e.Type)
		}
	}
	w.platform.EditRules(id, "view", accesscontrolstest.Rule{Roles: []string{"desk"}})
	w.platform.Revoke(id, granted)
	w.tells(t, "access.changed")
	w.tells(t, "access.revoked")
	w.silent(t)
	// Reads of many don't know of shared data, and would answer with private.
	for _, endpoint := range []string{
		accesscontrolstest.ManyV1, accesscontrolstest.ManyV2, accesscontrolstest.Search, accesscontrolstest.AdminGrants,
	} {
		if n := w.platform.Count(endpoint); n != 0 {
			t.Errorf("%s was asked %d times", endpoint, n)
		}
	}
}

func isShared(t testing.TB, e schemas.Event) bool {
	t.Helper()
	switch d := e.Data.(type) {
	case schemas.Access:
		return d.Shared
	case schemas.OfferingFlags:
		return d.Shared
	case schemas.Grant:
		return d.Shared
	}
	return false
}

func TestASilentDowngradeIsAnErrorAndTellsNothingElse(t *testing.T) {
	w, id := one(t, shared)
	w.platform.Grant(id, granted)
	w.platform.Issuer(false)
	for _, poller := range []string{"tranches-v1", "tranches-v2", "grants"} {
		if events := w.round(t, poller); len(events) > 0 || !errors.Is(w.Err(), accesscontrols.ErrDowngraded) {
			t.Errorf("%s: told %q, error %v", poller, types(events), w.Err())
		}
	}
	private := "private"
	want := []schemas.Drift{{Platform: accesscontrols.Name, Path: "x-access-type", Value: &private}}
	if diff := cmp.Diff(want, w.drift); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
	w.platform.Issuer(true)
	w.tells(t, "access.created access.created access.granted")
}

func TestADowngradeLaterIsSeenBeforeGrantsAreBelieved(t *testing.T) {
	w, id := one(t, shared)
	w.platform.Grant(id, granted)
	w.tells(t, "access.created access.created access.granted")
	w.platform.Issuer(false)
	w.platform.Revoke(id, granted)
	for range 3 {
		if events := w.round(t, "grants"); len(events) > 0 || !errors.Is(w.Err(), accesscontrols.ErrDowngraded) {
			t.Errorf("told %q, error %v", types(events), w.Err())
		}
	}
	// From then on the others don't believe either.
	w.platform.OpenBook(id)
	if events := w.round(t, "tranches-v1"); len(events) > 0 || !errors.Is(w.Err(), accesscontrols.ErrDowngraded) {
		t.Errorf("told %q, error %v", types(events), w.Err())
	}
}

func TestSharedSourcesDoNotReadDocumentsOfDeals(t *testing.T) {
	w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
		p.AddTranche(p.AddDeal())
		s.Discover, s.Shared = true, true
	})
	w.tells(t, bothCreated)
	for _, endpoint := range []string{accesscontrolstest.ManyDeals, accesscontrolstest.OneDeal} {
		if n := w.platform.Count(endpoint); n != 0 {
			t.Errorf("%s was asked %d times", endpoint, n)
		}
	}
}
