package tokeny_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
	"github.com/seed75441868/postern/schemas"
)

// TestFaultsInventAndLoseNothing: whatever goes wrong with a scan, it tells
// nothing, says what was wrong without a word of the platform's, and the next
// one tells what happened meanwhile.
func TestFaultsInventAndLoseNothing(t *testing.T) {
	for name, c := range map[string]struct {
		fault tokenytest.Fault
		check func(error) bool
	}{
		"403":             {tokenytest.Fault{Kind: tokenytest.Status, Code: 403}, code(403)},
		"404":             {tokenytest.Fault{Kind: tokenytest.Status, Code: 404}, code(404)},
		"503":             {tokenytest.Fault{Kind: tokenytest.Status, Code: 503, RetryAfter: 7 * time.Second}, retry(503, 7*time.Second)},
		"half":            {tokenytest.Fault{Kind: tokenytest.Half}, is(handlers.ErrIncomplete)},
		"mistyped":        {tokenytest.Fault{Kind: tokenytest.Mistyped}, is(handlers.ErrIncomplete)},
		"holders 500":     {tokenytest.Fault{Endpoint: tokenytest.Holders, Kind: tokenytest.Status, Code: 500}, code(500)},
		"holders cut":     {tokenytest.Fault{Endpoint: tokenytest.Holders, Kind: tokenytest.Cut}, is(handlers.ErrNotJSON)},
		"holders limited": {tokenytest.Fault{Endpoint: tokenytest.Holders, Kind: tokenytest.Status, Code: 429, RetryAfter: time.Second}, retry(429, time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			stays, goes := w.platform.Add(token, anna()), w.platform.Add(token, tokenytest.Investor{})
			w.tells(t, "added added")

			w.server.Client().Timeout = 300 * time.Millisecond
			w.platform.SetStatus(token, stays, "qualified")
			w.platform.Remove(token, goes)
			w.platform.Inject(c.fault)
			w.Advance(time.Minute)
			if events := w.Round(); len(events) != 0 || !c.check(w.Err()) {
				t.Errorf("told %q, error %v", types(events), w.Err())
			}
			secretless(t, w.Err())

			w.platform.Heal()
			w.tells(t, "status_changed qualified")
			w.tells(t, "absent")
			w.silent(t)
		})
	}
}

func code(want int) func(error) bool {
	return func(err error) bool {
		var u *handlers.UpstreamError
		return errors.As(err, &u) && u.Code == want
	}
}

func retry(want int, after time.Duration) func(error) bool {
	return func(err error) bool {
		var u *handlers.UpstreamError
		return errors.As(err, &u) && u.Code == want && u.RetryAfter == after
	}
}

func is(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }

// secretless checks that an error has nothing in it that is a secret or
// personal.
func secretless(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{email, password, "anna", "lind", token, "eyJ", "127.0.0.1/"} {
		if strings.Contains(strings.ToLower(err.Error()), strings.ToLower(secret)) {
			t.Errorf("the error says too much: %v", err)
		}
	}
}

// TestAListThatIsEmptyOnceIsNoAbsence.
func TestAListThatIsEmptyOnceIsNoAbsence(t *testing.T) {
	w := newWorld(t)
	w.platform.Add(token, anna())
	w.tells(t, "added")
	w.platform.Inject(tokenytest.Fault{Endpoint: tokenytest.Candidates, Kind: tokenytest.Empty})
	w.tells(t, "")
	w.silent(t)
}

// TestHoldersThatCannotBeReadLoseNobody: who was a holder stays one, and who was
// promoted meanwhile is found when they can be read.
func TestHoldersThatCannotBeReadLoseNobody(t *testing.T) {
	w := newWorld(t)
	held := w.platform.Add(token, tokenytest.Investor{Status: "qualified"})
	promoted := w.platform.Add(token, tokenytest.Investor{Status: "qualified"})
	w.tells(t, "added qualified added qualified")
	w.platform.Promote(token, held, nil)
	w.tells(t, "")

	w.platform.Inject(tokenytest.Fault{Endpoint: tokenytest.Holders, Kind: tokenytest.Status, Code: 403, Times: 1000})
	for range 5 {
		w.tells(t, "")
	}
	w.platform.Promote(token, promoted, nil)
	w.tells(t, "")
	w.tells(t, "absent")
	w.platform.Heal()
	w.Advance(15 * time.Minute)
	if got := w.tells(t, "reappeared"); len(got) == 1 && got[0].Key != token+"-"+promoted {
		t.Errorf("another one reappeared: %s", got[0].Key)
	}
	w.silent(t)
}

