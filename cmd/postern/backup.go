package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/seed75441868/postern/receiver/journal"
	"github.com/seed75441868/postern/receiver/ops"
	"github.com/seed75441868/postern/schemas"
)

func backupCommand(p *process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup -c FILE DIR",
		Short: "Copies journal, index and streams, consistently",
		Long: `Copies what data_dir holds into DIR, which must not be there yet: the journal with
the index of what was told, the embedded NATS store, and the fingerprints of the
keys. The keys themselves are not in it: keep their copies elsewhere. DIR is
there whole or not at all; RESTORE.txt in it says how to restore it.

It may run beside the receiver, which goes on accepting pushes. The embedded
NATS rests while its store is copied: subscribers lose their connection for that
time and miss nothing. With --ops, DIR is on the receiver's machine. If no
receiver runs the copy is made without one.

In the backup is everything that was accepted before it was begun. What was
accepted later is lost with a disk that doesn't come back. Needs a token of an
operator while the receiver runs.`,
		Example: `  postern backup -c postern.yaml /backup/postern-monday`,
		Args:    cobra.ExactArgs(1),
	}
	remote := remoteFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := p.load(*remote.paths)
		if err != nil {
			return err
		}
		remote.cfg = cfg
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		if err := p.backup(cmd.Context(), cfg, remote, dir); err != nil {
			return err
		}
		fmt.Fprintln(p.stdout, dir)
		fmt.Fprintf(p.stderr, "The keys are not in it: `postern keys list` says which open it. Keep their copies elsewhere.\n")
		return nil
	}
	return cmd
}

// backup makes a backup, by the receiver if it runs.
func (p *process) backup(ctx context.Context, cfg *Config, remote *remote, dir string) error {
	if remote.ops != "" {
		return remote.backup(ctx, p, dir)
	}
	unlock, err := journal.Lock(filepath.Join(string(cfg.DataDir), "journal"))
	switch {
	case errors.Is(err, journal.ErrInUse):
		return remote.backup(ctx, p, dir)
	case errors.Is(err, fs.ErrNotExist):
		return failf(exitNotFound, "check data_dir", "%s holds no journal", cfg.DataDir)
	case err != nil:
		return err
	}
	defer func() { _ = unlock() }() // the process ends
	if err := backupStopped(cfg).make(dir); err != nil {
		return failf(exitFailed, "", "no backup was made: %w", err)
	}
	keys, err := journal.OpenKeyring(cfg.keyConfig(nil))
	if err == nil && cfg.NATS.URL == "" {
		err = actStopped(ctx, cfg, keys, p.logger(cfg, slog.LevelWarn), schemas.OperatorBackupMade, filepath.Base(dir))
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "postern: the backup is made, but it could not be told on %s: %v\n", schemas.StreamOps, err)
	}
	return nil
}

// backupStopped copies the files of a data_dir that nobody uses.
func backupStopped(cfg *Config) backing {
	data := string(cfg.DataDir)
	b := backing{cfg: cfg, journal: func(to string) error { return copyTree(filepath.Join(data, "journal"), to) }}
	if store := filepath.Join(data, "nats"); cfg.NATS.URL == "" {
		b.store = func(copy func(string) error) error {
			if _, err := os.Stat(store); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return copy(store)
		}
	}
	return b
}

// backup asks the running postern for a backup.
func (r *remote) backup(ctx context.Context, p *process, dir string) error {
	res, err := r.send(ctx, p, http.MethodPost, "/api/v1/backup?dir="+url.QueryEscape(dir), 0)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusConflict, http.StatusUnprocessableEntity:
		var unmade *exitError
		if err := refused(res); errors.As(err, &unmade) {
			return failf(exitFailed, "", "%w", unmade.err)
		}
	}
	return refused(res)
}

// backups makes backups of a running receiver, one at a time.
type backups struct {
	app *app
	mu  sync.Mutex
}

// make is an [ops.Backup].
func (b *backups) make(ctx context.Context, actor, dir string) error {
	if !b.mu.TryLock() {
		return fmt.Errorf("backup: %w", ops.ErrBusy)
	}
	defer b.mu.Unlock()
	a := b.app
	from := backing{cfg: a.cfg, journal: a.copyJournal}
	bus := a.bus.Load()
	if a.cfg.NATS.URL == "" {
		if bus == nil {
			return fmt.Errorf("backup: the embedded NATS is %w", errNotOpen)
		}
		from.store = bus.Rest
	}
	if err := from.make(dir); err != nil {
		return fmt.Errorf("no backup was made: %w", err)
	}
	telling, cancel := context.WithTimeout(ctx, tellWait)
	defer cancel()
	err := errNotOpen
	if bus != nil {
		err = bus.Prepare(telling) // it may have rested just now
	}
	if err = errors.Join(err, a.act(telling, actor, schemas.OperatorBackupMade, filepath.Base(dir))); err != nil {
		a.log.Warn("a backup could not be told on the bus", "error", err)
	}
	return nil
}

// copyJournal copies the open journal. What the copy shares with the journal
// lies on its file system until it is copied.
func (a *app) copyJournal(to string) error {
	links := filepath.Join(string(a.cfg.DataDir), ".backup")
	if err := os.RemoveAll(links); err != nil { // of one that was cut short
		return err
	}
	err := a.journal.Checkpoint(links)
	if err == nil {
		err = copyTree(links, to)
	}
	return errors.Join(err, os.RemoveAll(links))
}
