package ingress_test

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
)

// refusedPushes remembers what it heard of.
type refusedPushes struct {
	mu   sync.Mutex
	list []handlers.Refusal
}

func (p *refusedPushes) hear(r handlers.Refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Body != nil {
		r.Body = bytes.Clone(r.Body)
	}
	p.list = append(p.list, r)
}

func (p *refusedPushes) take() []handlers.Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.list
	p.list = nil
	return list
}

func TestPushesRefusedFromAllowedAddressesAreHandedOn(t *testing.T) {
	var heard refusedPushes
	g := open(t, func(c *ingress.Config) {
		c.MaxBody = 1000
		c.Refused = heard.hear
	})
	for name, tc := range map[string]struct {
		caller, source, body string
		header               string // of the content's encoding
		reason               handlers.Reason
		bodyless             bool
	}{
		"topic":        {body: "topic no", reason: handlers.ReasonTopic},
		"signature":    {body: "signature no", reason: handlers.ReasonSignature},
		"certificate":  {body: "certificate no", reason: handlers.ReasonCertificate},
		"header":       {body: "header no", reason: handlers.ReasonHeader},
		"unverifiable": {body: "uncheckable", reason: handlers.ReasonUnverifiable},
		"compressed":   {body: "ok 1", header: "gzip", reason: handlers.ReasonUnverifiable, bodyless: true},
		"too large":    {body: strings.Repeat("x", 1001), reason: handlers.ReasonSize, bodyless: true},

		"accepted":               {body: "ok 2"},
		"our fault":              {body: "odd"},
		"a panic":                {body: "panic"},
		"a stranger":             {caller: stranger, body: "signature no"},
		"on another source's":    {caller: neighbor, body: "signature no"},
		"to a source that isn't": {source: "three", body: "signature no"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.caller == "" {
				tc.caller = friend
			}
			if tc.source == "" {
				tc.source = "one"
			}
			header := http.Header{"X-Mark": {name}}
			if tc.header != "" {
				header.Set("Content-Encoding", tc.header)
			}
			g.do(t, tc.caller, http.MethodPost, "/hooks/"+tc.source, strings.NewReader(tc.body), header)
			list := heard.take()
			if tc.reason == "" {
				if len(list) > 0 {
					t.Errorf("it was handed on: %+v", list)
				}
				return
			}
			if len(list) != 1 {
				t.Fatalf("%d were handed on", len(list))
			}
			got := list[0]
			if got.Header.Get("X-Mark") != name || got.Received.IsZero() || got.Detail == "" {
				t.Errorf("%+v", got)
			}
			if got.Remote.String() != friend || got.Source != "one" || got.Platform != "words" || got.Reason != tc.reason {
				t.Errorf("%+v", got)
			}
			if tc.bodyless {
				tc.body = ""
			}
			if string(got.Body) != tc.body {
				t.Errorf("its body is %q", got.Body)
			}
		})
	}
}
