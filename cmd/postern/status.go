package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

func statusCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Shows how a running postern is, on one screen",
		Long: `Shows how a running postern is, on one screen: its sources and when they pushed
last, what waits in the journal, what is in quarantine, the pollers, the streams
and their consumers, certificates; and what is wrong, with what to do next.

Exit code: 1 if something is wrong.`,
		Example: "  postern status\n  postern status --ops https://postern.example:8081 --token-file token -o json",
		Args:    cobra.NoArgs,
	}
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		var s ops.Status
		if err := remote.call(cmd.Context(), p, http.MethodGet, "/api/v1/status", "", &s); err != nil {
			return err
		}
		err := printAs(p.stdout, *output, s, func(w io.Writer) error {
			printStatus(w, s, time.Now())
			return nil
		})
		if err == nil && len(s.Wrong) > 0 {
			return silent(exitFailed)
		}
		return err
	}
	return cmd
}

func printStatus(w io.Writer, s ops.Status, now time.Time) {
	row(w, "SOURCE", "PLATFORM", "LAST PUSH")
	for _, src := range s.Sources {
		last := "-"
		if src.LastPush != nil {
			last = schemas.FormatTime(*src.LastPush) + ", " + ago(*src.LastPush, now)
		} else if src.Pushes {
			last = "never seen"
		}
		row(w, src.Name, src.Platform, last)
	}
	fmt.Fprintln(w)

	waiting := "nothing waits"
	if s.Journal.Entries > 0 {
		waiting = count(int(s.Journal.Entries), "record") + " for the bus"
		if s.Journal.Oldest != nil {
			waiting += ", the oldest since " + ago(*s.Journal.Oldest, now)
		}
	}
	row(w, "journal", waiting, humanBytes(s.Journal.Bytes)+" of "+humanBytes(s.Journal.MaxBytes))
	if s.Journal.FreeBytes != nil {
		row(w, "disk", humanBytes(*s.Journal.FreeBytes)+" free", humanBytes(s.Journal.Reserve)+" in reserve")
	}
	connected := "not connected"
	if s.NATS.Connected {
		connected = "connected"
	}
	row(w, "nats", connected)
	countRows(w, "quarantine", s.Quarantine)
	countRows(w, "refused, last hour", s.Rejected)
	for _, c := range s.Pollers {
		last := "never"
		if c.LastSuccess != nil {
			last = ago(*c.LastSuccess, now)
		}
		row(w, "poller "+c.Name, c.State, last)
	}
	for _, c := range s.Certificates {
		row(w, "certificate", c.Source+" "+c.Name, "ends "+c.Expires.Format(time.DateOnly))
	}
	fmt.Fprintln(w)

	printStreams(w, s.Streams)
	printConsumers(w, s.Streams)
	fmt.Fprintln(w)
	if len(s.Wrong) == 0 {
		fmt.Fprintln(w, "nothing is wrong")
	}
	for _, text := range s.Wrong {
		fmt.Fprintln(w, "WRONG: "+harmless(text))
	}
}

func countRows(w io.Writer, name string, list []ops.Count) {
	if len(list) == 0 {
		row(w, name, "none")
	}
	for _, c := range list {
		row(w, name, c.Source+" "+c.Reason, c.Count)
	}
}
