package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

// newRoot assembles the command line: one line per subcommand.
func newRoot(p *process) *cobra.Command {
	root := group("postern", "Receives what investment platforms push and publishes it to NATS", `
Postern receives what investment platforms push, keeps it safe, translates it
into one vocabulary, and publishes it to NATS JetStream.

Data goes to stdout, everything else to stderr. Exit codes: 0 ok, 1 failed,
2 usage, 3 configuration, 4 not found, 5 not allowed, 6 unavailable.`, `
  postern config init > postern.yaml
  postern config check -c postern.yaml`)
	root.AddCommand(
		serveCommand(p),
		demoCommand(p),
		tailCommand(p),
		eventsCommand(p),
		entityCommand(p),
		statusCommand(p),
		quarantineCommand(p),
		rejectedCommand(p),
		streamsCommand(p),
		pollersCommand(p),
		reconcileCommand(p),
		configCommand(p),
		reloadCommand(p),
		signCommand(p),
		verifyCommand(p),
		triggerCommand(p),
		sourcesCommand(p),
		keysCommand(p),
		doctorCommand(p),
		backupCommand(p),
		schemaCommand(p),
		versionCommand(p),
		completionCommand(p),
	)
	root.SetHelpCommand(helpCommand())
	root.CompletionOptions.DisableDefaultCmd = true // there is ours
	return root
}

// helpCommand is cobra's, but for what it says of a command that isn't there.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Says what a command does",
		Long:  "Says what a command does, as its --help does.",
		Example: `  postern help
  postern help quarantine release`,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return failf(exitUsage, "see `postern help`", "there is no command %q", strings.Join(args, " "))
			}
			if len(rest) > 0 {
				return missing(about, rest)
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// group returns a command that only holds others.
func group(use, short, long, example string) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    strings.TrimSpace(long),
		Example: strings.Trim(example, "\n"),
		Args:    cobra.ArbitraryArgs,
		RunE:    missing,

		SuggestionsMinimumDistance: 2,
	}
}

// missing tells that a group of commands was called without one of them.
func missing(cmd *cobra.Command, args []string) error {
	next := "see `" + cmd.CommandPath() + " --help`"
	if len(args) == 0 {
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		return failf(exitUsage, next, "%s needs a command: %s", cmd.CommandPath(), enumerate(names, "or"))
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		next = "did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"
	}
	return failf(exitUsage, next, "%s has no command %q", cmd.CommandPath(), args[0])
}

// execute runs the command that args name and returns the exit code.
func execute(ctx context.Context, args []string, p *process) int {
	root := newRoot(p)
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SilenceErrors = true
	root.SilenceUsage = true

	// What fails before a command runs is a mistake in the command line.
	started := false
	note(root, &started)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !started {
		err = &exitError{code: exitUsage, next: "see `" + cmd.CommandPath() + " --help`", err: err}
	}
	explain(p.stderr, err)
	return exitCode(err)
}

// note makes cmd and all commands below it set started when they run.
func note(cmd *cobra.Command, started *bool) {
	if runE := cmd.RunE; runE != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return runE(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		note(sub, started)
	}
}

// enumerate returns "a, b or c".
func enumerate(names []string, word string) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " " + word + " " + names[n-1]
	}
}
