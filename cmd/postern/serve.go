package main

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"

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
nor by kill -9.

SIGHUP, ` + "`postern reload`" + ` and a change of the configuration's files make it read
the configuration again; see ` + "`postern reload --help`" + `.`,
		Example: `  postern serve -c postern.yaml
  postern serve -c postern.yaml -c conf.d`,
		Args: cobra.NoArgs,
	}
	paths := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// Before anything else: nobody who asks for a reload should end it.
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		level := &slog.LevelVar{}
		level.Set(cfg.Log.slogLevel())
		log := p.logger(cfg, level)
		for _, w := range cfg.Warnings {
			log.Warn("configuration", "position", w.Position.String(), "problem", w.Message)
		}
		app, err := openApp(cfg, p.platforms, log, rereading{
			load: func() (*Config, error) { return p.load(*paths) }, level: level, hangups: hangups,
		})
		if err != nil {
			return err
		}
		return app.run(cmd.Context())
	}
	return cmd
}
