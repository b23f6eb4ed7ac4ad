package concedus_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/concedus"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/schemas"
)

// shows returns what is told of a contract on the issuer's list: its event, and
// the bodies of that and of its twin.
func shows(t *testing.T, change func(s *concedustest.Server, c *concedustest.Contract)) (e schemas.Event, open, twin string) {
	t.Helper()
	within(t, settings(t), func(w *world) {
		c := w.contract("A-1")
		change(w.server, &c)
		w.server.Enter(owner, c)
		e, _ = w.only(w.round("issuer-list-"+owner), schemas.SubscriptionSubmittedToIssuer)
		messages, err := e.Messages()
		if err != nil || len(messages) != 2 {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
		open, twin = string(messages[0].Body), string(messages[1].Body)
	})
	return e, open, twin
}

// TestAllFormsOfTimesAreRead: those that Concedus' documentation shows, and
// their like. What is no time is told to nobody but the readers of twins.
func TestAllFormsOfTimesAreRead(t *testing.T) {
	for said, want := range map[string]struct {
		created string
		assumed bool
	}{
		"2023-01-03T08:57:10.282Z":      {"2023-01-03T08:57:10.282Z", false},
		"2023-01-03T08:57:08.94Z":       {"2023-01-03T08:57:08.94Z", false},
		"2022-11-22T17:50:22+01:00":     {"2022-11-22T17:50:22+01:00", false},
		"2022-08-03T11:17:28+0200":      {"2022-08-03T11:17:28+02:00", false},
		"2022-08-03T11:17:28.5-0130":    {"2022-08-03T11:17:28.5-01:30", false},
		"2021-08-27T11:11:04":           {"2021-08-27T11:11:04+02:00", true},
		"2021-12-27T11:11:04.123":       {"2021-12-27T11:11:04.123+01:00", true},
		"2021-12-27 11:11:04":           {"2021-12-27T11:11:04+01:00", true},
		"2021-12-27T11:11":              {"2021-12-27T11:11:00+01:00", true},
		"2021-08-01T12:03:03Z0":         {"2021-08-01T12:03:03Z", false},
		"2023-01-03":                    {"2023-01-03T00:00:00+01:00", false},
		"1646842318":                    {"2022-03-09T16:11:58Z", false},
		"2023-01-03T08:57:10,282Z":      {"2023-01-03T08:57:10.282Z", false},
		"03.01.2023":                    {},
		"0000-01-03":                    {},
		"2023-02-30":                    {},
		"Dora Probst, geb. 1970-01-01":  {},
		"2023-01-03T08:57:10.282Z Dora": {},
		"12":                            {},
	} {
		e, open, twin := shows(t, func(_ *concedustest.Server, c *concedustest.Contract) { c.Created = said })
		data := e.Data.(schemas.Contract)
		if want.created == "" {
			if data.Created != nil || len(said) > 4 && strings.Contains(open, said) || !strings.Contains(twin, `"asSaid":{"created":"`+said+`"}`) {
				t.Errorf("%q: created %v\n%s\n%s", said, data.Created, open, twin)
			}
			continue
		}
		if data.Created == nil || *data.Created != want.created || (len(data.ZoneAssumed) == 1) != want.assumed {
			t.Errorf("%q: created %v, want %s; assumed %v", said, data.Created, want.created, data.ZoneAssumed)
			continue
		}
		if raw, odd := data.AsSaid["created"]; odd && raw != said || !odd && said != want.created && said != "2023-01-03" {
			t.Errorf("%q: is told as %q", said, raw)
		}
	}
}

func TestSignedStaysADate(t *testing.T) {
	within(t, settings(t), func(w *world) {
		w.release("A-1")
		e, data := w.only(w.round("agent-list"), schemas.SubscriptionReleased)
		if *data.Signed != "2026-02-03" || data.AsSaid != nil || data.ZoneAssumed != nil || e.Time != *data.Updated {
			t.Errorf("signed %s, as said %v, assumed %v, time %s", *data.Signed, data.AsSaid, data.ZoneAssumed, e.Time)
		}
	})
}

// TestAmountsAreKeptToTheLetter: no float can round them, and none is invented.
func TestAmountsAreKeptToTheLetter(t *testing.T) {
	for said, want := range map[string]string{
		`1200`: "1200", `1200.00`: "1200.00", `0.10`: "0.10", `-5`: "-5", `9007199254740993.01`: "9007199254740993.01",
		`1.2e3`: "1200", `12E-1`: "1.2", `"75.50"`: "75.50",
		`1e999999999`: "", `true`: "", `"1.200,00"`: "", `{"a":1}`: "", `[]`: "",
	} {
		e, _, _ := shows(t, func(s *concedustest.Server, c *concedustest.Contract) {
			c.Agio = said
			s.SumsPerPage = true
		})
		data := e.Data.(schemas.Contract)
		switch {
		case want == "" && data.FrontEndFee != nil:
			t.Errorf("%s: became %v", said, data.FrontEndFee)
		case want != "" && (data.FrontEndFee == nil || *data.FrontEndFee != schemas.Money{Value: want, Currency: "EUR"}):
			t.Errorf("%s: became %v, want %s", said, data.FrontEndFee, want)
		}
	}
}

// TestTextIsReadHoweverItIsEncoded, and equal texts are equal.
func TestTextIsReadHoweverItIsEncoded(t *testing.T) {
	for name, c := range map[string]struct {
		set      func(*concedustest.Server)
		product  string
		repaired bool
	}{
		"UTF-8":        {func(*concedustest.Server) {}, "Müßiggang–Anleihe", false},
		"Windows-1252": {func(s *concedustest.Server) { s.Windows1252 = true }, "Müßiggang–Anleihe", true},
		"decomposed":   {func(*concedustest.Server) {}, "Mu\u0308ßiggang–Anleihe", false},
		"Pascal case":  {func(s *concedustest.Server) { s.PascalCase = true }, "Müßiggang–Anleihe", false},
	} {
		e, _, twin := shows(t, func(s *concedustest.Server, k *concedustest.Contract) {
			c.set(s)
			k.Product, k.InvestorName = c.product, "Jörg Mül€er"
		})
		data := e.Data.(schemas.Contract)
		if *data.Product != "Müßiggang–Anleihe" || data.EncodingRepaired != c.repaired || !strings.Contains(twin, `"investorName":"Jörg Mül€er"`) {
			t.Errorf("%s: product %q, repaired %t: %s", name, *data.Product, data.EncodingRepaired, twin)
		}
	}
}

// TestWhatIsUnknownIsPassedOnAndFlagged.
func TestWhatIsUnknownIsPassedOnAndFlagged(t *testing.T) {
	for said, want := range map[string]struct {
		native  *string
		derived *schemas.ContractType
	}{
		"RV4":                 {ptr("RV4"), &schemas.ContractType{InvestorClass: "retail", Market: "secondary", Stage: 4, Inferred: true}},
		"PP1":                 {ptr("PP1"), &schemas.ContractType{InvestorClass: "professional", Market: "primary", Stage: 1, Inferred: true}},
		"XV4":                 {ptr("XV4"), nil},
		"PV12":                {ptr("PV12"), nil},
		"Dora Probst, privat": {nil, nil},
	} {
		e, open, twin := shows(t, func(_ *concedustest.Server, c *concedustest.Contract) { c.Type = said })
		data := e.Data.(schemas.Contract)
		if diff := cmp.Diff(want.native, data.NativeType) + cmp.Diff(want.derived, data.Derived); diff != "" || e.Unknown != (want.derived == nil) {
			t.Errorf("%s: unknown %t\n%s", said, e.Unknown, diff)
		}
		if want.native == nil && (strings.Contains(open, said) || !strings.Contains(twin, said)) {
			t.Errorf("%s: open %s, twin %s", said, open, twin)
		}
	}
}

func ptr[T any](v T) *T { return &v }

// raw answers like a stand-in, but for a list that is written by hand.
func raw(t *testing.T, list string) http.Handler {
	t.Helper()
	server := concedustest.New(time.Now)
	server.Agent("agent-user", "agent-password-9f")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/open") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, list)
			return
		}
		server.ServeHTTP(w, r)
	})
}

