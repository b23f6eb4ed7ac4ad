package main

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// seen is what a configuration was read from, and what was there: files, and
// folders that are read as a whole. It is how a change of them is noticed.
type seen map[place]sight

// place is a file or folder as the configuration names it, and how much of it
// is read at most.
type place struct {
	path  string
	limit int64
}

// sight stands for what somebody sees who looks at a place: a hash of a file's
// content, of a folder's names, or of the reason why there is nothing to see.
type sight struct {
	sum [sha256.Size]byte
	// once says that it is neither file nor folder, but a pipe or a device:
	// what was read is gone.
	once bool
}

// pemEndings and yamlEndings are those of the files of a folder that are read.
var (
	pemEndings  = []string{".pem", ".crt", ".cer"}
	yamlEndings = []string{".yaml", ".yml"}
)

// read reads a file, and notes what was there.
func (l *loading) read(path string, limit int64) ([]byte, error) {
	data, err := readLimited(path, limit)
	l.seen.note(place{path, limit}, sight{sum: sumOf(data, err), once: err == nil && isOnce(path)})
	return data, err
}

// folder returns the files of a folder with one of these endings, by name, and
// notes which they are.
func (l *loading) folder(path string, endings []string) ([]string, error) {
	files, err := filesIn(path, endings)
	if err == nil {
		l.seen.note(place{path, maxOtherFile}, sight{sum: sumOfFolder(path)})
	}
	return files, err
}

// stat tells what is at a path, and notes if nothing is.
func (l *loading) stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		l.seen.note(place{path, maxOtherFile}, sight{sum: sumOf(nil, err)})
	}
	return info, err
}

// note keeps what was seen first: what is seen later was not used everywhere.
func (s seen) note(at place, what sight) {
	if _, known := s[at]; !known {
		s[at] = what
	}
}

// again looks once more at every place. What can't be read twice is as it was.
func (s seen) again() seen {
	now := make(seen, len(s))
	for at, before := range s {
		switch {
		case before.once || isOnce(at.path):
			now[at] = before
		case isFolder(at.path):
			now[at] = sight{sum: sumOfFolder(at.path)}
		default:
			now[at] = sight{sum: sumOf(readLimited(at.path, at.limit))}
		}
	}
	return now
}

// content returns a hash of what was read of the file at path.
func (s seen) content(path string) string {
	what := s[place{path, maxOtherFile}]
	return string(what.sum[:])
}

// pipes returns the places that can't be read twice.
func (s seen) pipes() []string {
	var paths []string
	for at, what := range s {
		if what.once {
			paths = append(paths, at.path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func sumOf(data []byte, err error) [sha256.Size]byte {
	if err != nil {
		return sha256.Sum256([]byte("\x00" + unreadable(err)))
	}
	return sha256.Sum256(data)
}

func sumOfFolder(path string) [sha256.Size]byte {
	files, err := filesIn(path, slices.Concat(pemEndings, yamlEndings))
	return sumOf([]byte(strings.Join(files, "\x00")), err)
}

// filesIn returns the files of a folder with one of these endings, by name.
// Those whose names begin with a dot are none: mounted secrets and editors use
// such names for what comes and goes.
func filesIn(folder string, endings []string) ([]string, error) {
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && slices.Contains(endings, strings.ToLower(filepath.Ext(e.Name()))) {
			files = append(files, filepath.Join(folder, e.Name()))
		}
	}
	return files, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isOnce reports whether what is at path can't be read twice.
func isOnce(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && !info.Mode().IsRegular()
}

// seenBy returns what a configuration was read from, also if it turned out to
// be bad.
func seenBy(cfg *Config, err error) seen {
	var bad *configError
	switch {
	case err == nil:
		return cfg.seen
	case errors.As(err, &bad):
		return bad.seen
	default:
		return nil
	}
}
