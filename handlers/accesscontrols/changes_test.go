package accesscontrols_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/accesscontrols"
	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

const bothCreated = "access.created access.created"

func TestFirstSightTellsDocumentsAndTheFlagsThatHold(t *testing.T) {
	w, id := one(t)
	w.platform.OpenBook(id)
	w.platform.SetVisible(id, true, false, true)
	w.platform.Grant(id, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"})
	events := w.tells(t, "access.created access.created access.granted offering.book_opened offering.visibility_changed")
	for _, e := range events {
		if !observed(t, e).Bootstrap {
			t.Errorf("%s is not marked as bootstrap", e.Type)
		}
	}
	handlerstest.Golden(t, "testdata/first.golden", events)
	w.silent(t)
}

func TestEachFlagHasItsEvents(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	for _, step := range []struct {
		flag    string
		on, off schemas.Type
	}{
		{accesscontrolstest.BookOpen, schemas.OfferingBookOpened, schemas.OfferingBookClosed},
		{accesscontrolstest.HedgeBookOpen, schemas.OfferingHedgeBookOpened, schemas.OfferingHedgeBookClosed},
		{accesscontrolstest.AllocationsReleased, schemas.OfferingAllocationsReleased, schemas.OfferingAllocationsUnreleased},
	} {
		for _, on := range []bool{true, false, true} {
			w.platform.Set(id, step.flag, on)
			typ := step.off
			if on {
				typ = step.on
			}
			e := w.tells(t, string(typ))[0]
			o := offering(t, e)
			if e.Key != id || o.TrancheID != id || o.NativeType != step.flag || *o.NativeStatus == *o.PreviousStatus {
				t.Errorf("%s says something else: %+v", typ, o)
			}
			if o.Bootstrap || len(o.ChangedBetween) != 2 || o.ModifiedAt == nil || e.Time != *o.ModifiedAt {
				t.Errorf("%s lacks when it changed: %+v at %s", typ, o, e.Time)
			}
			w.tells(t, "")
		}
	}
	w.silent(t)
}

func TestSeveralFlagsOfVisibilityAreOneEvent(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	w.platform.SetVisible(id, true, false, true)
	events := w.tells(t, "offering.visibility_changed")
	if got := paths(offering(t, events[0]).Changes); got != "replace /tranche, replace /allocationsToInvestor" {
		t.Errorf("changes: %s", got)
	}
	handlerstest.Golden(t, "testdata/visibility.golden", events)
	w.platform.SetVisible(id, true, true, false)
	w.tells(t, "offering.visibility_changed")
	w.silent(t)
}

func TestAllFlagsAtOnceAreAnEventEach(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	w.platform.OpenBook(id)
	w.platform.Set(id, accesscontrolstest.HedgeBookOpen, true)
	w.platform.Release(id, true)
	w.platform.SetVisible(id, true, true, true)
	w.tells(t, "offering.allocations_released offering.book_opened offering.hedge_book_opened offering.visibility_changed")
	w.silent(t)
}

func TestRulesThatChangeAreToldAsSets(t *testing.T) {
	w, id := one(t, full)
	w.tells(t, bothCreated)
	w.platform.EditRules(id, "indication.add",
		accesscontrolstest.Rule{Roles: []string{"syndicate", "sales"}, UserIDs: []string{accesscontrolstest.Trader}, Action: "Cancel"},
		accesscontrolstest.Rule{Roles: []string{"desk"}, Regions: []string{"emea", "apac"}})
	events := w.tells(t, "access.changed")
	a := access(t, events[0])
	if got := paths(a.Changes); got != "replace /indication/add" || *a.RowVersionFrom != 1 || *a.RowVersionTo != 2 || a.VersionRegressed {
		t.Errorf("changes: %s, from %v to %v", got, a.RowVersionFrom, a.RowVersionTo)
	}
	if events[0].Time != *a.ModifiedAt || events[0].Key != "tranche-v2-"+id {
		t.Errorf("key %s at %s", events[0].Key, events[0].Time)
	}
	handlerstest.Golden(t, "testdata/rules.golden", events)
	w.platform.EditRules(id, "privateComments.add")
	if got := paths(access(t, w.tells(t, "access.changed")[0]).Changes); got != "remove /privateComments/add" {
		t.Errorf("changes: %s", got)
	}
	w.platform.EditRules(id, "allocation.classifications.Professional.view", accesscontrolstest.Rule{Roles: []string{"desk"}})
	if got := paths(access(t, w.tells(t, "access.changed")[0]).Changes); got != "add /allocation/classifications/Professional" {
		t.Errorf("changes: %s", got)
	}
	w.silent(t)
}

func TestUsersSeeBooleans(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	w.platform.EditRules(id, "indication.add", accesscontrolstest.Rule{Roles: []string{"desk"}})
	events := w.tells(t, "access.changed")
	handlerstest.Golden(t, "testdata/booleans.golden", events)
	// Who else may is not the user's to see, but that the document is another
	// one now is.
	w.platform.EditRules(id, "indication.add", accesscontrolstest.Rule{Roles: []string{"syndicate"}})
	if a := access(t, w.tells(t, "access.changed")[0]); len(a.Changes) != 0 || *a.RowVersionFrom != 2 || *a.RowVersionTo != 3 {
		t.Errorf("changes: %+v", a)
	}
	w.silent(t)
}

func TestAVersionThatGoesBackIsFlagged(t *testing.T) {
	w, id := one(t)
	w.platform.SetVersion(id, 7)
	w.tells(t, bothCreated)
	w.platform.SetVersion(id, 3)
	a := access(t, w.tells(t, "access.changed")[0])
	if !a.VersionRegressed || *a.RowVersionFrom != 7 || *a.RowVersionTo != 3 {
		t.Errorf("%+v", a)
	}
	w.platform.SetVersion(id, 7)
	if a := access(t, w.tells(t, "access.changed")[0]); a.VersionRegressed {
		t.Errorf("%+v", a)
	}
	w.silent(t)
}

func TestWhatSaysTheSameChangesNothing(t *testing.T) {
	for name, with := range map[string]func(*accesscontrols.Settings){"user": func(*accesscontrols.Settings) {}, "full": full} {
		t.Run(name, func(t *testing.T) {
			w, id := one(t, with)
			w.platform.EditRules(id, "allocation.view",
				accesscontrolstest.Rule{Roles: []string{"a", "b"}, Regions: []string{"x", "y"}},
				accesscontrolstest.Rule{UserIDs: []string{accesscontrolstest.Trader, accesscontrolstest.Creator}, Action: "Cancel"})
			w.platform.SetLimit(id, "1.50", "3")
			w.platform.Grant(id, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "indication.view"})
			w.platform.Grant(id, accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "733", AccessType: "terms.view"})
			w.tells(t, "access.created access.created access.granted access.granted")
			w.platform.Turn(true)
			w.silent(t)
			w.platform.Turn(false)
			w.silent(t)
			w.platform.Touch(id, "u-somebody-else@bank.example")
			w.silent(t)
		})
	}
}