// reads returns what is told of the agent's list, and why that failed.
func reads(t *testing.T, list string) (events []schemas.Event, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := settings(t)
		s.Issuers = nil
		watch := handlerstest.NewWatch(t, concedus.Platform(), s, handlerstest.Serve(t, raw(t, list)))
		events = watch.Round("agent-list")
		err = watch.Err()
	})
	return events, err
}

// TestListsThatAreNoneAreNotRead: an answer that lacks something shows nothing,
// rather than an empty list.
func TestListsThatAreNoneAreNotRead(t *testing.T) {
	for list, want := range map[string]error{
		`{}`:                              handlers.ErrIncomplete,
		`[]`:                              handlers.ErrIncomplete,
		`{"contracts":[]}`:                handlers.ErrIncomplete,
		`{"summary":{}}`:                  handlers.ErrIncomplete,
		`{"summary":{},"contracts":null}`: handlers.ErrIncomplete,
		`{"summary":{},"contracts":{}}`:   handlers.ErrIncomplete,
		`{"summary":{},"contracts":[{}]}`: handlers.ErrIncomplete,
		`{"summary":{},"contracts":[{"key":""}]}`:              handlers.ErrIncomplete,
		`{"summary":{},"contracts":[{"key":["A"]}]}`:           handlers.ErrIncomplete,
		`{"summary":{},"contracts":["A"]}`:                     handlers.ErrIncomplete,
		`{"summary":{},"contracts":[{"key":"A"}`:               handlers.ErrNotJSON,
		`{"summary":{"sumShare":7},"contracts":[{"key":"A"}]}`: handlers.ErrMoved,
		``:                              handlers.ErrNotJSON,
		`{"summary":{},"contracts":[]}`: nil,
		`{"Summary":{},"CONTRACTS":[]}`: nil,
		`{"summary":{"sumShare":null,"sumAgio":"0"},"contracts":[],"more":1}`: nil,
	} {
		events, err := reads(t, list)
		if !errors.Is(err, want) || len(events) > 0 {
			t.Errorf("%s: %d events, %v; want %v", list, len(events), err, want)
		}
	}
}

