package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/ops"
)

// recordsFlags say which records are listed, or handled.
type recordsFlags struct {
	source, reason string
	limit          int
}

func (f *recordsFlags) add(cmd *cobra.Command, reasons string) {
	cmd.Flags().StringVar(&f.source, "source", "", "only those of this source")
	cmd.Flags().StringVar(&f.reason, "reason", "", "only those for this reason: "+reasons)
}

func (f *recordsFlags) query() url.Values {
	q := url.Values{}
	if f.source != "" {
		q.Set("source", f.source)
	}
	if f.reason != "" {
		q.Set("reason", f.reason)
	}
	return q
}

// pageSize is how many records are asked for at once.
const pageSize = 500

// records asks for as many records as are wanted.
func (r *remote) records(ctx context.Context, p *process, path string, f recordsFlags) (ops.Records, error) {
	all := ops.Records{Records: []ops.Record{}, More: true}
	for all.More && len(all.Records) < f.limit {
		q := f.query()
		q.Set("limit", strconv.Itoa(min(pageSize, f.limit-len(all.Records))))
		if n := len(all.Records); n > 0 {
			q.Set("after", strconv.FormatUint(all.Records[n-1].Sequence, 10))
		}
		var page ops.Records
		if err := r.call(ctx, p, http.MethodGet, path+"?"+q.Encode(), "", &page); err != nil {
			return all, err
		}
		all.Records = append(all.Records, page.Records...)
		all.Last, all.More = page.Last, page.More && len(page.Records) > 0
	}
	return all, nil
}

// printList prints records, and says on stderr if there are none or more.
func printList(p *process, output string, list ops.Records, table func(io.Writer) error) error {
	if err := printAs(p.stdout, output, list, table); err != nil {
		return err
	}
	switch {
	case list.More:
		fmt.Fprintln(p.stderr, "there are more; --limit shows them")
	case len(list.Records) == 0:
		fmt.Fprintln(p.stderr, "there are none")
	}
	return nil
}

// printRecord prints a record: what is known of it, and what was sealed if it
// was opened.
func printRecord(w io.Writer, r ops.Record) {
	line := func(name string, value any) {
		if text := fmt.Sprint(value); text != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, harmless(text))
		}
	}
	line("sequence", r.Sequence)
	line("source", r.Source)
	line("reason", r.Reason)
	line("detail", r.Detail)
	line("delivery", r.DeliveryID)
	line("channel", r.Channel)
	line("received", r.Received)
	line("stored", r.Stored)
	line("size", humanBytes(int64(r.Bytes)))
	o := r.Opened
	if o == nil {
		return
	}
	line("platform", o.Platform)
	line("role", o.Role)
	line("sent", o.Sent)
	line("caller", o.Remote)
	for _, name := range slices.Sorted(maps.Keys(o.Header)) {
		line("header", name+": "+strings.Join(o.Header[name], ", "))
	}
	if o.Encoding == "none" {
		line("body", "(not kept)")
		return
	}
	fmt.Fprintf(w, "body (%s):\n%s\n", o.Encoding, harmless(o.Body))
}
