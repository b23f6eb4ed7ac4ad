package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/receiver/relay"
)

func quarantineReleaseCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release ID... | --all",
		Short: "Has deliveries in quarantine translated again",
		Long: `Has deliveries in quarantine translated again, and told if they become events
now: after a platform's new words were learnt by a new version, or because
somebody decided that an old or contested delivery is to be believed. What was
told before is not told again. A record leaves the quarantine when it is told;
if it still can't be, it stays, and the answer says why.

A delivery that contradicts what was told under the same id stays: that id can't
be told twice. Discard it, or keep it.

Needs a token of an operator, and is told on POSTERN_OPS.

Exit code: 1 if one of them stays in quarantine.`,
		Example: `  postern quarantine release 42 43 -c postern.yaml
  postern quarantine release --all --reason bad_json --source corastone -c postern.yaml`,
	}
	handled := handleCommand(p, cmd, "release")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return handled(cmd.Context(), args) }
	return cmd
}

func quarantineDiscardCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "discard ID... --yes | --all --yes",
		Short: "Deletes deliveries from quarantine",
		Long: `Deletes deliveries from quarantine for good. Their sealed originals stay on
POSTERN_RAW as long as that keeps them. Needs a token of an operator, and is
told on POSTERN_OPS.`,
		Example: `  postern quarantine discard 42 --yes -c postern.yaml
  postern quarantine discard --all --reason stale --yes -c postern.yaml`,
	}
	yes := cmd.Flags().Bool("yes", false, "really delete them")
	handled := handleCommand(p, cmd, "discard")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*yes {
			return failf(exitUsage, "add --yes if that is meant; `postern quarantine show` shows one", "discard deletes for good")
		}
		return handled(cmd.Context(), args)
	}
	return cmd
}

// handleCommand adds the flags of release and discard and returns what does
// either.
func handleCommand(p *process, cmd *cobra.Command, verb string) func(context.Context, []string) error {
	var f recordsFlags
	f.add(cmd, reasonNames())
	all := cmd.Flags().Bool("all", false, "all that are there, or that --source and --reason name")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	return func(ctx context.Context, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		var list []ops.Handled
		var err error
		switch {
		case *all && len(args) == 0:
			list, err = remote.handleAll(ctx, p, verb, f)
		case *all:
			return failf(exitUsage, "leave out one of them", "--all and records are named")
		case f.source != "" || f.reason != "":
			return failf(exitUsage, "add --all, to mean all that match", "--source and --reason choose among all")
		case len(args) == 0:
			return failf(exitUsage, "name records, or --all", "nothing is named to %s", verb)
		default:
			list, err = remote.handleEach(ctx, p, verb, args)
		}
		if len(list) > 0 || err == nil {
			if err := printHandled(p.stdout, *output, list); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		return p.conclude(list)
	}
}

// handleEach handles the records that are named, one by one.
func (r *remote) handleEach(ctx context.Context, p *process, verb string, ids []string) ([]ops.Handled, error) {
	paths := make([]string, len(ids))
	for i, id := range ids {
		path, err := recordPath(id)
		if err != nil {
			return nil, err
		}
		paths[i] = path
	}
	var all []ops.Handled
	for _, path := range paths {
		var answer ops.HandledList
		if err := r.call(ctx, p, http.MethodPost, path+"/"+verb, "postern quarantine list", &answer); err != nil {
			return all, err
		}
		all = append(all, answer.Handled...)
	}
	return all, nil
}

// handleAll handles all records that match and are there now, as many at a
// time as one request takes.
func (r *remote) handleAll(ctx context.Context, p *process, verb string, f recordsFlags) ([]ops.Handled, error) {
	var all []ops.Handled
	q := f.query()
	q.Set("all", "true")
	for {
		var answer ops.HandledList
		if err := r.call(ctx, p, http.MethodPost, "/api/v1/quarantine/"+verb+"?"+q.Encode(), "", &answer); err != nil {
			return all, err
		}
		all = append(all, answer.Handled...)
		if !answer.More || unavailable(answer.Handled) {
			return all, nil
		}
		q.Set("after", strconv.FormatUint(answer.Behind, 10))
		if !q.Has("until") {
			q.Set("until", strconv.FormatUint(answer.Last, 10))
		}
	}
}

func unavailable(list []ops.Handled) bool {
	return len(list) > 0 && list[len(list)-1].Outcome == ops.OutcomeUnavailable
}

func printHandled(w io.Writer, output string, list []ops.Handled) error {
	if list == nil {
		list = []ops.Handled{}
	}
	return printAs(w, output, list, func(w io.Writer) error {
		row(w, "SEQ", "SOURCE", "DELIVERY", "OUTCOME", "REASON")
		for _, h := range list {
			row(w, h.Sequence, h.Source, h.DeliveryID, h.Outcome, h.Reason)
		}
		return nil
	})
}

// conclude says on stderr what came of it, and fails if something is left.
func (p *process) conclude(list []ops.Handled) error {
	n := map[string]int{}
	for _, h := range list {
		n[h.Outcome]++
	}
	if len(list) == 0 {
		fmt.Fprintln(p.stderr, "there are none")
	}
	if n[ops.OutcomePending] > 0 {
		fmt.Fprintf(p.stderr, "%s in the journal and told when the bus takes it: see `postern status`\n", count(n[ops.OutcomePending], "record"))
	}
	switch {
	case n[ops.OutcomeUnavailable] > 0:
		return failf(exitUnavailable, "try again in a moment", "%s not handled", count(n[ops.OutcomeUnavailable], "record"))
	case n[string(relay.ReleaseKept)]+n[ops.OutcomeSealed] > 0:
		return failf(exitFailed, "see the reasons above, and the receiver's log",
			"%s in quarantine", count(n[string(relay.ReleaseKept)]+n[ops.OutcomeSealed], "record")+" still")
	}
	return nil
}
