package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed75441868/postern/receiver/journal"
)

// backing makes a backup of a data_dir.
type backing struct {
	cfg *Config
	// journal copies the journal, as it is at one moment, to a folder that
	// isn't there yet.
	journal func(to string) error
	// store calls copy with the folder of the embedded NATS store while
	// nothing in it changes. nil: there is none.
	store func(copy func(from string) error) error
}

// make makes the backup in dir, which must not be there yet. It is there whole
// or not at all.
//
// The journal comes first. What it no longer has by then is in the streams,
// which are copied later and forget nothing that soon; what it still has and
// the streams too is told once, because after a restore the index follows the
// streams before anything is published.
func (b backing) make(dir string) (err error) {
	partial := dir + ".partial"
	for _, path := range []string{dir, partial} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: name a folder that isn't, or remove it", path)
		}
	}
	if err := b.room(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(partial, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(partial))
		}
	}()
	if err := b.journal(filepath.Join(partial, "journal")); err != nil {
		return err
	}
	if b.store != nil {
		if err := b.store(func(from string) error { return copyTree(from, filepath.Join(partial, "nats")) }); err != nil {
			return err
		}
	}
	data := string(b.cfg.DataDir)
	for _, name := range []string{"keys", "nats.key"} {
		err := copyFile(filepath.Join(data, name), filepath.Join(partial, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	text, err := b.readme()
	if err != nil {
		return err
	}
	if err := writeNew(filepath.Join(partial, "RESTORE.txt"), []byte(text), 0o600); err != nil {
		return err
	}
	if err := syncDir(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// room fails if the backup doesn't fit beside what must remain free.
func (b backing) room(parent string) error {
	free, _, err := journal.Room(parent)
	if err != nil {
		return err
	}
	data := string(b.cfg.DataDir)
	need := usedBy(filepath.Join(data, "journal")) + usedBy(filepath.Join(data, "nats")) + uint64(b.cfg.Journal.Reserve)
	if free < need {
		return fmt.Errorf("%s has %s free, and needs %s for the copy and journal.reserve", parent, bytesOf(free), bytesOf(need))
	}
	return nil
}

// readme says what the backup is and how to restore it.
func (b backing) readme() (string, error) {
	known, err := b.cfg.keyConfig(nil).List()
	if err != nil {
		return "", err
	}
	var keys strings.Builder
	for _, k := range known {
		fmt.Fprintf(&keys, "  %-9s  %s  was at %s\n", k.Use, k.Fingerprint, k.Where)
	}
	return fmt.Sprintf(`A backup of a data_dir of Postern, begun before %s.

It does not hold the keys that open it. They are:

%s
To restore it:

  1. Copy everything here into an empty data_dir that only the receiver's user
     can read.
  2. Put seal.key and pseudonym.key there too, unless the configuration names
     the keys.
  3. postern doctor -c FILE, then postern serve -c FILE
`, time.Now().UTC().Format(time.RFC3339), keys.String()), nil
}

// copyTree copies a folder to one that isn't there yet, and syncs it. What is
// neither a file nor a folder is left out, and locks.
func copyTree(from, to string) error {
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.IsDir():
			err = copyTree(source, target)
		case e.Type().IsRegular() && e.Name() != "LOCK":
			err = copyFile(source, target)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(to)
}

// copyFile copies a file to one that isn't there yet, and syncs it.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
