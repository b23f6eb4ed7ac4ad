package poll

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/seed75441868/postern/schemas"
)

// news tells on POSTERN_OPS how polling goes. What can't be published yet is
// tried again, in order.
type news struct {
	cfg *Config

	mu    sync.Mutex
	items []item
	come  chan struct{} // has one when there may be items
}

// item is an event, and what is to be done when it is told.
type item struct {
	event schemas.Event
	then  func(ctx context.Context) error
}

func newNews(cfg *Config) *news { return &news{cfg: cfg, come: make(chan struct{}, 1)} }

// tell has an event of a poller told. at is when what it tells began: with
// the poller and the type it makes the id.
func (n *news) tell(p *poller, t schemas.Type, at time.Time, about string, data schemas.Data, then func(ctx context.Context) error) {
	parts := []string{
		p.source, t.Entity(), t.Event(), schemas.IDPart(p.name),
		strings.ToLower(at.UTC().Format("20060102T150405.000Z")),
	}
	if about != "" {
		parts = append(parts, schemas.IDPart(about))
	}
	now := n.cfg.now()
	e := schemas.Event{
		ID: strings.Join(parts, ":"), Source: p.source, Type: t, Key: p.name,
		Time: schemas.FormatTime(now), Recorded: now, Data: data,
	}
	if err := e.Validate(); err != nil {
		n.cfg.Log.Error("news of a poller can't be told", "source", p.source, "target", p.name, "error", err)
		return
	}
	n.mu.Lock()
	n.items = append(n.items, item{e, then})
	n.mu.Unlock()
	select {
	case n.come <- struct{}{}:
	default:
	}
}

// run publishes until ctx ends.
func (n *news) run(ctx context.Context) {
	for {
		select {
		case <-n.come:
		case <-ctx.Done():
			return
		}
		for {
			n.mu.Lock()
			if len(n.items) == 0 {
				n.mu.Unlock()
				break
			}
			it := n.items[0]
			n.items = n.items[1:]
			n.mu.Unlock()
			if err := n.publish(ctx, it); err != nil {
				return
			}
		}
	}
}

// publish tries until it succeeds or ctx ends.
func (n *news) publish(ctx context.Context, it item) error {
	messages, err := it.event.Messages()
	if err != nil {
		n.cfg.Log.Error("news of a poller can't be told", "event", it.event.ID, "error", err)
		return nil
	}
	try := func() (struct{}, error) {
		if _, err := n.cfg.Bus.Publish(ctx, schemas.StreamOps, messages); err != nil {
			return struct{}{}, err
		}
		if it.then != nil {
			return struct{}{}, it.then(ctx)
		}
		return struct{}{}, nil
	}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 15*time.Second
	_, err = backoff.Retry(ctx, try, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
	if err == nil {
		n.cfg.Log.Info("told how polling goes", "event", it.event.ID)
	}
	return err
}

// discard is the logger of who has none.
func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
