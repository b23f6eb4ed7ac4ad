package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
)

func streamsCommand(p *process) *cobra.Command {
	cmd := group("streams", "Shows the streams", `
Shows the streams of a running postern.`, `
  postern streams status`)
	cmd.AddCommand(streamsStatusCommand(p))
	return cmd
}

func streamsStatusCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Shows how full the streams are, and how they differ from the configuration",
		Long: `Shows the streams and buckets of a running postern: what they hold and may hold,
what happens when they are full, their durable consumers, and how they differ
from the configuration. Streams are never changed by themselves: what they have
is for an operator to change, with NATS' own tools.

Exit code: 1 if one differs, or refuses soon because it is full to 80 % or more.`,
		Example: "  postern streams status\n  postern streams status -o json",
		Args:    cobra.NoArgs,
	}
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		var answer struct {
			Streams []ops.StreamStatus `json:"streams"`
		}
		if err := remote.call(cmd.Context(), p, http.MethodGet, "/api/v1/streams", "", &answer); err != nil {
			return err
		}
		err := printAs(p.stdout, *output, answer, func(w io.Writer) error {
			printStreams(w, answer.Streams)
			printConsumers(w, answer.Streams)
			for _, s := range answer.Streams {
				for _, line := range s.Drift {
					fmt.Fprintln(w, "DIFFERS: "+harmless(line))
				}
			}
			return nil
		})
		if err == nil && slices.ContainsFunc(answer.Streams, streamIsWrong) {
			return silent(exitFailed)
		}
		return err
	}
	return cmd
}

// refuses is what a stream does when it is full that doesn't drop its oldest.
const refuses = "refuses"

func streamIsWrong(s ops.StreamStatus) bool {
	return len(s.Drift) > 0 || s.WhenFull == refuses && s.Fill >= fillAlarm
}

func printStreams(w io.Writer, streams []ops.StreamStatus) {
	row(w, "STREAM", "MESSAGES", "SIZE", "LIMIT", "FULL", "AGE", "WHEN FULL")
	for _, s := range streams {
		limit, age := "none", s.MaxAge
		if s.MaxBytes > 0 {
			limit = humanBytes(s.MaxBytes)
		}
		row(w, s.Name, s.Messages, humanBytes(int64(s.Bytes)), limit, fmt.Sprintf("%d %%", s.Fill), age, s.WhenFull)
	}
}

func printConsumers(w io.Writer, streams []ops.StreamStatus) {
	for _, s := range streams {
		for _, c := range s.Consumers {
			row(w, "consumer "+harmless(c.Name), "of "+s.Name, fmt.Sprintf("%d pending", c.Pending))
		}
	}
}