func TestNumbersAreComparedAsNumbers(t *testing.T) {
	w, id := one(t)
	w.platform.SetLimit(id, "1.50", "3")
	w.platform.SetVersion(id, 4)
	w.tells(t, bothCreated)
	w.platform.SetLimit(id, "1.5", "3.000")
	w.platform.SetVersion(id, 4)
	w.tells(t, "")
	w.platform.SetLimit(id, "1.5", "3.001")
	w.platform.SetVersion(id, 4)
	if got := paths(access(t, w.tells(t, "access.changed")[0]).Changes); got != "replace /indication/limitConstraints" {
		t.Errorf("changes: %s", got)
	}
}

func TestTheRestOfAV1DocumentIsADocument(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	w.platform.Member(id, "v1", "isLeiEnabled", false)
	e := w.tells(t, "access.changed")[0]
	a := access(t, e)
	if got := paths(a.Changes); e.Key != "tranche-v1-"+id || got != "replace /isLeiEnabled" || a.API != "v1" || a.View != nil || a.RowVersionTo != nil {
		t.Errorf("%s: %s %+v", e.Key, got, a)
	}
	w.silent(t)
}

func TestASourceThatCannotBeResolvedIsNoChange(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	w.platform.Member(id, "v1", "sourceMetadata", map[string]any{})
	w.silent(t)
	w.platform.Member(id, "v1", "sourceMetadata", nil)
	w.silent(t)
	w.platform.Member(id, "v1", "sourceMetadata", map[string]any{"firmId": 12})
	if got := paths(access(t, w.tells(t, "access.changed")[0]).Changes); got != "replace /sourceMetadata/firmId, remove /sourceMetadata/sourceAppKey, remove /sourceMetadata/sourceCreatedBy, remove /sourceMetadata/sourceId" {
		t.Errorf("changes: %s", got)
	}
}

