package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
)

// source is one package: its files without the tests, as the build constraints of this machine select them.
type source struct {
	dir        string // as the user gave it, without ./: the name in tables and keys
	importPath string
	files      []*file
}

type file struct {
	name string // base name
	path string // absolute
	text []byte
	set  *token.FileSet
	tree *ast.File
}

// load reads and parses the package in dir.
func load(ctx context.Context, dir string) (*source, error) {
	list := exec.CommandContext(ctx, "go", "list", "-json=Dir,ImportPath,GoFiles", ".")
	list.Dir = dir
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	var listed struct {
		Dir, ImportPath string
		GoFiles         []string
	}
	if err := json.Unmarshal(out, &listed); err != nil {
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	s := &source{dir: filepath.ToSlash(filepath.Clean(dir)), importPath: listed.ImportPath}
	for _, name := range listed.GoFiles {
		f, err := parse(filepath.Join(listed.Dir, name))
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

func parse(path string) (*file, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &file{name: filepath.Base(path), path: path, text: text, set: token.NewFileSet()}
	f.tree, err = parser.ParseFile(f.set, path, text, parser.SkipObjectResolution)
	return f, err
}

// offset is where p stands in the file's text.
func (f *file) offset(p token.Pos) int { return f.set.Position(p).Offset }

// textOf is what the file says at n, borrowed.
func (f *file) textOf(n ast.Node) string { return string(f.text[f.offset(n.Pos()):f.offset(n.End())]) }
