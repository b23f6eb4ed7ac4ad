package tokeny_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/handlerstest"
	"github.com/seed75441868/postern/handlers/tokeny"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
)

// counting is a scan that only counts.
type counting struct {
	handlers.Scan
	seen int
}

func (c *counting) Saw(handlers.Sighting) error                                   { c.seen++; return nil }
func (c *counting) Missing(string, func(string) error) error                      { return nil }
func (c *counting) Missed(string, jsontext.Value) error                           { return nil }
func (c *counting) Complete(string) error                                         { return nil }
func (c *counting) Tell(handlers.Fact) error                                      { return nil }
func (c *counting) Began() time.Time                                              { return began }
func (c *counting) Record(context.Context, string) (r handlers.Record, err error) { return r, nil }
func (c *counting) Records(context.Context, string, func(string, handlers.Record) error) error {
	return nil
}

// BenchmarkScan lists 10,000 candidates; decoding alone is what to compare it
// with.
func BenchmarkScan(b *testing.B) {
	const n = 10_000
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`{"email":"investor%05d@mail.example","id":"a6b54404-2e2d-4c21-8b5d-5e4dd56%05d","kycProvider":"MANUAL","kycStatus":"pending","lastLogin":"2026-01-18T16:36:33.154Z","createdAt":"2026-01-18T16:36:33.080Z","name":"Investor %05d","currentSection":null,"status":"pending","investorType":"individual","country":"LUX","wallet":"0xF0B9acc239740F2B6E5eF96D152A0Fb0f5%05d","walletProvider":"USER_MANAGED"}`, i, i, i, i))
	}
	list := []byte(`{"items":[` + strings.Join(items, ",") + `]}`)
	b.Run("scan", func(b *testing.B) {
		m := &inMemory{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.HasSuffix(r.URL.Path, "/signin") {
				_, _ = w.Write([]byte(`{"token":"t"}`))
				return
			}
			_, _ = w.Write(list)
		})}
		source, err := tokeny.Platform().Open("tokeny", settings("https://api.tokeny.com", token),
			handlers.Means{Client: &http.Client{Transport: m}, Pseudonym: handlerstest.Pseudonym})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			c := &counting{}
			if err := source.Pollers[0].Scan(b.Context(), c); err != nil || c.seen != n {
				b.Fatal(c.seen, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/candidate")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var into struct {
				Items []struct{ ID, Email, Name, InvestorType, Status, KYCStatus, KYCProvider, CurrentSection, Country, Wallet, WalletProvider, CreatedAt, LastLogin string } `json:"items"`
			}
			if err := json.Unmarshal(list, &into, json.MatchCaseInsensitiveNames(true)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/candidate")
	})
}

// TestPseudonymsAreMadeOnce: a scan that sees what the one before saw makes
// none, and what is not seen any more is forgotten in time.
func TestPseudonymsAreMadeOnce(t *testing.T) {
	p := tokenytest.New(tokenytest.Options{Email: email, Password: password}, token)
	made := 0
	source, err := tokeny.Platform().Open("tokeny", settings("https://api.tokeny.com", token), handlers.Means{
		Client: &http.Client{Transport: &inMemory{handler: p}},
		Pseudonym: func(value string) string {
			made++
			return handlerstest.Pseudonym(value)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	makes := func(want int) {
		t.Helper()
		before := made
		if err := source.Pollers[0].Scan(t.Context(), &counting{}); err != nil || made-before != want {
			t.Errorf("made %d pseudonyms, want %d; %v", made-before, want, err)
		}
	}
	people := make([]string, 1000)
	for i := range people {
		people[i] = p.Add(token, tokenytest.Investor{Name: "N", Email: fmt.Sprint(i, "@mail.example"), Wallet: p.Wallet()})
	}
	makes(3000) // mail address, wallet, and both names together
	makes(0)
	var gone []tokenytest.Investor
	for _, id := range people[1:] {
		gone = append(gone, p.Remove(token, id))
	}
	makes(0)
	p.Return(token, gone[0])
	makes(0) // not forgotten at once: a list may be empty by mistake
	p.Remove(token, gone[0].ID)
	for range 12 {
		if err := source.Pollers[0].Scan(t.Context(), &counting{}); err != nil {
			t.Fatal(err)
		}
	}
	p.Return(token, gone[0])
	makes(3)
}
