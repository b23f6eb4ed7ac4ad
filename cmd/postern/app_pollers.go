package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/receiver/relay"
	"github.com/seed75441868/postern/schemas"
)

// asking is all that asks platforms.
type asking struct {
	pollers    *poll.Pollers
	followUps  *poll.FollowUps
	reconciler *poll.Reconciler
}

// newAsking returns what asks nobody yet. Where a source was never followed up
// it begins with what is told from now on, so it comes before the relay runs.
func (a *app) newAsking(b *bus.Bus, r *relay.Relay, normalize map[string]func(handlers.Delivery) (handlers.Output, error)) *asking {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	config := poll.Config{
		Journal: a.journal, Relay: r, Bus: b,
		Seal: a.keys.Seal, Open: a.keys.Open, Pseudonym: a.cfg.outside.pseudonym,
		Holder:  fmt.Sprintf("%s/%d", host, os.Getpid()),
		Metrics: a.cfg.outside.metrics, Log: a.log,
	}
	return &asking{
		pollers:   poll.New(config),
		followUps: poll.NewFollowUps(config, consumer(b)),
		reconciler: poll.NewReconciler(poll.ReconcilerConfig{
			Config: config, Normalize: normalize, Index: a.journal.Index(),
			Retention: a.cfg.NATS.Retention.Events.Age.Std(),
		}),
	}
}

// update makes the sources those that are asked.
func (k *asking) update(sources []handlers.Source) {
	k.pollers.Update(sources)
	k.followUps.Update(sources)
	k.reconciler.Update(sources)
}

// consumer returns how follow-ups hear of events.
func consumer(b *bus.Bus) poll.Consume {
	return func(ctx context.Context, c poll.Consumption, fn func(poll.Message)) error {
		return b.Consume(ctx, bus.ConsumeOptions(c), func(m bus.Consumed) {
			fn(poll.Message{Seq: m.Seq, Header: m.Header, Data: m.Data, Deliveries: m.Deliveries, Reply: m})
		})
	}
}

// ask asks the platforms until ctx ends, and then gives back the leases.
func (a *app) ask(ctx context.Context, b *bus.Bus, k *asking) {
	// Nothing is known of entities before there are buckets.
	for ctx.Err() == nil && b.Prepare(ctx) != nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	a.asking.Store(k)
	// A reload that comes now has said what to ask before it is begun, and then
	// that counts.
	sources := a.openedSources()
	var all sync.WaitGroup
	for _, run := range []func(context.Context, []handlers.Source) error{k.pollers.Run, k.followUps.Run, k.reconciler.Run} {
		all.Go(func() { _ = run(ctx, sources) }) // only ctx ends it
	}
	all.Wait()
}

// openedSources are the sources in force.
func (a *app) openedSources() []handlers.Source {
	sources := a.now.Load().Sources
	opened := make([]handlers.Source, 0, len(sources))
	for _, s := range sources {
		opened = append(opened, s.Opened)
	}
	return opened
}

// pollers is how operators see and move the pollers. It is an [ops.Pollers].
type pollers struct{ app *app }

// List implements [ops.Pollers].
func (o pollers) List(context.Context) ([]ops.PollerStatus, error) {
	k := o.app.asking.Load()
	if k == nil {
		return nil, errNotOpen
	}
	list := []ops.PollerStatus{}
	for _, s := range k.pollers.List() {
		status := ops.PollerStatus{
			Name: s.Name, Interval: s.Interval.Seconds(), State: pollerState(s), Error: s.Error, Failures: s.Failures,
			LastRun: timeOrNil(s.Last), LastSuccess: timeOrNil(s.LastSuccess), Next: timeOrNil(s.Next),
		}
		for _, suspicion := range s.Suspect {
			status.Suspect = append(status.Suspect, ops.Suspicion(suspicion))
		}
		list = append(list, o.withCompleteness(status))
	}
	return list, nil
}

// withCompleteness adds how completely a source pushes, to the poller that
// found it out: the one that reads what pushes tell.
func (o pollers) withCompleteness(s ops.PollerStatus) ops.PollerStatus {
	r := o.app.relaying.Load()
	source, poller, _ := strings.Cut(s.Name, "/")
	if r == nil || poller != "sequencer" {
		return s
	}
	if c, ok := r.Completeness()[source]; ok {
		s.Completeness = &ops.Completeness{
			Pushed: c.Pushed, Missed: c.Missed, Granted: c.Granted, Late: c.Late.Seconds(), Latest: c.Latest.Seconds(),
		}
	}
	return s
}

// wrongPollers returns what somebody should do about pollers.
func wrongPollers(list []ops.PollerStatus) []concern {
	var wrong []concern
	for _, s := range list {
		source, _, _ := strings.Cut(s.Name, "/")
		say := func(todo, format string, args ...any) {
			wrong = append(wrong, concern{source: source, text: s.Name + " " + fmt.Sprintf(format, args...), todo: todo})
		}
		switch s.State {
		case "paused":
			say("it goes on after `postern pollers resume "+s.Name+"`", "is paused")
		case "suspect":
			for _, suspicion := range s.Suspect {
				say("if it is true, run `postern pollers accept "+s.Name+"`; it is believed after three scans that agree",
					"saw %d of %d in a list and doesn't believe it", suspicion.Seen, suspicion.Known)
			}
		case "failing":
			say("run `postern doctor`", "failed %s (%s)", times(s.Failures), s.Error)
		}
	}
	return wrong
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times in a row", n)
}

// pollerState says in a word how a poller is: what somebody should look at
// comes first.
func pollerState(s poll.Status) string {
	switch {
	case s.Paused:
		return "paused"
	case !s.Held:
		return "elsewhere"
	case len(s.Suspect) > 0:
		return "suspect"
	case s.Failures > 0:
		return "failing"
	case s.Running:
		return "scanning"
	}
	return "waiting"
}

// Act implements [ops.Pollers].
func (o pollers) Act(ctx context.Context, actor, name string, verb ops.PollerVerb) error {
	k := o.app.asking.Load()
	if k == nil {
		return errNotOpen
	}
	var err error
	var told schemas.Type
	switch verb {
	case ops.PollerRun:
		told, err = schemas.OperatorPollerRun, k.pollers.RunNow(ctx, name)
	case ops.PollerPause:
		told, err = schemas.OperatorPollerPaused, k.pollers.Pause(ctx, name)
	case ops.PollerResume:
		told, err = schemas.OperatorPollerResumed, k.pollers.Resume(ctx, name)
	case ops.PollerAccept:
		told = schemas.OperatorScanAccepted
		_, err = k.pollers.Accept(name)
	}
	var upstream *handlers.UpstreamError
	var auth *handlers.AuthError
	switch {
	case errors.Is(err, poll.ErrUnknown):
		return ops.ErrNotThere
	case errors.Is(err, poll.ErrUnsuspected):
		return ops.ErrNothingToDo
	case errors.Is(err, poll.ErrElsewhere), errors.Is(err, poll.ErrResting), errors.As(err, &upstream), errors.As(err, &auth):
		return &ops.NotNowError{Detail: err.Error()}
	case err != nil:
		return err
	}
	if err := o.app.act(ctx, actor, told, name); err != nil {
		o.app.log.Warn("an operator's action is not told on the bus", "actor", actor, "target", name, "error", err)
	}
	return nil
}
