package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/seed75441868/postern/schemas"
)

// localActor is who acts without a token: an operator on this machine, by a
// command.
const localActor = "local"

// act tells on POSTERN_OPS that actor did t to target, which is "" if that is
// the receiver as a whole. It is logged in any case; the error says that the
// bus doesn't have it. Each call is an action of its own.
func (a *app) act(ctx context.Context, actor string, t schemas.Type, target string) error {
	data := schemas.Action{Actor: actor}
	if target != "" {
		data.Target = &target
	}
	e := schemas.OperatorAction(t, rand.Text(), time.Now(), data)
	a.log.Info("an operator acted", "event", e.ID, "actor", actor, "target", target)
	msgs, err := messagesOf(e)
	if err != nil {
		return fmt.Errorf("tell an operator's action: %w", err)
	}
	b := a.bus.Load()
	if b == nil {
		return fmt.Errorf("tell an operator's action: the bus is %w", errNotOpen)
	}
	if _, err := b.Publish(ctx, schemas.StreamOps, msgs); err != nil {
		return fmt.Errorf("tell an operator's action: %w", err)
	}
	return nil
}

// messagesOf returns how a valid event is published.
func messagesOf(e schemas.Event) ([]schemas.Message, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	return e.Messages()
}
