package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func doctorCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor -c FILE",
		Short: "Looks for what is wrong, or soon will be",
		Long: `Looks for what is wrong, or soon will be, a line each: ok, warn or fail, and what
to do. It reads the configuration, looks at files, disk, certificates and the
clock, asks the receiver if it runs, logs in to the API of each platform that has
one, and connects to an external NATS. It changes nothing.

A configuration that can't be used is reported as by config check, with exit
code 3. Exit code: 0, or 1 if anything fails.`,
		Example: `  postern doctor -c postern.yaml
  postern doctor -c postern.yaml -o json`,
		Args: cobra.NoArgs,
	}
	paths := configFlag(cmd)
	ops := cmd.Flags().String("ops", "", "`URL` of the running postern's ops listener (default: ops.listen)")
	output := cmd.Flags().StringP("output", "o", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *output != "text" && *output != "json" {
			return failf(exitUsage, "use -o text or -o json", "there is no output %q", *output)
		}
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		d := &doctor{p: p, cfg: cfg, now: time.Now()}
		d.examine(cmd.Context(), *ops)
		if err := d.write(p.stdout, *output); err != nil {
			return err
		}
		if d.count("fail") > 0 {
			return silent(exitFailed)
		}
		return nil
	}
	return cmd
}

// doctor collects findings.
type doctor struct {
	p        *process
	cfg      *Config
	now      time.Time
	running  *running // nil if no receiver answers
	findings []finding
}

// finding is one thing that was looked at.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"` // ok, warn or fail
	Text   string `json:"text"`
	Todo   string `json:"todo,omitzero"`
}

func (d *doctor) ok(name, format string, args ...any) {
	d.findings = append(d.findings, finding{Name: name, Status: "ok", Text: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(name, todo, format string, args ...any) {
	d.findings = append(d.findings, finding{name, "warn", fmt.Sprintf(format, args...), todo})
}

func (d *doctor) fail(name, todo, format string, args ...any) {
	d.findings = append(d.findings, finding{name, "fail", fmt.Sprintf(format, args...), todo})
}

// examine looks at everything.
func (d *doctor) examine(ctx context.Context, ops string) {
	d.configuration()
	d.running = d.receiver(ctx, ops)
	d.listeners()
	d.certificates()
	d.sources()
	d.platforms(ctx)
	d.keys()
	d.modes()
	d.disk()
	d.nats(ctx)
	d.clock()
}

func (d *doctor) configuration() {
	d.ok("configuration", "can be used")
	for _, w := range d.cfg.Warnings {
		d.warn("configuration", "", "%s", w)
	}
}

func (d *doctor) count(status string) int {
	n := 0
	for _, f := range d.findings {
		if f.Status == status {
			n++
		}
	}
	return n
}

func (d *doctor) write(w io.Writer, output string) error {
	if output == "json" {
		if err := json.MarshalWrite(w, d.findings, jsontext.WithIndent("  ")); err != nil {
			return err
		}
		_, err := fmt.Fprintln(w)
		return err
	}
	var b strings.Builder
	for _, f := range d.findings {
		fmt.Fprintf(&b, "%-4s  %s: %s\n", f.Status, f.Name, f.Text)
		if f.Todo != "" {
			fmt.Fprintf(&b, "      do: %s\n", f.Todo)
		}
	}
	_, err := io.WriteString(w, b.String())
	if err == nil {
		fmt.Fprintf(d.p.stderr, "%s, %s\n", count(d.count("fail"), "failure"), count(d.count("warn"), "warning"))
	}
	return err
}
