package tokeny_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
	"github.com/seed75441868/postern/schemas"
)

// anna is a candidate whose KYC is under way.
func anna() tokenytest.Investor {
	return tokenytest.Investor{
		ID: "b1e3a6d2-0c47-4f19-8a5e-61d9f7c02e34", Email: "Anna.Lind@mail.example", Name: "Anna Lind",
		Status: "pending", KYCStatus: "pending", KYCProvider: "MANUAL", Country: "SWE",
		Wallet: "0x8bA1f109551bD432803012645Ac136ddd64DBA72",
	}
}

// TestEachChangeIsToldOnce: a change is told by exactly its events, as the
// golden files have them, and never again.
func TestEachChangeIsToldOnce(t *testing.T) {
	const id = "b1e3a6d2-0c47-4f19-8a5e-61d9f7c02e34"
	for name, c := range map[string]struct {
		before func(*tokenytest.Investor)
		change func(*tokenytest.Platform)
		scans  int // that it takes; 0: one
		tells  string
	}{
		"section":  {change: func(p *tokenytest.Platform) { p.SetSection(token, id, "Agreements") }, tells: "status_changed"},
		"kyc":      {change: func(p *tokenytest.Platform) { p.SetKYC(token, id, "approved", "MANUAL") }, tells: "kyc_changed"},
		"provider": {change: func(p *tokenytest.Platform) { p.SetKYC(token, id, "pending", "") }, tells: "kyc_changed"},
		"status": {
			before: func(i *tokenytest.Investor) { i.Status, i.Section = "registered", "Agreements" },
			change: func(p *tokenytest.Platform) {
				p.SetStatus(token, id, "pending")
				p.SetSection(token, id, "")
			},
			tells: "status_changed",
		},
		"qualified": {change: func(p *tokenytest.Platform) { p.SetStatus(token, id, "qualified") }, tells: "status_changed qualified"},
		"disqualified": {
			before: func(i *tokenytest.Investor) { i.Status = "qualified" },
			change: func(p *tokenytest.Platform) { p.SetStatus(token, id, "pending") },
			tells:  "status_changed disqualified",
		},
		"wallet": {
			change: func(p *tokenytest.Platform) {
				p.SetWallet(token, id, "0x2546BcD3c84621e976D8185a91A922aE77ECEc30", "USER_MANAGED")
			},
			tells: "wallet_changed",
		},
		"wallet_gone": {change: func(p *tokenytest.Platform) { p.SetWallet(token, id, "", "") }, tells: "wallet_changed"},
		"wallet_first": {
			before: func(i *tokenytest.Investor) { i.Wallet = "" },
			change: func(p *tokenytest.Platform) {
				p.SetWallet(token, id, "0x2546BcD3c84621e976D8185a91A922aE77ECEc30", "INTEGRATED")
			},
			tells: "wallet_changed",
		},
		"renamed":    {change: func(p *tokenytest.Platform) { p.Rename(token, id, "Anna Berg", "Anna.Lind@mail.example") }, tells: "identity_changed"},
		"other_mail": {change: func(p *tokenytest.Platform) { p.Rename(token, id, "Anna Lind", "berg@mail.example") }, tells: "identity_changed"},
		"everything": {
			change: func(p *tokenytest.Platform) {
				p.SetStatus(token, id, "qualified")
				p.SetKYC(token, id, "approved", "MANUAL")
				p.SetWallet(token, id, "0x2546BcD3c84621e976D8185a91A922aE77ECEc30", "INTEGRATED")
				p.Rename(token, id, "Anna Berg", "berg@mail.example")
			},
			tells: "identity_changed status_changed kyc_changed wallet_changed qualified",
		},
		"unknown_status": {change: func(p *tokenytest.Platform) { p.SetStatus(token, id, "under-review") }, tells: "status_changed"},
		"promoted":       {change: func(p *tokenytest.Platform) { p.Promote(token, id, nil) }, tells: "qualified"},
		"promoted_with_status": {
			change: func(p *tokenytest.Platform) { p.Promote(token, id, ptr("qualified")) },
			tells:  "status_changed qualified",
		},
		"promoted_when_qualified": {
			before: func(i *tokenytest.Investor) { i.Status = "qualified" },
			change: func(p *tokenytest.Platform) { p.Promote(token, id, nil) },
			tells:  "",
		},
		"holder_but_not_qualified": {
			before: func(i *tokenytest.Investor) { i.Status = "qualified" },
			change: func(p *tokenytest.Platform) { p.Promote(token, id, ptr("revoked")) },
			tells:  "status_changed disqualified",
		},
		"absent": {change: func(p *tokenytest.Platform) { p.Remove(token, id) }, scans: 2, tells: "absent"},
		"absent_when_qualified": {
			before: func(i *tokenytest.Investor) { i.Status = "qualified" },
			change: func(p *tokenytest.Platform) { p.Remove(token, id) },
			scans:  2, tells: "absent disqualified",
		},
		"absent_unreadable_holders": {
			before: func(i *tokenytest.Investor) { i.Status = "qualified" },
			change: func(p *tokenytest.Platform) {
				p.Remove(token, id)
				p.Inject(tokenytest.Fault{Endpoint: tokenytest.Holders, Kind: tokenytest.Status, Code: 403, Times: 1000})
			},
			scans: 2, tells: "absent",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			i := anna()
			if c.before != nil {
				c.before(&i)
			}
			w.platform.Add(token, i)
			first := "added"
			if i.Status == "qualified" {
				first = "added qualified"
			}
			w.tells(t, first)
			w.silent(t)
			c.change(w.platform)
			for range c.scans - 1 {
				w.tells(t, "")
			}
			handlerstest.Golden(t, "testdata/"+name+".golden", w.tells(t, c.tells))
			w.silent(t)
		})
	}
}

