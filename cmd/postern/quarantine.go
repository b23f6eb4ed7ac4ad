package main

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

func quarantineCommand(p *process) *cobra.Command {
	cmd := group("quarantine", "Shows and handles deliveries that could not become events", `
Shows and handles deliveries that are authentic but could not become events.
They are kept, sealed, until they are released or discarded.`, `
  postern quarantine list -c postern.yaml
  postern quarantine show 42 --unseal -c postern.yaml
  postern quarantine release --all --reason unknown_kind -c postern.yaml`)
	cmd.AddCommand(
		quarantineListCommand(p),
		quarantineShowCommand(p),
		quarantineReleaseCommand(p),
		quarantineDiscardCommand(p),
	)
	return cmd
}

// reasonNames lists the reasons for quarantine.
func reasonNames() string {
	var names []string
	for _, r := range schemas.Reasons() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

func quarantineListCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "Lists deliveries in quarantine, the oldest first",
		Long:    `Lists deliveries in quarantine, the oldest first. Nothing of what is sealed is shown.`,
		Example: "  postern quarantine list\n  postern quarantine list --source corastone --reason stale -o json",
		Args:    cobra.NoArgs,
	}
	var f recordsFlags
	f.add(cmd, reasonNames())
	cmd.Flags().IntVar(&f.limit, "limit", 100, "at most `N`")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		list, err := remote.records(cmd.Context(), p, "/api/v1/quarantine", f)
		if err != nil {
			return err
		}
		return printList(p, *output, list, func(w io.Writer) error {
			row(w, "SEQ", "SOURCE", "REASON", "DELIVERY", "CHANNEL", "RECEIVED", "SIZE")
			for _, r := range list.Records {
				row(w, r.Sequence, r.Source, r.Reason, r.DeliveryID, r.Channel, r.Received, humanBytes(int64(r.Bytes)))
			}
			return nil
		})
	}
	return cmd
}

func quarantineShowCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Shows a delivery in quarantine",
		Long: `Shows a delivery in quarantine. ID is its sequence or the id of the delivery.
With --unseal it shows what was delivered too: that needs a token with the role
unseal, and is told on POSTERN_OPS. Control characters in it are shown as
\u001b.`,
		Example: "  postern quarantine show 42\n  postern quarantine show 42 --unseal -c postern.yaml",
		Args:    cobra.ExactArgs(1),
	}
	unseal := cmd.Flags().Bool("unseal", false, "open what is sealed")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		path, err := recordPath(args[0])
		if err != nil {
			return err
		}
		if *unseal {
			path += "?unseal=true"
		}
		var records []ops.Record
		if err := remote.call(cmd.Context(), p, http.MethodGet, path, "postern quarantine list", &records); err != nil {
			return err
		}
		return printAs(p.stdout, *output, records, func(w io.Writer) error {
			for i, r := range records {
				if i > 0 {
					row(w, "")
				}
				printRecord(w, r)
			}
			return nil
		})
	}
	return cmd
}

// recordPath returns where a record in quarantine is found.
func recordPath(id string) (string, error) {
	if id == "" || schemas.Token(id) != id {
		return "", failf(exitUsage, "take it from `postern quarantine list`", "a record is named by its sequence or the id of its delivery")
	}
	return "/api/v1/quarantine/" + url.PathEscape(id), nil
}
