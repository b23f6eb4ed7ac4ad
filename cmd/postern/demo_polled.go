package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed75441868/postern/handlers/accesscontrols/accesscontrolstest"
	"github.com/seed75441868/postern/handlers/concedus/concedustest"
	"github.com/seed75441868/postern/handlers/tokeny/tokenytest"
)

// The demo asks its stand-ins more often than anybody should ask a platform,
// and gives up sooner. Between two things that happen all have been asked.
const (
	demoInterval = "400ms"
	demoResolve  = "3s"
	demoScans    = 1400 * time.Millisecond
)

// What the stand-ins let in.
const (
	demoToken  = "5b0c9d6e-3f1a-4e27-8c54-d2a7e1f60b93"
	demoSecret = "demo"
	demoMail   = "agent@fund.example"
	demoOwner  = "77"
)

// demoPlatforms are stand-ins of the platforms that are polled.
type demoPlatforms struct {
	concedus *concedustest.Server
	tokeny   *tokenytest.Platform
	cas      *accesscontrolstest.Platform
	ledger   *demoLedger
	tranche  string
	servers  []*http.Server
	urls     []string // in that order
}

// newDemoPlatforms starts stand-ins where there is nothing yet but a tranche.
func newDemoPlatforms() (*demoPlatforms, error) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // after 1970
	d := &demoPlatforms{
		concedus: concedustest.New(nil),
		tokeny:   tokenytest.New(tokenytest.Options{Email: demoMail, Password: demoSecret, Seed: seed}, demoToken),
		cas:      accesscontrolstest.New(accesscontrolstest.Options{ClientID: "demo", ClientSecret: demoSecret, Seed: seed}),
	}
	d.ledger = newDemoLedger(seed)
	d.tranche = d.cas.AddTranche("")
	d.concedus.Agent("agent", demoSecret)
	d.concedus.Issuer(demoOwner, "issuer", demoSecret)
	for _, h := range []http.Handler{d.concedus, d.tokeny, d.cas, d.ledger} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(err, d.close())
		}
		s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		d.servers, d.urls = append(d.servers, s), append(d.urls, "http://"+l.Addr().String())
		go func() { _ = s.Serve(l) }() // until it is closed
	}
	return d, nil
}

func (d *demoPlatforms) close() error {
	var problems []error
	for _, s := range d.servers {
		problems = append(problems, s.Close())
	}
	return errors.Join(problems...)
}

// config writes the secret, and returns the sources.
func (d *demoPlatforms) config(dir string) (string, error) {
	err := os.WriteFile(filepath.Join(dir, "demo.secret"), []byte(demoSecret), 0o600)
	return strings.NewReplacer(
		"CONCEDUS", d.urls[0], "TOKENY", d.urls[1], "CAS", d.urls[2],
		"TOKENPATH", accesscontrolstest.TokenPath, "TOKEN", demoToken, "MAIL", demoMail, "OWNER", demoOwner, "TRANCHE", d.tranche,
		"INTERVAL", demoInterval, "RESOLVE", demoResolve, "SECRET", "{file: demo.secret}",
	).Replace(demoPolled), err
}

const demoPolled = `  concedus:
    platform: concedus
    api: {url: "CONCEDUS"}
    agent: {username: agent, password: SECRET}
    issuers: [{owner: "OWNER", username: issuer, password: SECRET}]
    poll: {interval: INTERVAL}
    resolve_for: RESOLVE
  fund-one:
    platform: tokeny
    tokens: ["TOKEN"]
    api: {url: "TOKENY", email: MAIL, password: SECRET}
    poll: {interval: INTERVAL}
  cas:
    platform: accesscontrols
    tranches: ["TRANCHE"]
    api: {url: "CAS", token_url: "CASTOKENPATH", client_id: demo, client_secret: SECRET}
    poll: {interval: INTERVAL}
`

// demoScene is something that happens at the stand-ins.
type demoScene struct {
	text string
	act  func()
}

// scenes are what happens to a contract and an investor that nobody knew
// before, and to a tranche.
func (d *demoPlatforms) scenes(number int) []demoScene {
	contract := fmt.Sprintf("DEMO-%d-%04d", time.Now().Unix(), number)
	grant := accesscontrolstest.Grant{ByFirmID: "4821", ToFirmID: "5930", AccessType: "indication.view"}
	var candidate string
	return []demoScene{
		{"Concedus releases a contract, Tokeny has a new candidate, a firm may see a tranche at CAS", func() {
			d.concedus.Release(concedustest.Contract{Key: contract, Product: "North Bond", InvestorName: "Probst Dora", Share: "1200", Agio: "36"})
			candidate = d.tokeny.Add(demoToken, tokenytest.Investor{Email: "dora@probst.example", Name: "Dora Probst"})
			d.cas.Grant(d.tranche, grant)
		}},
		{"the candidate is qualified, the book opens", func() {
			d.tokeny.SetStatus(demoToken, candidate, "qualified")
			d.cas.OpenBook(d.tranche)
		}},
		{"the agent submits the contract to its issuer, allocations are released", func() {
			d.concedus.Submit(contract, demoOwner)
			d.cas.Release(d.tranche, true)
		}},
		{"the contract leaves, nobody says why, and the grant is revoked", func() {
			d.concedus.Leave(contract)
			d.cas.Revoke(d.tranche, grant)
		}},
		{"the book closes, and allocations are not released any more", func() {
			d.cas.CloseBook(d.tranche)
			d.cas.Release(d.tranche, false)
		}},
	}
}

// happen has one life after the other happen at the stand-ins.
func (d demo) happen(ctx context.Context) error {
	for life := 1; ; life++ {
		for _, s := range d.polled.scenes(life) {
			if !pauseFor(ctx, demoScans) {
				return nil
			}
			s.act()
			fmt.Fprintf(d.p.stderr, "~~> %s\n", s.text)
		}
		if !pauseFor(ctx, demoRest) {
			return nil
		}
	}
}

// pauseFor waits, and reports false if ctx ended before.
func pauseFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
