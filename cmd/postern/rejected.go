package main

import (
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
)

func rejectedCommand(p *process) *cobra.Command {
	cmd := group("rejected", "Shows pushes that were refused though their caller is allowed", `
Shows pushes that were refused though their caller's address is allowed. The
last 100 of each source are kept for 7 days, sealed: something in front of
Postern changes pushes, a certificate is not the one that is trusted, or
somebody tries.`, `
  postern rejected list -c postern.yaml
  postern rejected show 42 --unseal -c postern.yaml`)
	cmd.AddCommand(rejectedListCommand(p), rejectedShowCommand(p))
	return cmd
}

func rejectedListCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists refused pushes, the oldest first",
		Long: `Lists refused pushes, the oldest first: the sequence by which show finds them,
and what was wrong. Nothing of the pushes themselves is shown.`,
		Example: `  postern rejected list
  postern rejected list --source corastone --reason signature -o json`,
		Args: cobra.NoArgs,
	}
	var f recordsFlags
	f.add(cmd, "topic, signature, certificate, header, unverifiable, size")
	cmd.Flags().IntVar(&f.limit, "limit", 100, "at most `N`")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		list, err := remote.records(cmd.Context(), p, "/api/v1/rejected", f)
		if err != nil {
			return err
		}
		return printList(p, *output, list, func(w io.Writer) error {
			row(w, "SEQ", "SOURCE", "REASON", "RECEIVED", "SIZE", "DETAIL")
			for _, r := range list.Records {
				row(w, r.Sequence, r.Source, r.Reason, r.Received, humanBytes(int64(r.Bytes)), harmless(r.Detail))
			}
			return nil
		})
	}
	return cmd
}

func rejectedShowCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show SEQ --unseal",
		Short: "Opens a refused push",
		Long: `Opens a refused push: who called, its header and its body. Needs a token with
the role unseal, and is told on POSTERN_OPS. Control characters in it are shown
as \u001b.`,
		Example: `  postern rejected show 42 --unseal -c postern.yaml`,
		Args:    cobra.ExactArgs(1),
	}
	unseal := cmd.Flags().Bool("unseal", false, "open what is sealed; nothing else can be shown")
	output, remote := outputFlag(cmd), remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		seq, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return failf(exitUsage, "take it from `postern rejected list`", "a refused push is named by its sequence, a number")
		}
		if !*unseal {
			return failf(exitUsage, "add --unseal; `postern rejected list` shows what is not sealed", "a refused push is sealed")
		}
		var r ops.Record
		err = remote.call(cmd.Context(), p, http.MethodGet, "/api/v1/rejected/"+strconv.FormatUint(seq, 10), "postern rejected list", &r)
		if err != nil {
			return err
		}
		return printAs(p.stdout, *output, r, func(w io.Writer) error {
			printRecord(w, r)
			return nil
		})
	}
	return cmd
}
