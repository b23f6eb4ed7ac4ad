package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
)

func reconcileCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reconcile --source NAME --since T",
		Short: "Compares a platform with the bus, and tells what is missing",
		Long: `Compares what a source's platform has of a span of time with what is on the bus,
and has told what is missing there, with postern-channel: backfill. What
disagrees is only listed. Progress goes to stderr. It can be interrupted at any
time, and is safe to repeat.

What is older than the bus keeps events is refused: what was told and is
forgotten would be told again. --accept-repeats does it all the same.

Needs a token of an operator, and is told on POSTERN_OPS. Exit code: 0 if all of
it was compared and nothing disagrees, 1 if not.`,
		Example: `  postern reconcile --source corastone --since 72h -c postern.yaml
  postern reconcile --source corastone --since 2026-03-01T00:00:00Z --until 2d --dry-run`,
		Args: cobra.NoArgs,
	}
	var source, since, until string
	var dryRun, acceptRepeats bool
	cmd.Flags().StringVar(&source, "source", "", "`name` of the source")
	cmd.Flags().StringVar(&since, "since", "", "compare since `T`: a duration like 72h or 3d, or a time")
	cmd.Flags().StringVar(&until, "until", "", "compare until `T` (default: a few minutes ago)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count what is missing")
	cmd.Flags().BoolVar(&acceptRepeats, "accept-repeats", false, "also what is older than the bus keeps events")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if source == "" || since == "" {
			return failf(exitUsage, "name them like --source corastone --since 72h", "--source and --since are needed")
		}
		query := url.Values{"since": {since}}
		if until != "" {
			query.Set("until", until)
		}
		query.Set("dry_run", strconv.FormatBool(dryRun))
		query.Set("accept_repeats", strconv.FormatBool(acceptRepeats))
		done, err := remote.reconcile(cmd.Context(), p, "/api/v1/sources/"+url.PathEscape(source)+"/reconcile?"+query.Encode())
		if err != nil {
			return err
		}
		if err := printAs(p.stdout, *output, done, func(w io.Writer) error { return printReconciled(w, done) }); err != nil {
			return err
		}
		switch {
		case !done.Complete:
			return failf(exitFailed, "run it again: what it found is told already", "it ended before it was complete: %s", harmless(done.Error))
		case len(done.Disagreeing) > 0:
			return failf(exitFailed, "look at them with `postern events show ID`", "the platform says something else of some events")
		}
		return nil
	}
	return cmd
}

// reconcile asks the running postern, shows how far it is, and returns what it
// found in the end.
func (r *remote) reconcile(ctx context.Context, p *process, path string) (done ops.Reconciled, err error) {
	res, err := r.send(ctx, p, http.MethodPost, path, 0)
	if err != nil {
		return done, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return done, failf(exitNotFound, "see `postern sources list`", "there is no source of that name")
	case http.StatusConflict:
		return done, failf(exitFailed, "see `postern reconcile --help`", "%s", detail(res))
	default:
		return done, refused(res)
	}
	lines := jsontext.NewDecoder(res.Body)
	for {
		var line ops.Reconciled
		err := json.UnmarshalDecode(lines, &line)
		switch {
		case errors.Is(err, io.EOF):
			return done, nil
		case err != nil:
			return done, failf(exitUnavailable, "run it again: what it found is told already", "the answer broke off")
		}
		done = line
		at := ""
		if line.At != nil {
			at = ", up to " + line.At.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(p.stderr, "%d facts compared%s\n", line.Facts, at)
	}
}

func printReconciled(w io.Writer, done ops.Reconciled) error {
	row(w, "TYPE", "PRESENT", "MISSING", "DISAGREEING")
	for _, t := range done.Types {
		row(w, t.Type, t.Present, t.Missing, t.Disagreeing)
	}
	for _, id := range done.Missing {
		row(w, "missing", harmless(id))
	}
	for _, id := range done.Disagreeing {
		row(w, "disagreeing", harmless(id))
	}
	return nil
}
