package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

var errNotRead = errors.New("what POSTERN_OPS says of subscriptions is not read yet")

// Sources implements [ops.Sources].
func (s *subscriptions) Sources(ctx context.Context) ([]ops.Source, error) {
	return s.list(ctx, s.app.gathered())
}

// list lists the sources. While it isn't known what waits it fails.
func (s *subscriptions) list(ctx context.Context, told metrics) ([]ops.Source, error) {
	list := []ops.Source{}
	for _, src := range s.app.now.Load().Sources {
		out := ops.Source{Name: src.Name, Platform: src.Platform.Name, Pollers: []string{}}
		for _, p := range src.Opened.Pollers {
			out.Pollers = append(out.Pollers, src.Name+"/"+p.Name)
		}
		slices.Sort(out.Pollers)
		if push := src.Opened.Push; push != nil {
			waiting, ended, ready := s.of(src.Name)
			if !ready {
				return nil, errNotRead
			}
			out.Push = &ops.SourcePush{
				Signature: push.Signature, LastPush: s.app.lastPush(ctx, told, src.Name), ConfirmSubscriptions: push.ConfirmUnasked,
				Waiting: waitingOf(waiting, time.Now()), Ended: endedOf(ended),
			}
		}
		list = append(list, out)
	}
	return list, nil
}

func waitingOf(list []confirmation, now time.Time) []ops.WaitingConfirmation {
	waiting := []ops.WaitingConfirmation{}
	for _, c := range list {
		waiting = append(waiting, ops.WaitingConfirmation{
			Topic: c.topic, Event: c.event, Asked: c.asked.UTC(), Deadline: c.deadline.UTC(), Lapsed: now.After(c.deadline),
			Tries: c.tries, Failure: c.failure,
		})
	}
	return waiting
}

func endedOf(all map[string]ending) []ops.EndedSubscription {
	ended := []ops.EndedSubscription{}
	for _, topic := range slices.Sorted(maps.Keys(all)) {
		ended = append(ended, ops.EndedSubscription{Topic: topic, Event: all[topic].event, Ended: all[topic].at.UTC()})
	}
	return ended
}

// Confirm implements [ops.Sources].
func (s *subscriptions) Confirm(ctx context.Context, actor, name string) ([]ops.Confirmation, error) {
	src, err := s.source(name)
	if err != nil {
		return nil, err
	}
	b, err := s.app.triage.bus()
	if err != nil {
		return nil, err
	}
	waiting, _, ready := s.of(name)
	switch {
	case !ready:
		return nil, errNotRead
	case len(waiting) == 0:
		return nil, ops.ErrNothingWaits
	}
	ctx, cancel := context.WithTimeout(ctx, confirmPatience)
	defer cancel()
	results := make([]ops.Confirmation, 0, len(waiting))
	for _, c := range waiting {
		if src.Opened.Push.Confirm == nil {
			results = append(results, ops.Confirmation{Topic: c.topic, Outcome: ops.OutcomeRefused, Detail: errNoWay.Error()})
			continue
		}
		result, done := s.confirm(ctx, b, src, c)
		results = append(results, result)
		if !done {
			continue
		}
		if err := s.app.act(context.WithoutCancel(ctx), actor, schemas.OperatorSubscriptionConfirmed, name); err != nil {
			s.app.log.Warn("an operator's action is not told on the bus", "actor", actor, "target", name, "error", err)
		}
	}
	return results, nil
}

// source returns the source of a name, which pushes.
func (s *subscriptions) source(name string) (*Source, error) {
	for _, src := range s.app.now.Load().Sources {
		switch {
		case src.Name != name:
		case src.Opened.Push == nil:
			return nil, ops.ErrNothingWaits
		default:
			return src, nil
		}
	}
	return nil, ops.ErrNoSource
}

// concern is what somebody should do about a source's subscriptions or pollers.
type concern struct {
	source     string
	text, todo string
	dead       bool // the source pushes nothing any more
}

// concerns lists what somebody should do about subscriptions. What is confirmed
// by itself, and didn't fail, is nobody's concern.
func concerns(sources []ops.Source) []concern {
	var list []concern
	const again = "have the platform subscribe again"
	for _, src := range sources {
		if src.Push == nil {
			continue
		}
		say := func(dead bool, todo, format string, args ...any) {
			list = append(list, concern{src.Name, fmt.Sprintf(format, args...), todo, dead})
		}
		for _, w := range src.Push.Waiting {
			until, because := schemas.FormatTime(w.Deadline), ""
			if w.Failure != "" {
				because = " (" + w.Failure + ")"
			}
			switch {
			case w.Lapsed:
				say(false, again, "the subscription to %s was not confirmed until %s%s", w.Topic, until, because)
			case !src.Push.ConfirmSubscriptions:
				say(false, "run `postern sources confirm "+src.Name+"`", "a subscription to %s waits to be confirmed, until %s%s", w.Topic, until, because)
			case w.Failure != "":
				say(false, "see `postern sources list`, and whether outbound leads to SNS", "a subscription to %s is not confirmed yet, until %s%s", w.Topic, until, because)
			}
		}
		for _, e := range src.Push.Ended {
			say(true, "see who ended it; "+again, "the subscription to %s ended at %s", e.Topic, schemas.FormatTime(e.Ended))
		}
	}
	return list
}
