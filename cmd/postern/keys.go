package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/bus"
	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/schemas"
)

func keysCommand(p *process) *cobra.Command {
	cmd := group("keys", "Lists and rotates the keys", `
Lists and rotates the keys that seal what lies on disk and bus. Keys are named
by their fingerprints, which tell nothing of them.`, `
  postern keys list -c postern.yaml
  postern keys rotate -c postern.yaml`)
	cmd.AddCommand(keysListCommand(p), keysRotateCommand(p))
	return cmd
}

func keysListCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list -c FILE",
		Short: "Lists the fingerprints of the keys",
		Long: `Lists the fingerprints of the keys, a line each: what it is for, whether it
seals or only opens, and where it is. A key that sealed what is in data_dir and
is nowhere is MISSING: nothing starts without it. It may run beside a receiver.

Exit code: 1 if a key is missing.`,
		Example: "  postern keys list -c postern.yaml",
		Args:    cobra.NoArgs,
	}
	paths := configFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		known, err := cfg.keyConfig(nil).List()
		if err != nil {
			return failf(exitConfig, "", "%w", err)
		}
		missing := false
		for _, k := range known {
			missing = missing || k.Where == ""
			fmt.Fprintf(p.stdout, "%-9s  %s  %-7s  %s\n", k.Use, k.Fingerprint, keyState(k), k.Where)
		}
		if missing {
			return failf(exitFailed, "put it back, or restore data_dir with the keys that belong to it", "a key is missing")
		}
		return nil
	}
	return cmd
}

// keyState says what a key does, in a word.
func keyState(k journal.KnownKey) string {
	switch {
	case k.Where == "":
		return "MISSING"
	case k.Use != "seal":
		return "names"
	case k.First:
		return "seals"
	default:
		return "opens"
	}
}

func keysRotateCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate -c FILE",
		Short: "Makes a new seal key; the old ones go on opening",
		Long: `Makes a new seal key in data_dir, in front of those that are there. From the
next start on it seals; what the others sealed still opens. The key of the
embedded NATS store is sealed again; the store itself isn't touched. The
receiver must be stopped. Cut short at any moment, it has either not happened or
is finished by the next start.

Where the configuration names the keys (seal.keys), Postern can't write them:
then this prints what to do, and fails.

The pseudonym key never rotates: with another one everybody would get another
name.`,
		Example: "  postern keys rotate -c postern.yaml",
		Args:    cobra.NoArgs,
	}
	paths := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := p.load(*paths)
		if err != nil {
			return err
		}
		return p.rotate(cmd.Context(), cfg)
	}
	return cmd
}

const rotateByHand = `The configuration names the seal keys, so the new one is for you to add:

  1. Make it:            openssl rand -base64 32 > new.key; chmod 600 new.key
  2. With several receivers on one NATS, first add it to seal.keys of each, behind
     the present ones, and restart them one by one: now all can open what it seals.
  3. Put it first:       seal: {keys: [{file: new.key}, {file: old.key}]}
  4. Restart, and see:   postern keys list
  5. Keep the old ones as long as something is left that they sealed: for
     nats.retention.raw, and until quarantine is empty of what is older.
`

func (p *process) rotate(ctx context.Context, cfg *Config) error {
	if len(cfg.Seal.Keys) > 0 {
		fmt.Fprint(p.stdout, rotateByHand)
		return failf(exitFailed, "do as it says above", "nothing was rotated: seal.keys names the keys")
	}
	unlock, err := cfg.stopped()
	if err != nil {
		return err
	}
	defer func() { _ = unlock() }() // the process ends
	log := p.logger(cfg, slog.LevelWarn)
	keys, err := cfg.keyConfig(log).Rotate()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failf(exitConfig, "put it back, or restore data_dir with the keys that belong to it", "the seal key is not in %s: %w", cfg.DataDir, err)
	case errors.Is(err, journal.ErrKey):
		return failf(exitConfig, "", "%w", err)
	case err != nil:
		return err
	}
	fmt.Fprintf(p.stdout, "%s\n", keys.Fingerprint())
	fmt.Fprintf(p.stderr, `The seal key %s seals from the next start on; the older ones still open.

Copy %s to where you keep its copy, now: without it nothing opens that is sealed
from now on. Keep the older keys in it as long as something is left that they
sealed: for nats.retention.raw, and until quarantine is empty of what is older.
`, keys.Fingerprint(), filepath.Join(string(cfg.DataDir), "seal.key"))
	if err := actStopped(ctx, cfg, keys, log, schemas.OperatorKeysRotated, keys.Fingerprint()); err != nil {
		fmt.Fprintf(p.stderr, "postern: the keys are rotated, but it could not be told on %s: %v\n", schemas.StreamOps, err)
	}
	return nil
}

// stopped returns a lock on the journal, which a running receiver would hold.
func (cfg *Config) stopped() (unlock func() error, err error) {
	unlock, err = journal.Lock(filepath.Join(string(cfg.DataDir), "journal"))
	switch {
	case errors.Is(err, journal.ErrInUse):
		return nil, failf(exitFailed, "stop the receiver first; platforms come again for a minute", "a receiver uses %s", cfg.DataDir)
	case errors.Is(err, fs.ErrNotExist):
		return nil, failf(exitNotFound, "check data_dir, or start the receiver once", "%s holds no journal", cfg.DataDir)
	}
	return unlock, err
}

// keyConfig says where the keys come from.
func (cfg *Config) keyConfig(log *slog.Logger) journal.KeyConfig {
	c := journal.KeyConfig{DataDir: string(cfg.DataDir), Seal: cfg.Seal.Keys, Log: log}
	if key := cfg.Pseudonyms.Key; key != nil {
		c.Pseudonym = *key
	}
	return c
}

// actStopped tells what an operator did while no receiver runs: it opens the
// embedded store for a moment, which also shows that it still opens.
func actStopped(ctx context.Context, cfg *Config, keys *journal.Keyring, log *slog.Logger, t schemas.Type, target string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	a := &app{cfg: cfg, log: log, keys: keys}
	c, err := a.busConfig()
	if err != nil {
		return err
	}
	if c.Embedded != nil {
		c.Embedded.Listen = ""
	}
	b, err := bus.Open(c)
	if err != nil {
		return err
	}
	a.bus.Store(b)
	if err = b.Prepare(ctx); err == nil {
		err = a.act(ctx, localActor, t, target)
	}
	return errors.Join(err, b.Close())
}
