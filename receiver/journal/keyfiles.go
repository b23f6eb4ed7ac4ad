package journal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// fingerprints are those of the keys that sealed what is in a data directory.
type fingerprints struct {
	seal      []string // oldest first
	pseudonym string
}

func (f fingerprints) equal(o fingerprints) bool {
	return slices.Equal(f.seal, o.seal) && f.pseudonym == o.pseudonym
}

const fingerprintsHelp = `# Fingerprints of the keys that sealed what is in this folder. Postern starts
# only with these keys. Not secret. Remove the line of an old seal key only
# when nothing is left that it sealed.
`

func (f fingerprints) text() string {
	var b strings.Builder
	b.WriteString(fingerprintsHelp)
	for _, fp := range f.seal {
		b.WriteString("seal " + fp + "\n")
	}
	if f.pseudonym != "" {
		b.WriteString("pseudonym " + f.pseudonym + "\n")
	}
	return b.String()
}

func readFingerprints(dir string) (fingerprints, error) {
	path := filepath.Join(dir, fingerprintsFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fingerprints{}, nil
	}
	if err != nil {
		return fingerprints{}, err
	}
	var f fingerprints
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, fp, _ := strings.Cut(line, " ")
		fp = strings.TrimSpace(fp)
		raw, err := hex.DecodeString(fp)
		switch {
		case err != nil || len(raw) != fingerprintSize:
			return fingerprints{}, fmt.Errorf("%w: %s:%d is not a fingerprint: restore the file", ErrKey, path, n)
		case kind == "seal":
			f.seal = append(f.seal, fp)
		case kind == "pseudonym" && f.pseudonym == "":
			f.pseudonym = fp
		default:
			return fingerprints{}, fmt.Errorf("%w: %s:%d is not a line that belongs there: restore the file", ErrKey, path, n)
		}
	}
	return f, nil
}

// holdsData reports whether dir holds anything that was sealed.
func holdsData(dir string) (bool, error) {
	for _, name := range []string{"journal", "nats"} {
		held, err := holdsFiles(filepath.Join(dir, name))
		if held || err != nil {
			return held, err
		}
	}
	_, err := os.Stat(filepath.Join(dir, storeKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// holdsFiles reports whether there is anything in dir but what a fresh file
// system has.
func holdsFiles(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lost+found" }), nil
}

// writeFile writes a file that only we can read, such that at any time either
// the old or the new content is there whole.
func writeFile(path, text string) error {
	return place(path, text, os.Rename)
}

// createFile does the same but leaves a file alone that is already there:
// another process may have been a moment faster.
func createFile(path, text string) error {
	err := place(path, text, func(from, to string) error {
		err := os.Link(from, to)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Rename(from, to) // a file system without hard links
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func place(path, text string, move func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename it isn't there any more
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := move(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
