package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/receiver/relay"
)

// How long each part may take to end in order. SNS tries again 20 s after a
// refusal, so that a restart within that time costs it one try.
const (
	ingressGrace = 10 * time.Second
	relayGrace   = 5 * time.Second
	opsGrace     = 2 * time.Second
)

// app is a running receiver: the parts, and who hands what to whom.
type app struct {
	cfg      *Config // what it was started with
	log      *slog.Logger
	registry *prometheus.Registry
	// platforms are all that there are: what a source pushed that is no
	// longer configured is still translated.
	platforms []handlers.Platform

	// now is the configuration in force: sources, tokens and what else a
	// reload applies are as in there.
	now      atomic.Pointer[Config]
	reloader *reloader

	keys     *journal.Keyring
	journal  *journal.Journal
	ingress  *ingress.Server
	refusals *relay.Refusals
	triage   *triage
	ops      *ops.Server
	bus      atomic.Pointer[bus.Bus]     // nil until it is open
	keyed    atomic.Pointer[keyedBus]    // the same, nil until then
	relaying atomic.Pointer[relay.Relay] // nil until then, too
	asking   atomic.Pointer[asking]      // nil until it asks

	subscriptions *subscriptions

	busMetrics busMetrics

	ingressCertificate, opsCertificate *ingress.Certificate // nil without TLS

	ingressAddr net.Addr
	opsAddr     net.Addr
	opened      chan struct{} // closed when bus is set
}

// openApp opens the journal and the listeners. Nothing is accepted until run.
// The configuration can be read again as from says.
func openApp(cfg *Config, platforms []handlers.Platform, log *slog.Logger, from rereading) (_ *app, err error) {
	a := &app{cfg: cfg, log: log, platforms: platforms, registry: prometheus.NewRegistry(), opened: make(chan struct{})}
	a.now.Store(cfg)
	a.registry.MustRegister(cfg.outside.registry, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo(), &a.busMetrics)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	if a.keys, err = journal.OpenKeyring(cfg.keyConfig(log)); err != nil {
		return nil, failf(exitConfig, "", "%w", err)
	}
	cfg.outside.use(a.keys)
	a.journal, err = journal.Open(journal.Config{
		Dir:      filepath.Join(string(cfg.DataDir), "journal"),
		MaxBytes: int64(cfg.Journal.MaxBytes),
		Reserve:  int64(cfg.Journal.Reserve),
		Keys:     a.keys,
		Log:      log,
	})
	if err != nil {
		return nil, err
	}
	a.registry.MustRegister(a.journal.Collector())
	a.refusals = relay.NewRefusals(relay.RefusalsConfig{Keys: a.keys, Sources: a.sourceNames(), Registerer: a.registry, Log: log})
	a.triage = newTriage(a)
	a.subscriptions = newSubscriptions(a)
	if err := a.openIngress(); err != nil {
		return nil, err
	}
	a.reloader = newReloader(a, from)
	return a, a.openOps()
}

func (a *app) openIngress() error {
	c := a.cfg.Ingress
	if c.TLS != nil {
		var err error
		if a.ingressCertificate, err = ingress.LoadCertificate(string(c.TLS.Cert), string(c.TLS.Key), a.log); err != nil {
			return err
		}
	}
	l, err := listen(c.Listen)
	if err != nil {
		return err
	}
	a.ingressAddr = l.Addr()
	a.ingress, err = ingress.New(l, ingress.Config{
		Sources:        sourcesOf(a.cfg),
		Journal:        a.journal,
		ClientIP:       ingress.ClientIP(c.ClientIP),
		TrustedProxies: prefixes(c.TrustedProxies),
		Certificate:    a.ingressCertificate,
		MaxBody:        int64(c.MaxBody),
		MaxConnections: c.MaxConnections,
		DrainDelay:     c.DrainDelay.Std(),
		Refused:        a.refusals.Refused,
		Registerer:     a.registry,
		Log:            a.log,
	})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// listen opens a listener; its error says what to do.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, failf(exitFailed, "choose another address in the configuration, or end what listens there", "can't listen on %s: %w", address, err)
	}
	return l, nil
}

// run receives and relays until ctx ends, and then ends in order. The ingress
// accepts from the beginning; the bus may take its time.
func (a *app) run(ctx context.Context) error {
	relaying, stopRelaying := context.WithCancel(context.Background())
	defer stopRelaying()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return named("ingress", a.ingress.Serve()) })
	g.Go(func() error { return named("ops", a.ops.Serve()) })
	drained := make(chan *relay.Relay, 1)
	g.Go(func() error { return named("relay", a.relay(relaying, ctx, drained)) })
	a.log.Info("ingress listens", "address", a.ingressAddr.String())
	a.log.Info("ops listens", "address", a.opsAddr.String())
	g.Go(func() error {
		a.reloader.watch(ctx)
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		a.log.Info("ending in order")
		a.stop(drained)
		stopRelaying()
		return nil
	})
	return errors.Join(g.Wait(), a.close())
}

