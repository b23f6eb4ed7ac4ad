package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/seed75441868/postern/handlers"
)

const (
	maxConfigFile = 1 << 20
	maxProblems   = 1000 // more help nobody, and take time
)

// loading is the state of reading one configuration.
type loading struct {
	platforms []handlers.Platform
	environ   map[string]string
	files     []string // in the order in which they are read
	cfg       *Config
	drafts    map[string]*draft // of sources, by name

	problems   []Problem
	warnings   []Problem
	broken     map[string]bool // paths that could not be read
	told       map[string]bool // paths that have another problem
	secretVars map[string]bool // environment variables that hold secrets
	sealKeys   [][]byte        // nil where there is none that can be used
	seen       seen
	outside    *surroundings
}

// loadConfig reads and checks the configuration that paths and the variables
// of environ make together. Paths are files and folders; of a folder, all
// *.yaml and *.yml are read by name. What comes later wins: maps merge, lists
// and secrets are replaced.
//
// Its error is a *configError that names every problem. It opens all sources,
// and touches nothing: it is safe to call beside a running receiver.
func loadConfig(paths, environ []string, platforms []handlers.Platform) (*Config, error) {
	return loadConfigFor(newSurroundings(), paths, environ, platforms)
}

// loadConfigFor is loadConfig for a process that may have read one before.
func loadConfigFor(o *surroundings, paths, environ []string, platforms []handlers.Platform) (*Config, error) {
	l := newLoading(environ, platforms)
	l.outside, l.cfg.outside = o, o
	for _, path := range paths {
		l.path(path)
	}
	l.variables()
	if _, ok := l.cfg.origins["data_dir"]; !ok {
		l.cfg.DataDir = Path(filepath.Join(filepath.Dir(l.top().File), string(l.cfg.DataDir)))
	}
	l.complete()
	l.check()
	l.open()
	l.shadowed()

	l.cfg.Warnings = sortProblems(l.warnings, l.files)
	if l.full() {
		l.problems = append(l.problems, Problem{Message: "there are more problems", Position: Position{File: "configuration"}})
	}
	if len(l.problems) > 0 {
		return nil, &configError{problems: sortProblems(l.problems, l.files), warnings: l.cfg.Warnings, seen: l.seen}
	}
	l.cfg.seen = l.seen
	return l.cfg, nil
}

func newLoading(environ []string, platforms []handlers.Platform) *loading {
	l := &loading{
		platforms:  platforms,
		environ:    environment(environ),
		cfg:        defaults(),
		drafts:     map[string]*draft{},
		broken:     map[string]bool{},
		told:       map[string]bool{},
		secretVars: map[string]bool{},
		seen:       seen{},
		outside:    newSurroundings(),
	}
	l.cfg.origins, l.cfg.outside = origins{}, l.outside
	return l
}

// top is where something stands that stands nowhere.
func (l *loading) top() Position {
	if len(l.files) == 0 {
		return Position{File: "configuration"}
	}
	return Position{File: l.files[0], Line: 1, Column: 1}
}

// fault notes that the setting at path could not be read.
func (l *loading) fault(at Position, path, message string) {
	if l.full() {
		return
	}
	if path != "" {
		l.broken[path] = true
	}
	l.problems = append(l.problems, Problem{Position: at, Message: message})
}

// full reports whether enough problems are known.
func (l *loading) full() bool { return len(l.problems) >= maxProblems }

// faultAt notes a problem of the setting at path, unless it has one already,
// or something could not be read that may be the reason for this one.
func (l *loading) faultAt(path, format string, args ...any) {
	if l.full() || l.told[path] || related(l.broken, path) {
		return
	}
	l.told[path] = true
	at := l.cfg.origins.at(path, l.top())
	l.problems = append(l.problems, Problem{Position: at, Message: about(path, fmt.Sprintf(format, args...))})
}

// related reports whether one of paths is path, around it or below it.
func related(paths map[string]bool, path string) bool {
	for p := range paths {
		if within(p, path) || within(path, p) {
			return true
		}
	}
	return false
}

// warnAt notes what somebody should look at.
func (l *loading) warnAt(path, format string, args ...any) {
	at := l.cfg.origins.at(path, l.top())
	l.warnings = append(l.warnings, Problem{Position: at, Message: about(path, fmt.Sprintf(format, args...))})
}

// path reads a file, or the files of a folder.
func (l *loading) path(path string) {
	info, err := l.stat(path)
	if err != nil {
		l.fault(Position{File: path}, "", unreadable(err))
		return
	}
	if !info.IsDir() {
		l.file(path)
		return
	}
	files, err := l.folder(path, yamlEndings)
	if err != nil {
		l.fault(Position{File: path}, "", unreadable(err))
		return
	}
	for _, file := range files {
		l.file(file)
	}
	if len(files) == 0 {
		l.fault(Position{File: path}, "", "the folder holds no *.yaml and no *.yml")
	}
}

func (l *loading) file(path string) {
	if slices.Contains(l.files, path) {
		l.fault(Position{File: path}, "", "is given twice")
		return
	}
	l.files = append(l.files, path)
	data, err := l.read(path, maxConfigFile)
	if err != nil {
		l.fault(Position{File: path}, "", unreadable(err))
		return
	}
	l.document(path, filepath.Dir(path), data)
}

// document reads one file's YAML into the configuration.
func (l *loading) document(name, dir string, data []byte) {
	d := &decoder{l: l, name: name, dir: dir}
	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := in.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return
	}
	if err != nil {
		l.syntax(name, err)
		return
	}
	if len(doc.Content) == 1 {
		d.decode(doc.Content[0], reflect.ValueOf(l.cfg).Elem(), "")
	}
	switch err := in.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		l.syntax(name, err)
	default:
		l.fault(Position{File: name, Line: more.Line, Column: more.Column}, "",
			"a second document begins here; a file holds one")
	}
}

var syntaxLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntax reports what YAML's parser says. Its texts name no values.
func (l *loading) syntax(name string, err error) {
	at := Position{File: name, Line: 1, Column: 1}
	text := firstLine(err)
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	l.fault(at, "", "is not valid YAML: "+strings.TrimPrefix(text, "yaml: "))
}

// environment returns the variables by name.
func environment(environ []string) map[string]string {
	vars := make(map[string]string, len(environ))
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			vars[name] = value
		}
	}
	return vars
}

var errTooLarge = errors.New("is too large")

// readLimited reads a file of at most limit bytes. It also reads what is no
// regular file, like a pipe.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: a file here has at most %d bytes", errTooLarge, limit)
	}
	return data, nil
}

// unreadable says why a file can't be read.
func unreadable(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, errTooLarge):
		return firstLine(err)
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read by this user"
	case errors.As(err, &path):
		return "can't be read: " + path.Err.Error()
	default:
		return "can't be read"
	}
}
