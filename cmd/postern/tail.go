package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/handlers"
	"github.com/seed75441868/postern/receiver/ops"
)

// tailFlags are the flags of `postern tail`.
type tailFlags struct {
	source, typ, key string
	since            string
	last, count      int
	follow           bool
	output           string
}

func tailCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Shows events as they are published",
		Long: `Shows events as they are published by a running postern, until it is
interrupted or has shown --count of them.

-o line prints "<time> <subject>", jsonl the CloudEvent on one line, json the
CloudEvent over several lines.`,
		Example: `  postern tail
  postern tail --type 'process.*' --since 1h -o json
  postern tail --last 20 --follow=false`,
		Args: cobra.NoArgs,
	}
	var f tailFlags
	remote := remoteFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "only events of this source")
	flags.StringVar(&f.typ, "type", "", "only events of these types, like 'process.*'")
	flags.StringVar(&f.key, "key", "", "only events of the entity with this key")
	flags.StringVar(&f.since, "since", "", "begin with events since then: 90s, 1h, 30d or a time")
	flags.IntVar(&f.last, "last", 0, "begin with the last `N` events")
	flags.IntVar(&f.count, "count", 0, "end after `N` events")
	flags.BoolVar(&f.follow, "follow", true, "go on with events that come")
	flags.StringVarP(&f.output, "output", "o", "line", "line, json or jsonl")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		print, err := eventPrinter(p.stdout, f.output)
		if err != nil {
			return err
		}
		query, err := f.query()
		if err != nil {
			return err
		}
		body, err := remote.get(cmd.Context(), p, "/api/v1/tail?"+query.Encode())
		if err != nil {
			return err
		}
		defer body.Close()
		return printEvents(cmd.Context(), body, print)
	}
	return cmd
}

func (f tailFlags) query() (url.Values, error) {
	q := url.Values{"follow": {strconv.FormatBool(f.follow)}}
	set := func(name, value string) {
		if value != "" && value != "0" {
			q.Set(name, value)
		}
	}
	set("source", f.source)
	set("type", f.typ)
	set("key", f.key)
	set("last", strconv.Itoa(f.last))
	set("count", strconv.Itoa(f.count))
	if f.since == "" {
		return q, nil
	}
	var ago handlers.Duration
	if err := ago.UnmarshalText([]byte(f.since)); err == nil {
		q.Set("since", ago.Std().String())
		return q, nil
	}
	at, ok := handlers.Time(f.since)
	if !ok {
		return nil, failf(exitUsage, `write a duration like 90s, 1h or 30d, or a time like 2026-01-31T12:00:00Z`, "--since %q is neither", f.since)
	}
	q.Set("since", at)
	return q, nil
}

// eventPrinter returns what prints an event in the form that -o names.
func eventPrinter(w io.Writer, output string) (func(ops.TailEvent) error, error) {
	switch output {
	case "line":
		return func(e ops.TailEvent) error {
			var said struct {
				Time string `json:"time"`
			}
			if err := json.Unmarshal(e.Event, &said); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "%s %s\n", said.Time, e.Subject)
			return err
		}, nil
	case "jsonl":
		return func(e ops.TailEvent) error {
			_, err := fmt.Fprintf(w, "%s\n", e.Event)
			return err
		}, nil
	case "json":
		return func(e ops.TailEvent) error {
			if err := e.Event.Indent(jsontext.WithIndent("  ")); err != nil {
				return err
			}
			_, err := fmt.Fprintf(w, "%s\n", e.Event)
			return err
		}, nil
	}
	return nil, failf(exitUsage, "choose line, json or jsonl", "-o %q is no way to print events", output)
}

// printEvents prints a stream of events until it ends. A stream that breaks
// off is an error, an interrupt is none.
func printEvents(ctx context.Context, body io.Reader, print func(ops.TailEvent) error) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e ops.TailEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return failf(exitFailed, "check that --ops leads to a postern of this version", "the answer is no event")
		}
		if err := print(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return failf(exitUnavailable, "try again; --since shows what was missed", "the stream broke off: %w", err)
	}
	return nil
}
