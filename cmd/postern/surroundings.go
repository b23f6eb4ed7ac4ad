package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/poll"
)

// surroundings are what sources use beyond their settings. A process
// has one, whichever configuration is in force: sources are opened when a
// configuration is read, before there is a receiver, and go on after a reload.
type surroundings struct {
	registry *prometheus.Registry // of the metrics below, for the receiver's own
	metrics  *poll.Metrics
	key      atomic.Pointer[[32]byte] // of pseudonyms; nil as long as nothing runs
}

func newSurroundings() *surroundings {
	o := &surroundings{registry: prometheus.NewRegistry()}
	o.metrics = poll.NewMetrics(o.registry)
	return o
}

// means are what a source may use. Making them reaches nobody.
func (l *loading) means(source string) handlers.Means {
	config := poll.ClientConfig{
		Source: source, Roots: l.cfg.Outbound.roots, Version: readBuild().Version,
		Insecure: l.cfg.Insecure, Metrics: l.outside.metrics,
		// A close touches hundreds of subscriptions, each of which is asked for.
		Rate: 50, Burst: 100,
	}
	if proxy, err := url.Parse(l.cfg.Outbound.Proxy); err == nil && l.cfg.Outbound.Proxy != "" {
		config.Proxy = proxy
	}
	return handlers.Means{
		Fetch:     newFetch(l.cfg.Outbound),
		Roots:     systemRoots(),
		Client:    poll.NewClient(config),
		Pseudonym: l.outside.pseudonym,
	}
}

// use makes pseudonyms with the receiver's key.
func (o *surroundings) use(keys *journal.Keyring) {
	key := keys.PseudonymKey()
	o.key.Store(&key)
}

// pseudonym implements the Pseudonym of [handlers.Means]. Nothing is polled
// before the key is there.
func (o *surroundings) pseudonym(value string) string {
	key := o.key.Load()
	if key == nil {
		panic("a pseudonym is made without a key")
	}
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(value))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))[:22]
}
