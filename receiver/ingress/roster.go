package ingress

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seed75441868/postern/handlers"
)

// roster is who may push what at one time. It doesn't change.
type roster struct {
	sources map[string]*source
	known   []netip.Prefix // the lists of all sources
	asks    bool           // some source wants its callers' certificates
}

// knows reports whether some source allows addr.
func (r *roster) knows(addr netip.Addr) bool { return contains(r.known, addr) }

// source is a configured source that pushes.
type source struct {
	handlers.Source
	*sourceMetrics
	clients *x509.CertPool // who issues callers' certificates, nil if they need none
}

// check returns why src would not keep callers out.
func (s *Server) check(src handlers.Source) error {
	if src.Push.Webhook == nil {
		return errors.New("nothing authenticates its pushes")
	}
	if len(src.Push.Allow) == 0 {
		return errors.New("allow is empty: nobody could push")
	}
	if src.Push.ClientCAs != nil && (len(src.Push.ClientCAs) == 0 || !s.tls) {
		return errors.New("callers must show a TLS certificate, and can't: there is no TLS, or nobody who issues one")
	}
	for _, p := range src.Push.Allow {
		if !p.IsValid() || p.Addr().Is4In6() {
			return errors.New("allow has a prefix that can't match an address")
		}
	}
	return nil
}

// Update replaces the sources, their lists and their webhooks, at once: a
// request that has begun is answered by the old ones, each later one by the
// new ones, also over connections that were there before. A source that keeps
// its name keeps its counts; the metrics of one that is gone go with it. It
// fails as [New] does, and then everything is as before. It is safe to call at
// any time, and to repeat.
func (s *Server) Update(sources []handlers.Source) error {
	next := &roster{sources: make(map[string]*source, len(sources))}
	for _, src := range sources {
		if src.Push == nil {
			continue
		}
		if err := s.check(src); err != nil {
			return fmt.Errorf("source %s: %w", src.Name, err)
		}
		next.known = append(next.known, src.Push.Allow...)
		clients := pool(src)
		next.asks = next.asks || clients != nil
		next.sources[src.Name] = &source{Source: src, clients: clients}
	}

	s.updating.Lock()
	defer s.updating.Unlock()
	var before map[string]*source
	if old := s.roster.Load(); old != nil {
		before = old.sources
	}
	for name, src := range next.sources {
		if old := before[name]; old != nil {
			src.sourceMetrics = old.sourceMetrics
		} else {
			src.sourceMetrics = s.metrics.source(name)
		}
	}
	s.roster.Store(next)
	for name, old := range before {
		if next.sources[name] == nil {
			s.metrics.forget(name, old.sourceMetrics)
		}
	}
	return nil
}