func TestWhatCannotBeReadIsAbsentWithTheStatus(t *testing.T) {
	for name, c := range map[string]struct {
		leave  func(*accesscontrolstest.Platform, string)
		status int64
	}{
		"forbidden": {func(p *accesscontrolstest.Platform, id string) { p.Forbid(id, "v2") }, 403},
		"gone":      {func(p *accesscontrolstest.Platform, id string) { p.Forget(id, "v2") }, 404},
	} {
		t.Run(name, func(t *testing.T) {
			w, id := one(t)
			w.tells(t, bothCreated)
			c.leave(w.platform, id)
			w.tells(t, "") // once is not believed
			events := w.tells(t, "access.absent")
			a := access(t, events[0])
			if a.HTTPStatus == nil || *a.HTTPStatus != c.status || *a.RowVersionFrom != 1 || a.RowVersionTo != nil || *a.TrancheID != id {
				t.Errorf("%+v", a)
			}
			if c.status == 403 {
				handlerstest.Golden(t, "testdata/absent.golden", events)
			}
			w.silent(t)
			w.platform.EditRules(id, "view", accesscontrolstest.Rule{Roles: []string{"desk"}})
			w.platform.Allow(id, "v2")
			events = w.tells(t, "access.reappeared")
			a = access(t, events[0])
			if got := paths(a.Changes); got != "replace /view" || *a.RowVersionFrom != 1 || *a.RowVersionTo != 2 {
				t.Errorf("%s: %+v", got, a)
			}
			w.silent(t)
		})
	}
}

func TestAGlimpseOfAbsenceIsNone(t *testing.T) {
	w, id := one(t)
	w.tells(t, bothCreated)
	for range 3 {
		w.platform.Forbid(id, "v1")
		w.tells(t, "")
		w.platform.Allow(id, "v1")
		w.tells(t, "")
	}
}

func TestADealHasADocumentToo(t *testing.T) {
	for name, with := range map[string]accesscontrols.View{"user": accesscontrols.ViewUser, "full": accesscontrols.ViewFull} {
		t.Run(name, func(t *testing.T) {
			var id string
			w := newWorld(t, func(p *accesscontrolstest.Platform, s *accesscontrols.Settings) {
				id = p.AddDeal()
				p.AddTranche(id)
				s.Deals, s.View = []string{id}, with
			})
			w.tells(t, "access.created access.created access.created")
			w.platform.EditRules(id, "indication.investor.contact.orderPlacer.view", accesscontrolstest.Rule{Roles: []string{"desk"}})
			events := w.tells(t, "access.changed")
			a := access(t, events[0])
			if got := paths(a.Changes); got != "replace /indication/investor/contact/roles/orderPlacer/view" {
				t.Errorf("changes: %s", got)
			}
			if events[0].Key != "deal-v2-"+id || a.DealID == nil || *a.DealID != id || a.TrancheID != nil || *a.View != string(with) {
				t.Errorf("%s: %+v", events[0].Key, a)
			}
			w.platform.Forbid(id, "")
			w.tells(t, "")
			w.tells(t, "access.absent")
			w.silent(t)
		})
	}
}