func TestFirstSightTellsWhatHolds(t *testing.T) {
	w := newWorld(t)
	w.platform.Add(token, anna())
	i := anna()
	i.ID, i.Email, i.Name, i.Status, i.KYCStatus = "0d9c6a57-4b1e-4a27-b6d3-e0f8a1c25b90", "", "", "qualified", "approved"
	i.Type, i.Wallet, i.KYCProvider = "institution", "", ""
	w.platform.Add(token, i)
	events := w.tells(t, "added added qualified")
	handlerstest.Golden(t, "testdata/first.golden", events)
	for _, e := range events {
		if !investor(t, e).Bootstrap {
			t.Errorf("%s is not bootstrap", e.Type)
		}
	}
	i.ID = "77c8e5b3-9f20-4d61-a04e-2b6d1c9f8e15"
	w.platform.Add(token, i)
	later := w.tells(t, "added qualified")
	for _, e := range later {
		if investor(t, e).Bootstrap || len(investor(t, e).ChangedBetween) != 2 {
			t.Errorf("%s is bootstrap, or nobody knows between when: %+v", e.Type, e.Data)
		}
	}
	handlerstest.Golden(t, "testdata/later.golden", later)
}

// TestThereAndBackIsThreeChanges: the state that comes again is a change as
// any other.
func TestThereAndBackIsThreeChanges(t *testing.T) {
	w := newWorld(t)
	id := w.platform.Add(token, anna())
	w.tells(t, "added")
	ids := map[string]bool{}
	for _, status := range []string{"qualified", "pending", "qualified"} {
		w.platform.SetStatus(token, id, status)
		want := "status_changed disqualified"
		if status == "qualified" {
			want = "status_changed qualified"
		}
		for _, e := range w.tells(t, want) {
			if ids[e.ID] {
				t.Errorf("%s was told twice", e.ID)
			}
			ids[e.ID] = true
		}
	}
	w.silent(t)
}

// TestLoginsAndLettersAreNothing: neither when somebody logged in nor in which
// case a wallet is written is a change.
func TestLoginsAndLettersAreNothing(t *testing.T) {
	w := newWorld(t)
	id := w.platform.Add(token, anna())
	w.tells(t, "added")
	for range 4 { // the stand-in writes wallets in turns
		w.platform.Login(token, id)
		w.tells(t, "")
	}
	w.platform.Rename(token, id, "Anna Lind", "anna.lind@MAIL.example")
	w.tells(t, "")
}

func TestPseudonymsAreThoseOfLowerCase(t *testing.T) {
	w := newWorld(t)
	w.platform.Add(token, anna())
	i := investor(t, w.tells(t, "added")[0])
	if diff := cmp.Diff(hashOf(anna().Email), i.EmailHash); diff != "" {
		t.Errorf("emailHash: %s", diff)
	}
	if diff := cmp.Diff(hashOf(anna().Wallet), i.WalletHash); diff != "" {
		t.Errorf("walletHash: %s", diff)
	}
}

// TestAbsenceIsBelievedAfterTwoScans, and what comes back is told again.
func TestAbsenceIsBelievedAfterTwoScans(t *testing.T) {
	w := newWorld(t)
	i := anna()
	i.Status = "qualified"
	id := w.platform.Add(token, i)
	w.platform.Add(token, tokenytest.Investor{})
	w.tells(t, "added qualified added")

	gone := w.platform.Remove(token, id)
	w.tells(t, "")
	w.platform.Return(token, gone)
	w.silent(t) // it was never believed

	gone = w.platform.Remove(token, id)
	w.tells(t, "")
	w.tells(t, "absent disqualified")
	w.silent(t)
	w.platform.Return(token, gone)
	w.tells(t, "reappeared qualified")
	w.silent(t)

	w.platform.Remove(token, id)
	w.tells(t, "")
	w.tells(t, "absent disqualified")
	gone.Status, gone.Name = "pending", "Anna Berg"
	w.platform.Return(token, gone)
	w.tells(t, "reappeared identity_changed status_changed")
	w.silent(t)
}

