package handlers_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/schemas"
)

func aChange() handlers.Change {
	at := time.Date(2026, 4, 14, 10, 0, 0, 5e6, time.UTC)
	part := func(state string) map[string]handlers.Part {
		return map[string]handlers.Part{
			"list":  {Container: "n", State: jsontext.Value(state), Since: at},
			"other": {State: jsontext.Value(`[1.50]`), Absent: true, Evidence: jsontext.Value(`{"status":404}`), Since: at},
		}
	}
	return handlers.Change{
		Entry: "src.k", Base: 7, Key: "k", Role: "list",
		Previous: handlers.Record{Key: "k", Revision: 2, Parts: part(`{"b":1,"a":"ü"}`)},
		Current:  handlers.Record{Key: "k", Revision: 3, Parts: part(`{"b":2,"a":"ü"}`)},
		From:     at.Add(-time.Minute), To: at, Generation: "abc1", Digest: "AbCdEfGhIjKlMnOpQrStUv",
	}
}

func TestAChangeComesBackAsItWas(t *testing.T) {
	for name, c := range map[string]handlers.Change{
		"entity": aChange(),
		"cursor": {Entry: "src.list.cursor", Base: 3, Cursor: jsontext.Value(`{"at":"x"}`)},
		"first":  {Entry: "src.k", Key: "k", Role: "list", Bootstrap: true, To: time.Unix(1, 0).UTC()},
	} {
		t.Run(name, func(t *testing.T) {
			payload, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := handlers.DecodeChange(payload)
			if diff := cmp.Diff(c, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			again, err := got.Encode()
			if string(again) != string(payload) || err != nil {
				t.Errorf("%v: written again it is %s", err, again)
			}
		})
	}
}

func TestWhatIsNoChangeIsRefusedWithoutAValue(t *testing.T) {
	for _, payload := range []string{"", "secret", "{}", `{"entry":""}`, `{"entry":"a","entry":"secret"}`, `{"entry":7}`} {
		if _, err := handlers.DecodeChange([]byte(payload)); !errors.Is(err, handlers.ErrNoChange) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", payload, err)
		}
		if _, err := handlers.DecodeStored([]byte(payload)); !errors.Is(err, handlers.ErrNoChange) || strings.Contains(err.Error(), "secret") {
			t.Errorf("stored %s: %v", payload, err)
		}
	}
	bad := aChange()
	bad.Current.Parts["list"] = handlers.Part{State: jsontext.Value(`{"secret"`)}
	if _, err := bad.Encode(); !errors.Is(err, handlers.ErrNoChange) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestAnEventOfAChangeIsAFunctionOfTheFact(t *testing.T) {
	c := aChange()
	d := handlers.Delivery{ID: "d1", Source: "src", Channel: schemas.ChannelPoll, Received: time.Unix(9, 0)}
	e := c.Event(d, schemas.InvestorAdded, "Key One", nil)
	want := "src:investor:" + schemas.IDPart("Key One") + ":abc1.3:added:AbCdEfGhIjKlMnOpQrStUv"
	if e.ID != want || e.Sequence != "0000000000000003" || e.DeliveryID != "d1" || e.Time != "2026-04-14T10:00:00.005Z" || e.Key != "Key One" {
		t.Errorf("got %+v, want the id %s", e, want)
	}
	// Who saw the same at another time tells the same.
	later := aChange()
	later.From, later.To = later.From.Add(time.Hour), later.To.Add(time.Hour)
	if got := later.Event(d, schemas.InvestorAdded, "Key One", nil); got.ID != e.ID || later.Content() != c.Content() {
		t.Error("the time of a scan makes another fact")
	}
}

func TestContentTellsChangesApart(t *testing.T) {
	seen := map[[32]byte]int{aChange().Content(): -1}
	for i, change := range []func(*handlers.Change){
		func(c *handlers.Change) { c.Entry = "src.l" },
		func(c *handlers.Change) { c.Base++ },
		func(c *handlers.Change) { c.Role = "other" },
		func(c *handlers.Change) { c.Generation = "abc2" },
		func(c *handlers.Change) { c.Digest = "x" },
		func(c *handlers.Change) { c.Current.Revision++ },
		func(c *handlers.Change) { c.Cursor = jsontext.Value(`1`) },
		func(c *handlers.Change) { c.Cursor = jsontext.Value(`2`) },
		func(c *handlers.Change) { c.Entry, c.Role = "src.kl", "ist" },
	} {
		c := aChange()
		change(&c)
		if other, ok := seen[c.Content()]; ok {
			t.Errorf("%d and %d have the same content", other, i)
		}
		seen[c.Content()] = i
	}
}

func TestObservedSaysBetweenWhat(t *testing.T) {
	c := aChange()
	want := schemas.Observed{Revision: 3, ChangedBetween: []string{"2026-04-14T09:59:00.005Z", "2026-04-14T10:00:00.005Z"}}
	if diff := cmp.Diff(want, c.Observed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.From, c.Bootstrap = time.Time{}, true
	if diff := cmp.Diff(schemas.Observed{Revision: 3, Bootstrap: true}, c.Observed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !c.Before().Present() || c.Current.Parts["other"].Present() || (handlers.Part{}).Present() {
		t.Error("who is present is told wrong")
	}
}

func TestStoredComesBackAsItWas(t *testing.T) {
	for _, s := range []handlers.Stored{
		{Delivery: "d1", Record: aChange().Current},
		{Delivery: "d2", Cursor: jsontext.Value(`{"at":1}`)},
	} {
		value, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := handlers.DecodeStored(value)
		if diff := cmp.Diff(s, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}