// TestWhoIsAbsentIsFoundAmongTheHolders, though nobody else is missing, and not
// by what is somebody else's now.
func TestWhoIsAbsentIsFoundAmongTheHolders(t *testing.T) {
	w := newWorld(t)
	w.platform.Add(token, anna())
	w.tells(t, "added")
	w.platform.Remove(token, anna().ID)
	w.tells(t, "")
	w.tells(t, "absent")
	again := anna()
	again.ID = "77c8e5b3-9f20-4d61-a04e-2b6d1c9f8e15"
	w.platform.Add(token, again)
	w.tells(t, "added")
	w.platform.Promote(token, again.ID, nil)
	w.tells(t, "qualified")
	w.Advance(15 * time.Minute)
	w.silent(t)
	third := w.platform.Add(token, tokenytest.Investor{})
	w.tells(t, "added")
	gone := w.platform.Remove(token, third)
	w.tells(t, "")
	w.tells(t, "absent")
	w.platform.Return(token, gone)
	w.platform.Promote(token, third, nil)
	w.Advance(15 * time.Minute)
	w.tells(t, "reappeared qualified")
	w.silent(t)
}

// TestListsInPagesAreReadToTheirEnd, although nobody says that there are any.
func TestListsInPagesAreReadToTheirEnd(t *testing.T) {
	w := newWorld(t)
	w.platform.PageBy(2)
	var ids []string
	for range 5 {
		ids = append(ids, w.platform.Add(token, tokenytest.Investor{}))
	}
	w.tells(t, "added added added added added")
	if n := w.platform.Count(tokenytest.Candidates); n != 3 {
		t.Errorf("%d pages were asked for, want 3", n)
	}
	for _, id := range ids[:3] {
		w.platform.Promote(token, id, nil)
	}
	w.tells(t, "qualified qualified qualified") // the holders are in pages, too
	w.silent(t)
	if len(w.drift) != 0 {
		t.Errorf("drift %+v", w.drift)
	}
}

// TestPagesOfTwoSessionsAreNotOneList: a token that is replaced between two
// pages begins the list again.
func TestPagesOfTwoSessionsAreNotOneList(t *testing.T) {
	w := newWorld(t)
	w.platform.PageBy(2)
	for range 3 {
		w.platform.Add(token, tokenytest.Investor{})
	}
	pages := 0
	w.open(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/candidates") {
			if pages++; pages == 2 {
				w.platform.Revoke()
			}
		}
		w.platform.ServeHTTP(rw, r)
	}))
	w.tells(t, "added added added")
	if pages != 5 { // the first, the refused one and its repeat, and both again
		t.Errorf("%d pages were asked for, want 5", pages)
	}
}

// says watches a platform that answers the list of candidates with texts, in
// turn, the last one for ever.
func says(t *testing.T, bodies ...string) *world {
	t.Helper()
	w := newWorld(t)
	asked := 0
	w.open(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/candidates") {
			w.platform.ServeHTTP(rw, r)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte(bodies[min(asked, len(bodies)-1)]))
		asked++
	}))
	return w
}

const (
	one    = `{"id":"b1e3a6d2-0c47-4f19-8a5e-61d9f7c02e34","status":"pending"}`
	two    = `{"id":"0d9c6a57-4b1e-4a27-b6d3-e0f8a1c25b90","status":"pending"}`
	other2 = `{"id":"0d9c6a57-4b1e-4a27-b6d3-e0f8a1c25b90","status":"registered"}`
)

