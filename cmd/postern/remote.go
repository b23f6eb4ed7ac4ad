package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// callPatience is longer than a running postern takes for anything.
const callPatience = 30 * time.Second

// call asks the running postern and reads its answer. Its errors say what to do
// next; list is the command that shows what there is.
func (r *remote) call(ctx context.Context, p *process, method, path, list string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	res, err := r.send(ctx, p, method, path, 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusOK:
	case res.StatusCode == http.StatusNotFound && list != "":
		return failf(exitNotFound, "see `"+list+"`", "there is no such record")
	case res.StatusCode == http.StatusConflict:
		return failf(exitFailed, "put the key that sealed it under seal.keys, behind the first", "the record can't be opened")
	default:
		return refused(res)
	}
	return readAnswer(res, answer)
}

// outputFlag adds -o to a command that prints a table.
func outputFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("output", "o", "table", "table or json")
}

// printAs prints v as -o says: as JSON, or with table.
func printAs(w io.Writer, output string, v any, table func(io.Writer) error) error {
	switch output {
	case "table":
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		if err := table(t); err != nil {
			return err
		}
		return t.Flush()
	case "json":
		text, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	}
	return failf(exitUsage, "choose table or json", "-o %q is no way to print it", output)
}

// checkOutput fails before something is asked that could not be printed.
func checkOutput(output string) error {
	return printAs(io.Discard, output, nil, func(io.Writer) error { return nil })
}

// row prints the cells of a table's row.
func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
		if text[i] == "" {
			text[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

// harmless returns text that others wrote as a terminal can show it: with
// control characters it could do more than show.
func harmless(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// humanBytes returns n with a unit and three digits.
func humanBytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1000 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}

// ago returns how long ago something was, roughly.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days ago", int(d.Hours()/24))
	}
}
