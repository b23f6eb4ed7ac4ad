package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
)

func pollersCommand(p *process) *cobra.Command {
	cmd := group("pollers", "Shows and moves what is polled", `
Shows and moves the pollers of a running postern. Their names are those of their
source and what they ask it for: concedus/agent-list.`, `
  postern pollers list -c postern.yaml
  postern pollers run concedus/agent-list -c postern.yaml`)
	cmd.AddCommand(
		pollersListCommand(p),
		pollerCommand(p, ops.PollerRun, "Has a poller scan at once", `
Has a poller scan at once, also one that is paused, and waits until it has. What
it found before is told first. If another receiver polls it, ask that one.`),
		pollerCommand(p, ops.PollerPause, "Pauses a poller on all receivers", `
Pauses a poller on all receivers, until it is resumed; a restart doesn't resume
it. A scan that is under way ends first. Nothing that changes meanwhile is lost:
the next scan finds what is different then.`),
		pollerCommand(p, ops.PollerResume, "Resumes a paused poller", `
Resumes a paused poller: it scans at once.`),
		pollerCommand(p, ops.PollerAccept, "Believes a suspect scan", `
Believes the scan that is suspect because it shrank too much: what was not in it
is absent from now on. Without that it is believed after three scans that agree.`),
	)
	return cmd
}

// pollerList is the answer to GET /api/v1/pollers.
type pollerList struct {
	Pollers []ops.PollerStatus `json:"pollers"`
}

func pollersListCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Lists the pollers and how they are",
		Long:    `Lists the pollers and how they are.`,
		Example: "  postern pollers list -c postern.yaml\n  postern pollers list -o json",
		Args:    cobra.NoArgs,
	}
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		var list pollerList
		err := remote.call(cmd.Context(), p, http.MethodGet, "/api/v1/pollers", "", &list)
		if err != nil {
			return err
		}
		return printAs(p.stdout, *output, list, func(w io.Writer) error {
			now := time.Now()
			row(w, "NAME", "STATE", "EVERY", "LAST SUCCESS", "FAILURES", "PUSHED", "ERROR")
			for _, s := range list.Pollers {
				last := "never"
				if s.LastSuccess != nil {
					last = ago(*s.LastSuccess, now)
				}
				every := time.Duration(s.Interval * float64(time.Second)).Round(time.Millisecond)
				row(w, s.Name, s.State, every, last, s.Failures, pushedShare(s.Completeness), harmless(s.Error))
			}
			return nil
		})
	}
	return cmd
}

// detail returns what an answer says is wrong.
func detail(res *http.Response) string {
	var problem struct {
		Detail string `json:"detail"`
	}
	if json.UnmarshalRead(res.Body, &problem) != nil || problem.Detail == "" {
		return res.Status
	}
	return harmless(problem.Detail)
}

// pushedShare says how much of what was polled had been pushed.
func pushedShare(c *ops.Completeness) string {
	if c == nil || c.Pushed+c.Missed == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %%", 100*float64(c.Pushed)/float64(c.Pushed+c.Missed))
}

func pollerCommand(p *process, verb ops.PollerVerb, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:     string(verb) + " NAME",
		Short:   short,
		Long:    strings.TrimSpace(long) + "\n\nNeeds a token of an operator, and is told on POSTERN_OPS.",
		Example: "  postern pollers " + string(verb) + " concedus/agent-list -c postern.yaml",
		Args:    cobra.ExactArgs(1),
	}
	remote := remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		source, poller, ok := strings.Cut(args[0], "/")
		if !ok {
			return failf(exitUsage, "see `postern pollers list`", "%q is no name of a poller: it is that of a source, a slash, and what it is asked for", args[0])
		}
		path := "/api/v1/pollers/" + url.PathEscape(source) + "/" + url.PathEscape(poller) + "/" + string(verb)
		if err := remote.move(cmd.Context(), p, path); err != nil {
			return err
		}
		_, err := io.WriteString(p.stderr, pollerDone[verb]+"\n")
		return err
	}
	return cmd
}

var pollerDone = map[ops.PollerVerb]string{
	ops.PollerRun:    "it has scanned",
	ops.PollerPause:  "it is paused",
	ops.PollerResume: "it goes on",
	ops.PollerAccept: "what the scan said is believed",
}

// move has a poller do something.
func (r *remote) move(ctx context.Context, p *process, path string) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	res, err := r.send(ctx, p, http.MethodPost, path, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusNotFound:
		return failf(exitNotFound, "see `postern pollers list`", "there is no poller of that name")
	case http.StatusConflict:
		return failf(exitFailed, "see `postern pollers list`", "%s", detail(res))
	default:
		return refused(res)
	}
}
