package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// An attribute whose key is not in the list is dropped in silence, so every
// key that our code uses must be there.
func TestEveryKeyInUseIsKnown(t *testing.T) {
	files := token.NewFileSet()
	found := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != "../.." && strings.HasPrefix(entry.Name(), ".") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, key := range keysIn(call) {
				found++
				if !logKeys[key] {
					t.Errorf("%s: the key %q is not in logKeys: it would be dropped", files.Position(call.Pos()), key)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("no key was found")
	}
}

// keysIn returns the keys of the attributes in a call of a logger, or of a
// function that makes an attribute.
func keysIn(call *ast.CallExpr) []string {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	if x, ok := selector.X.(*ast.Ident); ok && x.Name == "slog" && len(call.Args) > 1 {
		return literal(call.Args[0])
	}
	first, ok := map[string]int{
		"With": 0, "Debug": 1, "Info": 1, "Warn": 1, "Error": 1,
		"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "Log": 3,
	}[selector.Sel.Name]
	if !ok {
		return nil
	}
	var keys []string
	for i := first; i < len(call.Args)-1; i += 2 {
		keys = append(keys, literal(call.Args[i])...)
	}
	return keys
}

func literal(e ast.Expr) []string {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return nil
	}
	text, err := strconv.Unquote(l.Value)
	if err != nil {
		return nil
	}
	return []string{text}
}
