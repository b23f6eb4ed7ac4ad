package accesscontrols_test

import (
	"testing"

	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

func TestGrantsAreASet(t *testing.T) {
	for name, admin := range map[string]bool{"administrator": true, "search": false} {
		t.Run(name, func(t *testing.T) {
			var id string
			w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
				id = p.AddTranche("")
				s.Tranches = []string{id}
				if !admin {
					p.Allowed("accesscontrol-read")
				}
			})
			view := accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"}
			update := accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.update"}
			other := accesscontrolstest.Grant{ByFirmID: "17", ToFirmID: "4821", AccessType: "hedges.view"}
			w.platform.Grant(id, view)
			w.tells(t, "access.created access.created access.granted")
			w.platform.Grant(id, update)
			w.platform.Grant(id, other)
			events := w.tells(t, "access.granted access.granted")
			handlerstest.Golden(t, "testdata/grants_"+name+".golden", events)
			if key := id + "-4821-733-indication-update"; events[0].Key != key {
				t.Errorf("key is %s, want %s", events[0].Key, key)
			}
			w.silent(t)
			w.platform.Revoke(id, update)
			w.tells(t, "")
			if e := w.tells(t, "access.revoked")[0]; e.Data.(schemas.Grant).AccessType != "indication.update" {
				t.Errorf("%+v", e.Data)
			}
			w.platform.Grant(id, update)
			w.tells(t, "access.granted")
			w.platform.Revoke(id, update)
			w.platform.Revoke(id, view)
			w.platform.Revoke(id, other)
			w.tells(t, "")
			w.tells(t, "access.revoked access.revoked access.revoked")
			w.silent(t)
			counts := w.platform.Counts()
			if admin != (counts[accesscontrolstest.AdminGrants] > 0) || admin == (counts[accesscontrolstest.Search] > 0) {
				t.Errorf("asked: %v", counts)
			}
		})
	}
}

func TestGrantsThatCannotBeReadAreNotRevoked(t *testing.T) {
	w, id := one(t)
	w.platform.Grant(id, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"})
	w.tells(t, "access.created access.created access.granted")
	w.platform.Forbid(id, "grants")
	w.platform.Forbid(id, "admin")
	w.silent(t)
	w.platform.Allow(id, "grants") // from now on by search
	w.silent(t)
	w.platform.Forbid(id, "grants")
	w.silent(t)
	w.platform.Allow(id, "grants")
	w.silent(t)
	w.platform.Allow(id, "admin")
	w.silent(t)
}

// The admin's view may end and with it what only it shows.
func TestAnotherViewOfGrantsRevokesNothing(t *testing.T) {
	w, id := one(t)
	w.platform.Grant(id, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"})
	w.tells(t, "access.created access.created access.granted")
	w.platform.Allowed("accesscontrol-read")
	w.platform.Expire()
	w.silent(t)
	if w.platform.Count(accesscontrolstest.Search) == 0 {
		t.Error("nothing was searched for")
	}
}

func TestV2StandsInForV1ThatCannotBeRead(t *testing.T) {
	t.Run("v1 can be read", func(t *testing.T) {
		w, id := one(t)
		w.tells(t, bothCreated)
		w.platform.ReleaseV2(id, true)
		if got := paths(access(t, w.tells(t, "access.changed")[0]).Changes); got != "replace /allocation/released" {
			t.Errorf("changes: %s", got)
		}
		w.silent(t)
		w.platform.Release(id, true)
		if o := offering(t, w.tells(t, "offering.allocations_released")[0]); o.API != "v1" {
			t.Errorf("%+v", o)
		}
		w.silent(t)
	})
	t.Run("v1 can never be read", func(t *testing.T) {
		w, id := one(t)
		w.platform.Forbid(id, "v1")
		w.tells(t, "access.created")
		w.silent(t)
		w.platform.ReleaseV2(id, true)
		w.tells(t, "access.changed")
		e := w.tells(t, "offering.allocations_released")[0]
		if o := offering(t, e); o.API != "v2" || e.Key != id || o.Bootstrap {
			t.Errorf("%+v", o)
		}
		w.silent(t)
		w.platform.Release(id, true)
		w.platform.OpenBook(id)
		w.platform.Allow(id, "v1")
		w.tells(t, "access.created offering.book_opened") // the release was told
		w.silent(t)
		w.platform.Release(id, false)
		w.tells(t, "offering.allocations_unreleased")
		w.silent(t)
	})
	t.Run("v1 can't be read any more", func(t *testing.T) {
		w, id := one(t)
		w.platform.OpenBook(id)
		w.tells(t, bothCreated+" offering.book_opened")
		w.platform.Forbid(id, "v1")
		w.platform.ReleaseV2(id, true)
		w.tells(t, "access.changed")
		w.tells(t, "access.absent")
		w.tells(t, "offering.allocations_released")
		w.silent(t)
		w.platform.Release(id, true)
		w.platform.CloseBook(id)
		w.platform.Allow(id, "v1")
		w.tells(t, "access.reappeared offering.book_closed")
		w.silent(t)
	})
	t.Run("released all along", func(t *testing.T) {
		w, id := one(t)
		w.platform.Forbid(id, "v1")
		w.platform.ReleaseV2(id, true)
		w.tells(t, "access.created")
		if o := offering(t, w.tells(t, "offering.allocations_released")[0]); !o.Bootstrap {
			t.Errorf("%+v", o)
		}
		w.silent(t)
	})
}
