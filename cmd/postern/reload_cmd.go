package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
)

// reloadWait is how long a reload may take: it opens all sources.
const reloadWait = 30 * time.Second

func reloadCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Has a running postern read its configuration again",
		Long: `Has a running postern read its configuration again: the files and folders that
it was started with. Sources, allow-lists, certificates, secrets, outbound, the
tokens of the ops listener and the log level are applied at once and together.
What needs a restart is listed and not applied.

If anything is wrong everything stays as it is, and the problems are listed as
file:line:col: message. Needs a token of an operator. SIGHUP does the same, and
so does a change of the files within some seconds.

Exit code: 0 if it was applied, 3 if the configuration is bad.`,
		Example: `  postern reload -c postern.yaml
  postern reload --ops https://postern.example:8081 --token-file token`,
		Args: cobra.NoArgs,
	}
	remote := remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), reloadWait)
		defer cancel()
		done, err := remote.reload(ctx, p)
		if err != nil {
			return err
		}
		return printReloaded(p.stdout, p.stderr, done)
	}
	return cmd
}

// reload asks the running postern. Its error is a *configError if the
// configuration is bad.
func (r *remote) reload(ctx context.Context, p *process) (ops.Reloaded, error) {
	var done ops.Reloaded
	res, err := r.send(ctx, p, http.MethodPost, "/api/v1/reload", 0)
	if err != nil {
		return done, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return done, readAnswer(res, &done)
	case http.StatusUnprocessableEntity:
		return done, badConfig(res.Body)
	default:
		return done, refused(res)
	}
}

// badConfig returns what a postern says is wrong with its configuration.
func badConfig(body io.Reader) error {
	var answer struct {
		Problems []ops.Problem `json:"problems"`
	}
	if err := json.UnmarshalRead(body, &answer); err != nil || len(answer.Problems) == 0 {
		return failf(exitConfig, "see its log", "the new configuration is bad; the old one stays")
	}
	bad := &configError{}
	for _, p := range answer.Problems {
		bad.problems = append(bad.problems, Problem{positionOf(p), p.Message})
	}
	return bad
}

func printReloaded(stdout, stderr io.Writer, done ops.Reloaded) error {
	var b strings.Builder
	for _, c := range done.Applied {
		fmt.Fprintf(&b, "%s: %s\n", c.Setting, c.How)
	}
	for _, setting := range done.Restart {
		fmt.Fprintf(&b, "%s: needs a restart\n", setting)
	}
	for _, w := range done.Warnings {
		fmt.Fprintf(stderr, "%s: warning: %s\n", positionOf(w), w.Message)
	}
	if b.Len() == 0 {
		fmt.Fprintln(stderr, "nothing is different")
	}
	_, err := io.WriteString(stdout, b.String())
	return err
}