// stop refuses new pushes, finishes those in flight, and lets the relay tell
// what it can in time.
func (a *app) stop(relays <-chan *relay.Relay) {
	a.ingress.Drain()
	<-time.After(a.cfg.Ingress.DrainDelay.Std())
	end, cancel := context.WithTimeout(context.Background(), ingressGrace)
	defer cancel()
	if err := a.ingress.Shutdown(end); err != nil {
		a.log.Warn("connections were cut", "error", err)
	}
	select {
	case r := <-relays:
		end, cancel := context.WithTimeout(context.Background(), relayGrace)
		defer cancel()
		if err := r.Drain(end); err != nil {
			a.log.Warn("the bus did not take everything in time; the rest is in the journal and follows after the next start")
		}
	default: // the bus never opened
	}
	end, cancel = context.WithTimeout(context.Background(), opsGrace)
	defer cancel()
	if err := a.ops.Shutdown(end); err != nil {
		a.log.Debug("streams of the ops listener were cut", "error", err)
	}
}

// close closes what is open, in the reverse order of opening. It is safe to
// call after openApp failed half-way.
func (a *app) close() error {
	var errs []error
	if b := a.bus.Load(); b != nil {
		errs = append(errs, b.Close())
	}
	end, cancel := context.WithCancel(context.Background())
	cancel()
	if a.ingress != nil {
		_ = a.ingress.Shutdown(end) // only to close the listener; pushes have ended
	}
	if a.ops != nil {
		_ = a.ops.Shutdown(end)
	}
	if a.journal != nil {
		errs = append(errs, a.journal.Close())
	}
	return errors.Join(errs...)
}

// relay opens the bus, relays until ctx ends, and polls until polling does. A bus that can't be opened is
// tried again for ever: what is accepted meanwhile is safe in the journal.
func (a *app) relay(ctx, polling context.Context, opened chan<- *relay.Relay) error {
	b, err := a.openBus(ctx)
	if err != nil {
		return nil // only ctx ends it
	}
	keyed := newKeyedBus(b, a.keys, a.cfg.NATS.URL != "")
	a.keyed.Store(keyed)
	a.bus.Store(b)
	close(a.opened)
	a.busMetrics.set(b.Collector())
	if addr := b.Addr(); addr != nil {
		a.log.Info("nats listens", "address", addr.String())
	}
	normalize := map[string]func(handlers.Delivery) (handlers.Output, error){}
	for _, p := range a.platforms {
		normalize[p.Name] = p.Normalize
	}
	var trimAfter time.Duration
	if a.cfg.NATS.URL != "" {
		trimAfter = a.cfg.NATS.TrimAfter.Std()
	}
	var carrying sync.WaitGroup
	// Nothing is sealed or named with keys that are not the other receivers'.
	carrying.Go(func() {
		if keyed.wait(ctx) {
			a.refusals.Run(ctx, b)
		}
	})
	carrying.Go(func() {
		if keyed.wait(ctx) {
			a.subscriptions.run(ctx, b)
		}
	})
	defer carrying.Wait()
	r := relay.New(relay.Config{
		Journal: a.journal, Bus: keyed, Keys: a.keys, Shared: a.cfg.NATS.URL != "", Normalize: normalize, TrimAfter: trimAfter, Sources: a.sourceNames(),
		Pushes: a.pushes, Released: a.triage.settled, Registerer: a.registry, Log: a.log,
	})
	a.relaying.Store(r)
	a.expect() // a reload may have been faster
	asking := a.newAsking(b, r, normalize)
	opened <- r
	carrying.Go(func() {
		if keyed.wait(polling) {
			a.ask(polling, b, asking)
		}
	})
	return r.Run(ctx)
}

// pushes reports whether a source pushes, as it is configured now.
func (a *app) pushes(source string) bool {
	for _, s := range a.now.Load().Sources {
		if s.Name == source {
			return s.Opened.Push != nil
		}
	}
	return false
}

// expect has what counts by source begin at 0 for those that are configured.
func (a *app) expect() {
	a.refusals.Expect(a.sourceNames())
	if r := a.relaying.Load(); r != nil {
		r.Expect(a.sourceNames())
	}
}

// sourceNames lists the sources that are configured now.
func (a *app) sourceNames() []string {
	sources := a.now.Load().Sources
	names := make([]string, 0, len(sources))
	for _, s := range sources {
		names = append(names, s.Name)
	}
	return names
}

// named says which part failed.
func named(name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
