package main

import (
	"fmt"
	"runtime/debug"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// build says what this binary was built from.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the source, empty if not known
	Time     string `json:"time"`     // of the revision, RFC 3339
	Modified bool   `json:"modified"` // the source differed from the revision
	Go       string `json:"go"`
}

// readBuild reads what the Go toolchain wrote into the binary.
func readBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return build{Version: "unknown"}
	}
	b := build{Version: info.Main.Version, Go: info.GoVersion}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func versionCommand(p *process) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Says which version this is",
		Long:  "Says which version this is, which source it was built from, and with which Go.",
		Example: `  postern version
  postern version -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			switch output {
			case "json":
				if err := json.MarshalWrite(p.stdout, b, jsontext.WithIndent("  ")); err != nil {
					return err
				}
				_, err := fmt.Fprintln(p.stdout)
				return err
			case "text":
				_, err := fmt.Fprintln(p.stdout, b)
				return err
			default:
				return failf(exitUsage, "use -o text or -o json", "there is no output %q", output)
			}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// String returns b on one line.
func (b build) String() string {
	s := "postern " + b.Version
	if b.Revision != "" {
		s += " " + b.Revision[:min(12, len(b.Revision))]
	}
	if b.Modified {
		s += " (modified)"
	}
	return s + " " + b.Go
}
