package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// initFile is what `postern config init` writes.
//
//go:embed init.yaml
var initFile string

func configCommand(p *process) *cobra.Command {
	cmd := group("config", "Checks and shows the configuration", `
Checks and shows the configuration.

-c names a file, or a folder of which all *.yaml and *.yml are read by name. It
may repeat: maps merge, lists and secrets are replaced by later files. Relative
paths are relative to the file that they stand in.

Environment variables override files: POSTERN_INGRESS__MAX_BODY=2MiB sets
ingress.max_body. Two underscores go one level down, one stands for itself or
for a dash, case doesn't matter. Lists and mappings are written as YAML:
POSTERN_SOURCES__FUND_ONE__PUSH__ALLOW='[203.0.113.10]'. A relative path in a
variable is relative to the working directory. A variable that sets nothing is
an error.

A secret is {file: PATH} or {env: NAME}, never the secret itself.`, `
  postern config init > postern.yaml
  postern config check -c postern.yaml
  postern config show --origin -c postern.yaml -c conf.d`)
	cmd.AddCommand(
		configCheckCommand(p),
		configShowCommand(p),
		configSchemaCommand(p),
		configInitCommand(p),
	)
	return cmd
}

// configFlag adds -c to cmd.
func configFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringArrayP("config", "c", nil, "configuration `file` or folder; may repeat")
}

// load reads the configuration that -c names.
func (p *process) load(paths []string) (*Config, error) {
	if len(paths) == 0 {
		return nil, failf(exitUsage, "name it with -c FILE; `postern config init > postern.yaml` makes one to begin with",
			"there is no configuration")
	}
	if p.outside == nil {
		p.outside = newSurroundings()
	}
	return loadConfigFor(p.outside, paths, p.environ, p.platforms)
}

func configCheckCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Lists everything that is wrong with a configuration",
		Long: `Lists everything that is wrong with a configuration, one line each, as
file:line:col: message. Warnings are listed too, and are no reason to fail.
It reads all secrets and files that are named, and changes nothing.

Exit code: 0 if the configuration can be used, 3 if not.`,
		Example: `  postern config check -c postern.yaml
  postern config check -c postern.yaml -c conf.d`,
		Args: cobra.NoArgs,
	}
	paths := configFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := p.load(*paths)
		var wrong *configError
		if errors.As(err, &wrong) {
			list(p.stdout, wrong.problems, "")
			list(p.stdout, wrong.warnings, "warning: ")
			fmt.Fprintf(p.stderr, "postern: %s, %s: correct them, then check again\n",
				count(len(wrong.problems), "problem"), count(len(wrong.warnings), "warning"))
			return silent(exitConfig)
		}
		if err != nil {
			return err
		}
		list(p.stdout, cfg.Warnings, "warning: ")
		_, err = fmt.Fprintf(p.stdout, "ok: %s\n", count(len(cfg.Sources), "source"))
		return err
	}
	return cmd
}

func list(w io.Writer, problems []Problem, kind string) {
	for _, p := range problems {
		fmt.Fprintf(w, "%s: %s%s\n", p.Position, kind, p.Message)
	}
}

func configShowCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show -c FILE",
		Short: "Shows the effective configuration, without secrets",
		Long: `Shows the effective configuration as YAML: what the files and the environment
make together, with all defaults. Of secrets it shows where they are.`,
		Example: `  postern config show -c postern.yaml
  postern config show --origin -c postern.yaml -c conf.d`,
		Args: cobra.NoArgs,
	}
	paths := configFlag(cmd)
	origin := cmd.Flags().Bool("origin", false, "say behind each setting where it was written")
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		list(p.stderr, cfg.Warnings, "warning: ")
		return writeConfig(p.stdout, cfg, *origin)
	}
	return cmd
}

func configSchemaCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Writes the JSON Schema of the configuration",
		Long: `Writes the JSON Schema (2020-12) of a configuration file, for editors that
complete and check YAML by one.`,
		Example: `  postern config schema > postern.schema.json
  # then, as the first line of postern.yaml:
  # yaml-language-server: $schema=postern.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return writeSchema(p.stdout, p.platforms) },
	}
}

func configInitCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Writes a commented configuration to begin with",
		Long: `Writes a commented configuration to stdout. It has one source with example
values; what must be replaced says so, and check names the files that are yet
to be made.`,
		Example: `  postern config init > postern.yaml
  postern config check -c postern.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(p.stdout, initFile)
			return err
		},
	}
}