// TestSparseContractsAreContracts: all but the key may be missing, null, or
// something else than documented.
func TestSparseContractsAreContracts(t *testing.T) {
	for _, contract := range []string{
		`{"key":"A"}`,
		`{"key":4711}`,
		`{"key":"A","updatedDate":null,"signed":null,"type":null,"product":null,"share":null,"agio":null}`,
		`{"key":"A","updatedDate":{},"signed":[],"type":true,"product":[1],"share":{},"agio":true,"investorName":[],"created":{}}`,
		`{"key":"\ud800A","product":"\udfff"}`,
		`{"key":"..","remark":"x","Bemerkung":{"a":[1]},"sehr komisch":1}`,
	} {
		events, err := reads(t, `{"summary":{"itemsCount":1},"contracts":[`+contract+`]}`)
		if err != nil || len(events) != 1 {
			t.Errorf("%s: %d events, %v", contract, len(events), err)
		}
	}
}

// TestStrangeMembersAreToldByName, each once, and never by what they hold.
func TestStrangeMembersAreToldByName(t *testing.T) {
	paths, done := map[string]string{}, map[string]bool{}
	p := concedus.Platform()
	normalize := p.Normalize
	p.Normalize = func(d handlers.Delivery) (handlers.Output, error) {
		out, err := normalize(d)
		if done[d.ID] {
			return out, err // it may be tried as often as anybody likes
		}
		done[d.ID] = true
		for _, drift := range out.Drift {
			value := ""
			if drift.Value != nil {
				value = *drift.Value
			}
			paths[drift.Path] += value + ";"
		}
		return out, err
	}
	synctest.Test(t, func(t *testing.T) {
		server := concedustest.New(time.Now)
		server.Agent("agent-user", "agent-password-9f")
		s := settings(t)
		s.Issuers = nil
		watch := handlerstest.NewWatch(t, p, s, handlerstest.Serve(t, server))
		server.Release(concedustest.Contract{Key: "A", Type: "QX", More: map[string]string{
			"remark": `"Dora"`, "Dora Probst": `1`, "investor": `{"Dora":1}`,
		}})
		round := func() {
			watch.Round()
			watch.Advance(20 * time.Minute)
			if err := watch.Err(); err != nil {
				t.Error(err)
			}
		}
		round()
		server.Change("A", func(c *concedustest.Contract) { c.Share = "4"; c.Updated = "gestern" })
		round()
		server.SetCompliance("A", 399)
		round()
		server.Note("A", 150, "2026-02-03T04:05:06", "see the remarks")
		round()
		round()
	})
	want := map[string]string{
		"contracts.remark": ";", "contracts.investor": ";", "contracts.type": "QX;", "contracts.updatedDate": ";",
		"compliance.status": ";150;",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
}

// TestComplianceAnswersThatAreNoneProveNothing.
func TestComplianceAnswersThatAreNoneProveNothing(t *testing.T) {
	for name, c := range map[string]struct {
		code int
		kind string
		body string
		good bool
	}{
		"record":           {200, "application/json", `{"status":301}`, true},
		"text":             {200, "application/json", `{"Status":"301","notes":{"a":1}}`, true},
		"list":             {200, "application/json", `[{"key":"x","customerkey":"","status":301}]`, true},
		"two":              {200, "application/json", `[{"status":301},{"status":301}]`, false},
		"none":             {200, "application/json", `[]`, false},
		"no status":        {200, "application/json", `{"key":"x"}`, false},
		"negative":         {200, "application/json", `{"status":-301}`, false},
		"null":             {200, "application/json", `null`, false},
		"cut":              {200, "application/json", `{"status":301`, false},
		"404 of a proxy":   {404, "text/html", `<p>not found</p>`, false},
		"404 of a gateway": {404, "application/json", `"not found"`, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			server := concedustest.New(time.Now)
			server.Agent("agent-user", "agent-password-9f")
			server.Release(concedustest.Contract{Key: "A/B ?#%", Share: "1"})
			var paths []string
			s := settings(t)
			s.Issuers = nil
			watch := handlerstest.NewWatch(t, concedus.Platform(), s, handlerstest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/status/") {
					paths = append(paths, r.URL.EscapedPath())
					w.Header().Set("Content-Type", c.kind)
					w.WriteHeader(c.code)
					_, _ = io.WriteString(w, c.body)
					return
				}
				server.ServeHTTP(w, r)
			})))
			round := func() []schemas.Event {
				watch.Advance(time.Minute)
				return watch.Round()
			}
			round()
			server.Leave("A/B ?#%")
			rejected := false
			for range 4 {
				for _, e := range round() {
					rejected = rejected || e.Type == schemas.SubscriptionRejected
				}
			}
			if rejected != c.good || (watch.Err() == nil) != c.good {
				t.Errorf("%s: rejected %t, %v", name, rejected, watch.Err())
			}
			if err := watch.Err(); err != nil && strings.Contains(err.Error(), "301") {
				t.Errorf("%s: %v", name, err)
			}
			if len(paths) == 0 || paths[0] != "/v2/compliance/status/contracts/A%2FB%20%3F%23%25" {
				t.Errorf("asked for %v", paths)
			}
		})
	}
}

// TestLoginsAreRefusedWhateverTheStatusSays: an answer without a token that
// names an error is no reason to try again and again.
func TestLoginsAreRefusedWhateverTheStatusSays(t *testing.T) {
	for body, want := range map[string]bool{
		`{"errorMessageCodes":["LOGIN_FAILED"]}`: true,
		`{"error":"Invalid request"}`:            true,
		`{"accessToken":"","exp":1}`:             false,
		`{"accessToken"`:                         false,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := settings(t)
			s.Issuers = nil
			asked := 0
			watch := handlerstest.NewWatch(t, concedus.Platform(), s, handlerstest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, body)
			})))
			for range 3 {
				watch.Round("agent-list")
			}
			var refused *handlers.AuthError
			if got := errors.As(watch.Err(), &refused); watch.Err() == nil || got != want || want && asked != 1 {
				t.Errorf("%s: %v after %d logins", body, watch.Err(), asked)
			}
		})
	}
}