// TestHoldersThatCannotBeReadProveNothing: who can't be looked for is absent
// as others are, but not disqualified.
func TestHoldersThatCannotBeReadProveNothing(t *testing.T) {
	for name, f := range map[string]tokenytest.Fault{
		"403":           {Kind: tokenytest.Status, Code: 403},
		"404":           {Kind: tokenytest.Status, Code: 404},
		"another shape": {Kind: tokenytest.NoItems},
		"half of them":  {Kind: tokenytest.Half},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			i := anna()
			i.Status = "qualified"
			id := w.platform.Add(token, i)
			w.tells(t, "added qualified")
			f.Endpoint, f.Times = tokenytest.Holders, 1000
			w.platform.Inject(f)
			gone := w.platform.Remove(token, id)
			w.tells(t, "")
			data := investor(t, w.tells(t, "absent")[0])
			want := &schemas.InvestorHolder{}
			if f.Code != 0 {
				want.Code = ptr(int64(f.Code))
			}
			if diff := cmp.Diff(want, data.Holder); diff != "" {
				t.Errorf("evidence (-want +got):\n%s", diff)
			}
			w.silent(t)
			w.platform.Return(token, gone)
			w.tells(t, "reappeared") // qualified it was all the time
		})
	}
}

// TestHoldersAreAskedOnceAndOnlyIfSomebodyIsMissing.
func TestHoldersAreAskedOnceAndOnlyIfSomebodyIsMissing(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 4 {
		ids = append(ids, w.platform.Add(token, tokenytest.Investor{}))
	}
	w.tells(t, "added added added added")
	w.tells(t, "")
	if n := w.platform.Count(tokenytest.Holders); n != 0 {
		t.Errorf("holders were asked %d times for nobody", n)
	}
	w.platform.Promote(token, ids[0], nil)
	w.platform.Promote(token, ids[1], nil)
	w.platform.Remove(token, ids[2])
	w.tells(t, "qualified qualified")
	if n := w.platform.Count(tokenytest.Holders); n != 1 {
		t.Errorf("holders were asked %d times, want 1", n)
	}
	w.tells(t, "absent")
	w.silent(t)
	w.platform.Demote(token, ids[0])
	w.tells(t, "disqualified") // a candidate again, and registered
	w.platform.Remove(token, ids[1])
	w.tells(t, "")
	w.tells(t, "absent disqualified")
}

// TestTokensAreWatchedEachForItself: the same person is another investor of
// another token, and one token that can't be read doesn't keep others from it.
func TestTokensAreWatchedEachForItself(t *testing.T) {
	w := newWorld(t, token, other)
	w.platform.Add(token, anna())
	w.platform.Add(other, anna())
	events := w.tells(t, "added added")
	if events[0].Key != token+"-"+anna().ID || events[1].Key != other+"-"+anna().ID {
		t.Errorf("keys %q and %q", events[0].Key, events[1].Key)
	}
	if n := w.platform.Count(tokenytest.SignIn); n != 1 {
		t.Errorf("signed in %d times for two tokens", n)
	}
	w.platform.SetStatus(other, anna().ID, "qualified")
	w.platform.Inject(tokenytest.Fault{Endpoint: tokenytest.Candidates, Kind: tokenytest.Status, Code: 500})
	if got := types(w.Round()); got != "status_changed qualified" || w.Err() == nil {
		t.Errorf("told %q, and %v", got, w.Err())
	}
}

// TestUnknownWordsAreTold as they are, flagged, and as drift once.
func TestUnknownWordsAreTold(t *testing.T) {
	w := newWorld(t)
	id := w.platform.Add(token, anna())
	w.tells(t, "added")
	w.platform.SetStatus(token, id, "refused")
	w.platform.SetKYC(token, id, "expired", "some provider")
	for _, e := range w.tells(t, "status_changed kyc_changed") {
		if i := investor(t, e); !e.Unknown || *i.NativeStatus != "refused" || *i.KYCStatus != "expired" {
			t.Errorf("%s: unknown %v, %+v", e.Type, e.Unknown, i)
		}
	}
	w.platform.SetStatus(token, id, "Ms. Anna Lind of Lund")
	w.tells(t, "status_changed")
	w.silent(t)
	want := []schemas.Drift{
		{Platform: "tokeny", Path: "candidates.items.status", Value: ptr("refused")},
		{Platform: "tokeny", Path: "candidates.items.kycStatus", Value: ptr("expired")},
		{Platform: "tokeny", Path: "candidates.items.status"},
	}
	if diff := cmp.Diff(want, w.drift); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
}