func TestWholeListsAreBelieved(t *testing.T) {
	for name, bodies := range map[string][]string{
		"as documented":       {`{"items":[` + one + `,` + two + `]}`},
		"counted":             {`{"count":2,"items":[` + one + `,` + two + `]}`},
		"count of the page":   {`{"items":[` + one + `,` + two + `],"count":0}`},
		"counted as text":     {`{"items":[` + one + `,` + two + `],"total":"2"}`},
		"counted below":       {`{"items":[` + one + `,` + two + `],"meta":{"totalItems":2,"page":1,"whatever":1}}`},
		"no next":             {`{"items":[` + one + `,` + two + `],"next":null,"hasMore":false,"totalPages":1,"limit":100}`},
		"empty next":          {`{"items":[` + one + `,` + two + `],"next":"","links":{"next":null,"self":"/x?y=z"}}`},
		"twice the same":      {`{"items":[` + one + `,` + two + `,` + one + `]}`},
		"next as a query":     {`{"items":[` + one + `],"next":"?page=2"}`, `{"items":[` + two + `],"next":null}`},
		"next as a path":      {`{"items":[` + one + `],"next":"/servicing/api/tokens/` + token + `/candidates?page=2","totalPages":2}`, `{"items":[` + two + `],"totalPages":2}`},
		"next behind a gate":  {`{"items":[` + one + `],"next_page_url":"http://10.0.0.7:3000/api/tokens/` + token + `/candidates?page=2"}`, `{"items":[` + two + `]}`},
		"next as a reference": {`{"items":[` + one + `],"_links":{"next":{"href":"?page=2"}}}`, `{"items":[` + two + `]}`},
		"slipped once": {
			`{"items":[` + one + `],"next":"?page=2"}`, `{"items":[` + one + `]}`,
			`{"items":[` + one + `],"next":"?page=2"}`, `{"items":[` + two + `]}`,
		},
		"changed while it was read": {
			`{"items":[` + two + `],"next":"?page=2"}`, `{"items":[` + other2 + `,` + one + `]}`,
			`{"items":[` + one + `,` + two + `]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := says(t, bodies...)
			w.tells(t, "added added")
			if len(w.drift) != 0 {
				t.Errorf("drift %+v", w.drift)
			}
		})
	}
}

func TestHalfListsAreNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		want   error
		bodies []string
	}{
		"no items":            {handlers.ErrIncomplete, []string{`{"candidates":[` + one + `]}`}},
		"items are null":      {handlers.ErrIncomplete, []string{`{"items":null}`}},
		"items are an object": {handlers.ErrIncomplete, []string{`{"items":{"0":` + one + `}}`}},
		"a bare list":         {handlers.ErrIncomplete, []string{`[` + one + `]`}},
		"a text":              {handlers.ErrIncomplete, []string{`"` + email + `"`}},
		"an item is none":     {handlers.ErrIncomplete, []string{`{"items":["` + email + `"]}`}},
		"an item is nothing":  {handlers.ErrIncomplete, []string{`{"items":[null]}`}},
		"no id":               {handlers.ErrIncomplete, []string{`{"items":[{"status":"pending"}]}`}},
		"an id that is none":  {handlers.ErrIncomplete, []string{`{"items":[{"id":"` + email + `"}]}`}},
		"an id too long":      {handlers.ErrIncomplete, []string{`{"items":[{"id":"` + strings.Repeat("a", 65) + `"}]}`}},
		"a status too long":   {handlers.ErrIncomplete, []string{`{"items":[{"id":"a","status":"` + strings.Repeat("a", 201) + `"}]}`}},
		"mistyped":            {handlers.ErrIncomplete, []string{`{"items":[{"id":"a","name":{"` + email + `":1}}]}`}},
		"twice, and differs":  {handlers.ErrIncomplete, []string{`{"items":[` + two + `,` + other2 + `]}`}},
		"cut":                 {handlers.ErrNotJSON, []string{`{"items":[` + one}},
		"something behind":    {handlers.ErrNotJSON, []string{`{"items":[` + one + `]}{}`}},
		"nothing":             {handlers.ErrNotJSON, []string{``}},
		"items twice":         {handlers.ErrNotJSON, []string{`{"items":[],"items":[` + one + `]}`}},
		"no UTF-8":            {handlers.ErrNotJSON, []string{"{\"items\":[{\"id\":\"a\",\"name\":\"\xff\"}]}"}},
		"more":                {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"hasMore":true}`}},
		"more counted":        {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"count":2}`}},
		"more counted below":  {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"pagination":{"total_items":2}}`}},
		"more pages":          {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"totalPages":2}`}},
		"a cursor":            {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"nextCursor":"b2Zmc2V0"}`}},
		"a number":            {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"nextPage":2}`}},
		"elsewhere":           {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"next":"/servicing/api/tokens?page=2"}`}},
		"no URL":              {handlers.ErrIncomplete, []string{`{"items":[` + one + `],"next":"http://%zz?page=2"}`}},
		"a round":             {handlers.ErrMoved, []string{`{"items":[` + one + `],"next":"?page=2"}`}},
		"always slipping": {handlers.ErrMoved, []string{
			`{"items":[` + one + `],"next":"?page=2"}`, `{"items":[` + one + `]}`,
			`{"items":[` + one + `],"next":"?page=2"}`, `{"items":[` + one + `]}`,
			`{"items":[` + one + `],"next":"?page=2"}`, `{"items":[` + one + `]}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := says(t, c.bodies...)
			if events := w.Round(); len(events) != 0 || !errors.Is(w.Err(), c.want) {
				t.Errorf("told %q, error %v, want %v", types(events), w.Err(), c.want)
			}
			secretless(t, w.Err())
		})
	}
}

// TestWhatIsUnknownIsToldOnceAsDrift: by its name, without its value.
func TestWhatIsUnknownIsToldOnceAsDrift(t *testing.T) {
	var many []string
	w := newWorld(t)
	for range 50 {
		many = append(many, `{"id":"`+w.platform.Add(other, tokenytest.Investor{})+`","createdAt":"yesterday","passport":"C01X00T47","Ms. Lind":1}`)
	}
	w = says(t, `{"items":[`+strings.Join(many, ",")+`],"region":"`+email+`"}`)
	w.round(t)
	w.silent(t)
	want := map[string]string{
		"candidates.region": "", "candidates.items.passport": "", "candidates.items.*": "",
		"candidates.items.createdAt": "", "candidates.items.length": "50",
	}
	got := map[string]string{}
	for _, d := range w.drift {
		if _, again := got[d.Path]; again {
			t.Errorf("%s was told twice", d.Path)
		}
		got[d.Path] = value(d)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
}

func value(d schemas.Drift) string {
	if d.Value == nil {
		return ""
	}
	return *d.Value
}
