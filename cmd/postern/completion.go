package main

import (
	"github.com/spf13/cobra"
)

// completionCommand is cobra's, as one command with examples.
func completionCommand(p *process) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Writes what makes a shell complete commands and flags",
		Long: `Writes a script that makes a shell complete commands and flags: bash, zsh, fish
or powershell.`,
		Example: `  postern completion bash > /etc/bash_completion.d/postern
  postern completion zsh > "${fpath[1]}/_postern"
  postern completion fish > ~/.config/fish/completions/postern.fish`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.stdout, true)
			case "zsh":
				return root.GenZshCompletion(p.stdout)
			case "fish":
				return root.GenFishCompletion(p.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(p.stdout)
			}
			return failf(exitUsage, "choose "+enumerate(cmd.ValidArgs, "or"), "there is no completion for %q", args[0])
		},
	}
}
