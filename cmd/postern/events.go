package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
)

func eventsCommand(p *process) *cobra.Command {
	cmd := group("events", "Finds events", `
Finds events that a running postern published, as long as the stream keeps them.`, `
  postern events list --since 1h --type 'process.*'
  postern events show corastone:process:0f3d9a52-77c1-4f0e-9a37-5c1f0a6b2d18:success
  postern events raw corastone:process:0f3d9a52-77c1-4f0e-9a37-5c1f0a6b2d18:success -c postern.yaml`)
	cmd.AddCommand(eventsListCommand(p), eventsShowCommand(p), eventsRawCommand(p))
	return cmd
}

func eventsListCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Lists events, the oldest first",
		Long:    `Lists events that are there, the oldest first: the last 100 unless told otherwise.`,
		Example: "  postern events list --since 1h --type 'process.*'\n  postern events list --last 20 -o json",
		Args:    cobra.NoArgs,
	}
	f := tailFlags{follow: false}
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "only events of this source")
	flags.StringVar(&f.typ, "type", "", "only events of these types, like 'process.*'")
	flags.StringVar(&f.key, "key", "", "only events of the entity with this key")
	flags.StringVar(&f.since, "since", "", "only events since then: 90s, 1h, 30d or a time")
	flags.IntVar(&f.last, "last", 100, "only the last `N` of them; 0: all")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return remote.printEvents(cmd.Context(), p, f, *output) }
	return cmd
}

func entityCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "entity ENTITY/KEY",
		Short: "Shows what happened to one entity",
		Long: `Shows what happened to one entity, in the order in which it was published: all
its events, of all sources unless --source names one. KEY is the entity's key as
the platform writes it, or what stands for it in a subject.`,
		Example: "  postern entity process/0f3d9a52-77c1-4f0e-9a37-5c1f0a6b2d18",
		Args:    cobra.ExactArgs(1),
	}
	source := cmd.Flags().String("source", "", "only events of this source")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		entity, key, ok := strings.Cut(args[0], "/")
		if !ok || entity == "" || key == "" || strings.ContainsAny(entity, `*?[\.`) {
			return failf(exitUsage, "write it like process/0f3d9a52-77c1-4f0e-9a37-5c1f0a6b2d18", "an entity is named by what it is and its key")
		}
		return remote.printEvents(cmd.Context(), p, tailFlags{source: *source, typ: entity + ".*", key: key}, *output)
	}
	return cmd
}

// published is an event as a list shows it.
type published struct {
	ops.TailEvent
	id, typ, subject, at string
}

// printEvents prints the events that are there and match.
func (r *remote) printEvents(ctx context.Context, p *process, f tailFlags, output string) error {
	if err := checkOutput(output); err != nil {
		return err
	}
	query, err := f.query()
	if err != nil {
		return err
	}
	body, err := r.get(ctx, p, "/api/v1/tail?"+query.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	list := []published{}
	err = printEvents(ctx, body, func(e ops.TailEvent) error {
		var said struct{ ID, Type, Subject, Time string }
		if err := json.Unmarshal(e.Event, &said, json.MatchCaseInsensitiveNames(true)); err != nil {
			return err
		}
		e.Event = bytes.Clone(e.Event)
		typ := strings.TrimSuffix(strings.TrimPrefix(said.Type, "postern."), ".v1")
		list = append(list, published{e, said.ID, typ, said.Subject, said.Time})
		return nil
	})
	if err != nil {
		return err
	}
	events := make([]ops.TailEvent, len(list))
	for i, e := range list {
		events[i] = e.TailEvent
	}
	err = printAs(p.stdout, output, events, func(w io.Writer) error {
		row(w, "SEQ", "TIME", "TYPE", "ENTITY", "ID")
		for _, e := range list {
			row(w, e.Sequence, e.at, e.typ, harmless(e.subject), e.id)
		}
		return nil
	})
	if err == nil && len(list) == 0 {
		return failf(exitNotFound, "events go when they are older than nats.retention.events; `postern events list` shows what there is", "there is no such event")
	}
	return err
}

func eventsShowCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Shows an event",
		Long: `Shows the event with an id. With --restricted it shows its restricted twin: what
not everybody may see. That needs a token with the role unseal, and is told on
POSTERN_OPS.`,
		Example: "  postern events show corastone:process:0f3d9a52-77c1-4f0e-9a37-5c1f0a6b2d18:success",
		Args:    cobra.ExactArgs(1),
	}
	restricted := cmd.Flags().Bool("restricted", false, "show the restricted twin")
	remote := remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := eventPath(args[0])
		if *restricted {
			path += "/restricted"
		}
		var e ops.TailEvent
		if err := remote.call(cmd.Context(), p, http.MethodGet, path, "postern events list", &e); err != nil {
			return err
		}
		if err := e.Event.Indent(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "%s\n", e.Event)
		return err
	}
	return cmd
}

func eventsRawCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "raw ID",
		Short: "Opens the delivery that told an event",
		Long: `Opens the delivery that told the event with an id: what the platform said. Needs
a token with the role unseal, and is told on POSTERN_OPS. Control characters in
it are shown as \u001b.`,
		Example: "  postern events raw corastone:process:0f3d9a52-77c1-4f0e-9a37-5c1f0a6b2d18:success -c postern.yaml",
		Args:    cobra.ExactArgs(1),
	}
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		var r ops.Record
		if err := remote.call(cmd.Context(), p, http.MethodGet, eventPath(args[0])+"/raw", "postern events list", &r); err != nil {
			return err
		}
		return printAs(p.stdout, *output, r, func(w io.Writer) error {
			printRecord(w, r)
			return nil
		})
	}
	return cmd
}

func eventPath(id string) string { return "/api/v1/events/" + url.PathEscape(id) }
