package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/receiver/poll"
	"github.com/seed75441868/postern/schemas"
)

// reconcile implements [ops.Reconcile].
func (a *app) reconcile(ctx context.Context, actor string, q ops.ReconcileQuery, progress func(ops.Reconciled) error) error {
	k := a.asking.Load()
	if k == nil {
		return errNotOpen
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	report, err := k.reconciler.Reconcile(ctx, poll.Ask{
		Source: q.Source, From: q.Since, To: q.Until, DryRun: q.DryRun, AcceptRepeats: q.AcceptRepeats,
		Progress: func(r poll.Report) {
			if err := progress(reconciled(r)); err != nil {
				cancel(err) // nobody listens
			}
		},
	})
	if errors.Is(err, poll.ErrNoSource) {
		return ops.ErrNotThere
	}
	if !errors.Is(err, poll.ErrNoHistory) && !errors.Is(err, poll.ErrNoSpan) && !errors.Is(err, poll.ErrForgotten) {
		if err := a.act(context.WithoutCancel(ctx), actor, schemas.OperatorReconciled, q.Source); err != nil {
			a.log.Warn("an operator's action is not told on the bus", "actor", actor, "target", q.Source, "error", err)
		}
	}
	switch {
	case err == nil:
		return progress(reconciled(report))
	case saysWhy(err):
		return &ops.NotNowError{Detail: err.Error()}
	}
	return err
}

// saysWhy reports whether an error of asking a platform may be shown: its text
// is made for that.
func saysWhy(err error) bool {
	var upstream *handlers.UpstreamError
	var auth *handlers.AuthError
	known := []error{poll.ErrNoHistory, poll.ErrNoSpan, poll.ErrForgotten, poll.ErrElsewhere, poll.ErrResting}
	return errors.As(err, &upstream) || errors.As(err, &auth) ||
		slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) })
}

func reconciled(r poll.Report) ops.Reconciled {
	out := ops.Reconciled{
		From: r.From, To: r.To, At: timeOrNil(r.At), Facts: r.Facts, Unusable: r.Unusable, Told: r.Told,
		Types: []ops.ReconciledTypes{}, Complete: r.Complete,
		Missing: slices.Concat([]string{}, r.Missing), Disagreeing: slices.Concat([]string{}, r.Disagreeing),
	}
	for t, n := range r.Events {
		out.Types = append(out.Types, ops.ReconciledTypes{Type: string(t), Present: n.Present, Missing: n.Missing, Disagreeing: n.Disagreeing})
	}
	slices.SortFunc(out.Types, func(a, b ops.ReconciledTypes) int { return strings.Compare(a.Type, b.Type) })
	return out
}
