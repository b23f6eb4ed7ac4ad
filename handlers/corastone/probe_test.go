package corastone_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/handlers/corastone"
	"github.com/seed75441868/postern/handlers/corastone/corastonetest"
)

// The token call at the organisation's host says what is missing: an address, a
// way through the gateway, the credentials, or single scopes.
func TestTheConnectivityTestSaysWhatIsMissing(t *testing.T) {
	const lacks, secret = "readErrors", "standin-secret-91"
	ledger := corastonetest.NewLedger(corastonetest.Options{})
	ledger.AddClient("all", secret, corastonetest.Scopes()...)
	ledger.AddClient("some", secret, slices.DeleteFunc(corastonetest.Scopes(), func(s string) bool { return s == lacks })...)
	wall := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	for name, c := range map[string]struct {
		handler    http.Handler
		id, secret string
		want       string // grade and a part of the text or of what to do
	}{
		"all is well":      {ledger, "all", secret, "ok gets a token"},
		"one scope lacks":  {ledger, "some", secret, "fail may not have " + lacks},
		"a wrong secret":   {ledger, "all", "another", "fail refused with 401"},
		"a wall before it": {wall, "all", secret, "fail User-Agent"},
		"no such host":     {nil, "all", secret, "fail organisation's id"},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			at := "https://integration-api.nobody.example"
			if c.handler != nil {
				server := httptest.NewServer(c.handler)
				defer server.Close()
				at = server.URL
			} else {
				transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
					return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
				}
			}
			s := settings(t)
			s.API = &corastone.API{URL: at, OrgID: "org-1", ClientID: c.id, ClientSecret: handlers.NewSecret(c.secret)}
			source, err := corastone.Platform().Open("node", s, handlers.Means{
				Client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
			})
			if err != nil {
				t.Fatal(err)
			}
			findings := source.Probe(t.Context())
			grade, text, _ := strings.Cut(c.want, " ")
			if !slices.ContainsFunc(findings, func(f handlers.Finding) bool {
				return string(f.Grade) == grade && strings.Contains(f.Text+f.Todo, text) && (f.Grade == handlers.FoundOK) == (f.Todo == "")
			}) {
				t.Errorf("found %+v", findings)
			}
			fails := slices.ContainsFunc(findings, func(f handlers.Finding) bool { return f.Grade == handlers.FoundFail })
			if fails != (grade == "fail") {
				t.Errorf("found %+v", findings)
			}
		})
	}
}
