package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// each command of the program, and those below it.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

func TestEveryCommandHasAnExampleThatParses(t *testing.T) {
	p := &process{platforms: fakes()}
	commands := 0
	root := newRoot(p)
	root.InitDefaultHelpCmd()
	walk(root, func(cmd *cobra.Command) {
		commands++
		own := false
		for line := range strings.Lines(strings.ReplaceAll(cmd.Example, "|\n", "| ")) {
			for part := range strings.SplitSeq(line, "|") {
				words := shellWords(part)
				if len(words) == 0 || words[0] != "postern" {
					continue
				}
				for i, w := range words {
					if w == ">" || w == "<" {
						words = words[:i]
						break
					}
				}
				// Flags keep what they were set to: each line has commands of
				// its own.
				fresh := newRoot(p)
				fresh.InitDefaultHelpCmd()
				found, rest, err := fresh.Find(words[1:])
				if err == nil {
					found.InitDefaultHelpFlag()
					err = found.ParseFlags(rest)
				}
				if err == nil {
					err = found.ValidateArgs(found.Flags().Args())
				}
				if err == nil && found.HasAvailableSubCommands() && len(found.Flags().Args()) > 0 {
					err = missing(found, found.Flags().Args())
				}
				if err != nil {
					t.Errorf("%s: %q: %v", cmd.CommandPath(), words, err)
					continue
				}
				own = own || strings.HasPrefix(found.CommandPath()+" ", cmd.CommandPath()+" ")
			}
		}
		if !own {
			t.Errorf("%s has no example of itself:\n%s", cmd.CommandPath(), cmd.Example)
		}
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s doesn't say what it does", cmd.CommandPath())
		}
	})
	if commands < 30 {
		t.Errorf("only %d commands", commands)
	}
}

func TestHelpKnowsWhatThereIs(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		says string
	}{
		"help":                    {exitOK, "Available Commands:"},
		"help quarantine release": {exitOK, "postern quarantine release 42 43"},
		"help help":               {exitOK, "postern help quarantine release"},
		"help nope":               {exitUsage, "next: "},
		"help quarantine nope":    {exitUsage, "next: "},
		"help tial":               {exitUsage, "next: "},
		"nope":                    {exitUsage, "next: "},
		"quarantine --help":       {exitOK, "postern quarantine list"},
	} {
		code, stdout, stderr := command(t, nil, strings.Fields(line)...)
		if code != want.code || !strings.Contains(stdout+stderr, want.says) {
			t.Errorf("%s: exit code %d, want %d\n%s%s", line, code, want.code, stdout, stderr)
		}
	}
}

func TestShellsComplete(t *testing.T) {
	for shell, part := range map[string]string{"bash": "__start_postern", "zsh": "#compdef postern", "fish": "complete -c postern", "powershell": "Register-ArgumentCompleter"} {
		if code, stdout, stderr := command(t, nil, "completion", shell); code != exitOK || !strings.Contains(stdout, part) {
			t.Errorf("%s: exit code %d: %s", shell, code, stderr)
		}
	}
	if code, _, stderr := command(t, nil, "completion", "csh"); code != exitUsage || !strings.Contains(stderr, "bash, zsh, fish or powershell") {
		t.Errorf("csh: exit code %d: %s", code, stderr)
	}
	// What the scripts ask.
	if code, stdout, _ := command(t, nil, "__complete", "quarantine", "re"); code != exitOK || !strings.HasPrefix(stdout, "release\t") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}