func TestAnotherViewIsNoChangeOfTheDocument(t *testing.T) {
	asUser, id := one(t)
	asUser.tells(t, bothCreated)
	inFull, same := one(t, full)
	inFull.tells(t, bothCreated)
	if id != same {
		t.Fatal("they are of different tranches")
	}
	c, other := changeOf(t, asUser, "tranche-v2-"+id), changeOf(t, inFull, "tranche-v2-"+id)
	c.Previous, c.Current, c.Base = c.Current, other.Current, 1
	if out := normalized(t, c); len(out.Events) != 0 {
		t.Errorf("told %s", types(out.Events))
	}
	inFull.platform.EditRules(id, "view", accesscontrolstest.Rule{Roles: []string{"desk"}})
	inFull.tells(t, "access.changed")
	c.Current = changeOf(t, inFull, "tranche-v2-"+id).Current
	out := normalized(t, c)
	if a := access(t, the(t, out.Events, schemas.AccessChanged)); len(a.Changes) != 0 || *a.RowVersionTo != 2 {
		t.Errorf("%+v", a)
	}
}

// changeOf returns the last change of an entity.
func changeOf(t testing.TB, w *world, key string) handlers.Change {
	t.Helper()
	for _, payload := range slices.Backward(w.payloads) {
		if c, err := handlers.DecodeChange(payload); err == nil && c.Key == key {
			return c
		}
	}
	t.Fatalf("nothing changed of %s", key)
	return handlers.Change{}
}

func normalized(t testing.TB, c handlers.Change) handlers.Output {
	t.Helper()
	out, err := accesscontrols.Platform().Normalize(delivery(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func delivery(t testing.TB, c handlers.Change) handlers.Delivery {
	t.Helper()
	payload, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return handlers.Delivery{
		ID: "d1", Source: accesscontrols.Name, Platform: accesscontrols.Name, Channel: schemas.ChannelPoll,
		Role: c.Role, Received: began, Changes: true, Payload: payload,
	}
}

func TestCreatedLaterIsNoBootstrap(t *testing.T) {
	w, id := one(t)
	w.platform.Forget(id, "v1")
	w.platform.Forget(id, "v2")
	w.silent(t)
	w.platform.Allow(id, "v1")
	w.platform.Allow(id, "v2")
	w.platform.OpenBook(id)
	for _, e := range w.tells(t, bothCreated+" offering.book_opened") {
		if o := observed(t, e); e.Type != schemas.OfferingBookOpened && o.Bootstrap {
			t.Errorf("%s is bootstrap", e.ID)
		}
	}
	w.silent(t)
}

func observed(t testing.TB, e schemas.Event) schemas.Observed {
	t.Helper()
	switch d := e.Data.(type) {
	case schemas.Access:
		return d.Observed
	case schemas.OfferingFlags:
		return d.Observed
	case schemas.Grant:
		return d.Observed
	}
	t.Fatalf("data is %T", e.Data)
	return schemas.Observed{}
}

func TestTimesWithoutAZoneAreFlagged(t *testing.T) {
	w, id := one(t)
	w.platform.Member(id, "v1", "lastModifiedDateTime", "2026-04-01T09:00:00.1234567")
	a := access(t, the(t, byKey(w.tells(t, bothCreated), "tranche-v1-"+id), schemas.AccessCreated))
	if !a.TimeZoneAssumed || *a.ModifiedAt != "2026-04-01T09:00:00.123Z" {
		t.Errorf("%+v", a)
	}
	if diff := cmp.Diff(began.Format("2006-01-02T15:04:05.0000000-07:00"), *a.CreatedAt); diff != "" {
		t.Error(diff)
	}
}

func byKey(events []schemas.Event, key string) []schemas.Event {
	var found []schemas.Event
	for _, e := range events {
		if e.Key == key {
			found = append(found, e)
		}
	}
	return found
}
