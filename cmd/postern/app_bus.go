package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/receiver/ingress"
	"github.com/seed75441868/postern/schemas"
)

// openBus opens the bus, however long it takes. Its only error is that ctx
// ended.
func (a *app) openBus(ctx context.Context) (*bus.Bus, error) {
	wait := backoff.NewExponentialBackOff()
	wait.MaxInterval = 30 * time.Second
	return backoff.Retry(ctx, func() (*bus.Bus, error) {
		c, err := a.busConfig()
		if err == nil {
			var b *bus.Bus
			if b, err = bus.Open(c); err == nil {
				return b, nil
			}
		}
		a.log.Error("the bus can't be opened and is tried again; pushes are accepted meanwhile and are safe in the journal", "error", err)
		return nil, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
}

// busConfig translates the configuration. It makes or reads the key of the
// embedded store.
func (a *app) busConfig() (bus.Config, error) {
	n := a.cfg.NATS
	c := bus.Config{
		MaxStore:     int64(n.Embedded.MaxStore),
		MaxBytes:     n.Retention.maxBytes(),
		Retention:    map[schemas.Stream]time.Duration{},
		Replicas:     n.Replicas,
		DedupeWindow: n.DedupeWindow.Std(),
		Log:          a.log,
	}
	for stream, keep := range map[schemas.Stream]Keep{
		schemas.StreamEvents:     n.Retention.Events,
		schemas.StreamRestricted: n.Retention.Restricted,
		schemas.StreamRaw:        n.Retention.Raw,
		schemas.StreamOps:        n.Retention.Ops,
	} {
		if keep.Age > 0 {
			c.Retention[stream] = keep.Age.Std()
		}
	}
	if n.URL != "" {
		c.External = n.external()
		return c, nil
	}
	key, err := a.keys.StoreKey(string(a.cfg.DataDir))
	if err != nil {
		return c, err
	}
	c.Embedded = &bus.Embedded{
		Dir:      filepath.Join(string(a.cfg.DataDir), "nats"),
		StoreKey: key,
		Listen:   n.Embedded.Listen,
	}
	for _, u := range n.Embedded.Users {
		c.Embedded.Users = append(c.Embedded.Users, bus.User{Name: u.Name, Password: u.Password.Value(), Allow: bus.Allow(u.Allow)})
	}
	if t := n.Embedded.TLS; t != nil {
		certificate, err := ingress.LoadCertificate(string(t.Cert), string(t.Key), a.log)
		if err != nil {
			return c, fmt.Errorf("nats.embedded.tls: %w", err)
		}
		c.Embedded.TLS = certificate.Config()
	}
	return c, nil
}

// external says how to reach a server that others run.
func (n NATS) external() *bus.External {
	e := &bus.External{URL: n.URL, User: n.User}
	if n.TLS != nil {
		e.TLS = n.TLS.Config()
	}
	if n.Credentials != nil {
		e.CredentialsFile = n.Credentials.File
	}
	if n.NKey != nil {
		e.NKeySeed = []byte(n.NKey.Value())
	}
	if n.Password != nil {
		e.Password = n.Password.Value()
	}
	return e
}
