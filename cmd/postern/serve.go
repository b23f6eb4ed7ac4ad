package main

import (
	"github.com/spf13/cobra"
)

func serveCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "Receives pushes and publishes what they say",
		Long: `Receives pushes, keeps them safe, translates them and publishes them, until it
is told to stop. It logs to stderr.

SIGTERM and SIGINT end it in order: new pushes are refused so that platforms
come again, pushes in flight are finished, what is in the journal is published
if the bus is there. A second signal ends it at once; nothing is lost by that,
nor by kill -9.`,
		Example: `  postern serve -c postern.yaml
  postern serve -c postern.yaml -c conf.d`,
		Args: cobra.NoArgs,
	}
	paths := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		log := p.logger(cfg, cfg.Log.slogLevel())
		for _, w := range cfg.Warnings {
			log.Warn("configuration", "position", w.Position.String(), "problem", w.Message)
		}
		app, err := openApp(cfg, p.platforms, log)
		if err != nil {
			return err
		}
		return app.run(cmd.Context())
	}
	return cmd
}
