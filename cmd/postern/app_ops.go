package main

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

// opsTokenFile is where, in data_dir, the token lies that always works.
const opsTokenFile = "ops.token"

func (a *app) openOps() error {
	c := a.cfg.Ops
	token, err := a.localToken()
	if err != nil {
		return err
	}
	config := ops.Config{
		Tokens:     opsTokens(a.cfg),
		LocalToken: token,
		Ready:      a.ready,
		Degraded:   a.degraded,
		Gatherer:   a.registry,
		Registerer: a.registry,
		Schemas:    schemas.JSON(),
		Tail:       a.tail,
		Reload:     a.reloader.reload,
		Backup:     (&backups{app: a}).make,
		Triage:     a.triage,
		Events:     finder{a.triage},
		Pollers:    pollers{a},
		Reconcile:  a.reconcile,
		Sources:    a.subscriptions,
		Status:     a.status,
		Streams:    a.streams,
		Version:    opsVersion(),
		Log:        a.log,
	}
	if c.TLS != nil {
		if a.opsCertificate, err = ingress.LoadCertificate(string(c.TLS.Cert), string(c.TLS.Key), a.log); err != nil {
			return err
		}
		config.TLS = a.opsCertificate.Config()
	}
	l, err := listen(c.Listen)
	if err != nil {
		return err
	}
	a.opsAddr = l.Addr()
	if a.ops, err = ops.New(l, config); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

var errDraining = errors.New("draining")

// ready asks only what decides whether a push can be taken: a load balancer
// must not take away the receiver that could still accept.
func (a *app) ready(context.Context) []ops.Check {
	checks := []ops.Check{{Name: "journal", Err: a.journal.Ready()}, {Name: "draining"}}
	if a.ingress.Draining() {
		checks[1].Err = errDraining
	}
	return checks
}

var errNotOpen = errors.New("not open yet; pushes are safe in the journal")

func (a *app) degraded(ctx context.Context) []ops.Check {
	b := a.bus.Load()
	if b == nil {
		return []ops.Check{{Name: "nats", Err: errNotOpen}}
	}
	var checks []ops.Check
	for _, c := range b.Check(ctx) {
		check := ops.Check{Name: c.Name}
		if !c.OK {
			check.Err = errors.New(c.Detail)
		}
		checks = append(checks, check)
	}
	if keyed := a.keyed.Load(); keyed.shared {
		checks = append(checks, ops.Check{Name: "keys", Err: keyed.wrong()})
	}
	return checks
}

func (a *app) tail(ctx context.Context, q ops.TailQuery, fn func(ops.TailEvent) error) error {
	b := a.bus.Load()
	if b == nil {
		return errNotOpen
	}
	return b.Tail(ctx, bus.TailOptions{
		Stream: schemas.StreamEvents,
		Source: q.Source, Type: q.Type, Key: q.Key,
		Since: q.Since, Last: q.Last, Follow: q.Follow,
		New: q.Follow && q.Last == 0 && q.Since.IsZero(),
	}, func(m bus.TailMessage) error {
		return fn(ops.TailEvent{Sequence: m.Seq, Subject: m.Subject, Event: m.Data})
	})
}

func opsVersion() ops.Version {
	b := readBuild()
	return ops.Version{Version: b.Version, Revision: b.Revision, Go: b.Go}
}

// buildInfo is 1, with what runs as labels.
func buildInfo() prometheus.Collector {
	b := readBuild()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "postern", Name: "build_info", Help: "1, labelled by what runs.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "go": b.Go},
	}, func() float64 { return 1 })
}
