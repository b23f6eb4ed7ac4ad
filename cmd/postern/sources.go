package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

func sourcesCommand(p *process) *cobra.Command {
	cmd := group("sources", "Shows the sources, and confirms their subscriptions", `
Shows the sources of a running postern, and confirms what waits for it: before
Amazon SNS pushes anything it asks whether the subscription is wanted.`, `
  postern sources list
  postern sources confirm corastone -c postern.yaml`)
	cmd.AddCommand(sourcesListCommand(p), sourcesConfirmCommand(p))
	return cmd
}

func sourcesListCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists the sources",
		Long: `Lists the sources: how their pushes are authenticated, when they pushed last, and
whether a subscription waits to be confirmed, until when, or was ended.`,
		Example: "  postern sources list\n  postern sources list -o json",
		Args:    cobra.NoArgs,
	}
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		var list ops.SourceList
		if err := remote.call(cmd.Context(), p, http.MethodGet, "/api/v1/sources", "", &list); err != nil {
			return err
		}
		err := printAs(p.stdout, *output, list.Sources, func(w io.Writer) error {
			printSources(w, list.Sources, time.Now())
			return nil
		})
		if err == nil && *output == "table" {
			for _, c := range concerns(list.Sources) {
				fmt.Fprintf(p.stderr, "%s: %s: %s\n", c.source, harmless(c.text), c.todo)
			}
		}
		return err
	}
	return cmd
}

func printSources(w io.Writer, list []ops.Source, now time.Time) {
	row(w, "SOURCE", "PLATFORM", "PUSH", "LAST PUSH", "POLL", "SUBSCRIPTION")
	for _, src := range list {
		push, last, subscription := "off", "-", ""
		if src.Push != nil {
			push, last, subscription = src.Push.Signature, "never seen", subscriptionOf(src.Push)
			if at := src.Push.LastPush; at != nil {
				last = ago(*at, now)
			}
		}
		poll := "none"
		if n := len(src.Pollers); n > 0 {
			poll = count(n, "poller")
		}
		row(w, src.Name, src.Platform, push, last, poll, subscription)
	}
}

// subscriptionOf says in a cell how a source's subscriptions are.
func subscriptionOf(push *ops.SourcePush) string {
	var parts []string
	for _, w := range push.Waiting {
		word := "waits until "
		if w.Lapsed {
			word = "lapsed "
		}
		parts = append(parts, word+schemas.FormatTime(w.Deadline))
	}
	for _, e := range push.Ended {
		parts = append(parts, "ended "+schemas.FormatTime(e.Ended))
	}
	return strings.Join(parts, ", ")
}

func sourcesConfirmCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "confirm NAME",
		Short: "Confirms the subscriptions of a source that wait for it",
		Long: `Confirms the subscriptions of a source that wait for it: the receiver calls Amazon
SNS of the topic's region through outbound. What came as SubscribeURL is not
followed. Needs a token of an operator, and is told on POSTERN_OPS.

Exit code: 1 if trying again is of no use (the token has lapsed), 4 if nothing
waits, 6 if SNS or the bus can't be reached now.`,
		Example: "  postern sources confirm corastone -c postern.yaml",
		Args:    cobra.ExactArgs(1),
	}
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		if !schemas.SourceName.MatchString(args[0]) {
			return failf(exitUsage, "take it from `postern sources list`", "that is no name of a source")
		}
		var list ops.ConfirmationList
		err := remote.call(cmd.Context(), p, http.MethodPost, "/api/v1/sources/"+url.PathEscape(args[0])+"/confirm", "", &list)
		var exit *exitError
		if errors.As(err, &exit) && exit.code == exitNotFound {
			return failf(exitNotFound, "see `postern sources list`", "%w", exit.err)
		}
		if err != nil {
			return err
		}
		err = printAs(p.stdout, *output, list.Confirmations, func(w io.Writer) error {
			row(w, "TOPIC", "OUTCOME", "DETAIL")
			for _, c := range list.Confirmations {
				row(w, harmless(c.Topic), c.Outcome, harmless(c.Detail))
			}
			return nil
		})
		if err != nil {
			return err
		}
		return confirmationsResult(list.Confirmations)
	}
	return cmd
}

// confirmationsResult fails if one of them is not confirmed.
func confirmationsResult(list []ops.Confirmation) error {
	n := map[string]int{}
	for _, c := range list {
		n[c.Outcome]++
	}
	switch left := len(list) - n[ops.OutcomeConfirmed]; {
	case left == 0:
		return nil
	case n[ops.OutcomeRefused] > 0:
		return failf(exitFailed, "have the platform subscribe again", "%s not confirmed", count(left, "subscription"))
	default:
		return failf(exitUnavailable, "try again in a moment; see whether outbound leads to SNS", "%s not confirmed", count(left, "subscription"))
	}
}
