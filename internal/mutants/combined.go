package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// chosenVariable is the environment variable with the number of the mutant that a combined binary is to be; without it
// the binary is the clean package.
const chosenVariable = "MUTANTS_CHOSEN"

// combined is one binary for many mutants: building one for each took longer than its tests. A function that has
// mutants is there once more for each of them, and begins by calling the one chosen.
type combined struct {
	*binary
	numbers map[*mutant]int
	illegal map[*mutant]bool // do not compile
	failing []string         // tests that fail in this form of the package, if clean: they say nothing
}

// combine builds the mutants into the file path. Those that need a binary of their own have no number.
func combine(ctx context.Context, s *source, path string, mutants []*mutant) (*combined, error) {
	c := &combined{numbers: map[*mutant]int{}, illegal: map[*mutant]bool{}}
	left := slices.DeleteFunc(slices.Clone(mutants), func(m *mutant) bool { return !combines(m) })
	for i, m := range left {
		c.numbers[m] = i + 1
	}
	for {
		replace := map[string][]byte{filepath.Join(filepath.Dir(s.files[0].path), "zz_mutants.go"): chooser(s)}
		spans := map[string][]span{}
		for _, f := range s.files {
			replace[f.path], spans[f.name] = f.combine(left, c.numbers)
		}
		b, err := build(ctx, s, path, replace, "-gcflags=-e")
		if !errors.Is(err, errCompile) {
			c.binary = b
			return c, err
		}
		bad := blamed(err.Error(), spans)
		if len(bad) == 0 {
			return nil, fmt.Errorf("with all mutants: %w", err)
		}
		for m := range bad {
			c.illegal[m] = true
		}
		left = slices.DeleteFunc(left, func(m *mutant) bool { return bad[m] })
	}
}

// combines tells whether a copy of the mutant's function can stand for it: not where it must be called by defer itself,
// since recover means nothing elsewhere, and not (it would be more to write) where it has type parameters.
func combines(m *mutant) bool {
	recovers := false
	ast.Inspect(m.in.Body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		recovers = recovers || ok && id.Name == "recover"
		return !recovers
	})
	return !recovers && m.in.Type.TypeParams == nil
}

// chooser is a file of the package that reads the mutant's number.
func chooser(s *source) []byte {
	return fmt.Appendf(nil, `package %s

import (
	mutantsOS "os"
	mutantsStrconv "strconv"
)

var mutantsChosen = func() int {
	n, _ := mutantsStrconv.Atoi(mutantsOS.Getenv(%q))
	return n
}()
`, s.files[0].tree.Name.Name, chosenVariable)
}

// span is the lines at which a mutant's function stands.
type span struct {
	first, last int
	m           *mutant
}

// edit puts text in the place of some bytes of a file.
type edit struct {
	start, end int
	text       string
}

// combine is the file with the functions of its mutants behind it, and where those stand.
func (f *file) combine(mutants []*mutant, numbers map[*mutant]int) ([]byte, []span) {
	ours := map[*ast.FuncDecl][]*mutant{}
	for _, m := range mutants {
		if m.file == f {
			ours[m.in] = append(ours[m.in], m)
		}
	}
	var edits []edit
	var copies []string
	for _, d := range f.tree.Decls {
		if d, ok := d.(*ast.FuncDecl); ok && len(ours[d]) > 0 {
			edits = append(edits, f.choose(d, ours[d], numbers)...)
		}
	}
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var text bytes.Buffer
	at := 0
	for _, e := range edits {
		text.Write(f.text[at:e.start])
		text.WriteString(e.text)
		at = e.end
	}
	text.Write(f.text[at:])
	line := bytes.Count(text.Bytes(), []byte{'\n'}) + 2
	var spans []span
	for _, m := range mutants {
		if m.file != f {
			continue
		}
		start, name, end := f.offset(m.in.Pos()), f.offset(m.in.Name.End()), f.offset(m.in.End())
		if m.in.Doc != nil {
			start = f.offset(m.in.Type.Pos())
		}
		clone := string(f.text[start:name]) + copyOf(numbers[m]) + string(f.text[name:m.start]) + m.with +
			string(f.text[m.end:end])
		copies = append(copies, clone)
		lines := strings.Count(clone, "\n")
		spans = append(spans, span{line, line + lines, m})
		line += lines + 1
	}
	text.WriteString("\n" + strings.Join(copies, "\n") + "\n")
	return text.Bytes(), spans
}

// copyOf is what the name of a function ends in that is its mutant.
func copyOf(number int) string { return "_mutant" + strconv.Itoa(number) }

// choose makes the function d begin with a call of the mutant chosen. What it is called with must have a name.
func (f *file) choose(d *ast.FuncDecl, mutants []*mutant, numbers map[*mutant]int) []edit {
	var edits []edit
	names := func(fields *ast.FieldList) (all []string) {
		if fields == nil {
			return nil
		}
		for _, field := range fields.List {
			if len(field.Names) == 0 {
				name := "mutantsArg" + strconv.Itoa(f.offset(field.Pos()))
				at := f.offset(field.Type.Pos())
				edits = append(edits, edit{at, at, name + " "})
				all = append(all, name)
			}
			for _, id := range field.Names {
				name := id.Name
				if name == "_" {
					name = "mutantsArg" + strconv.Itoa(f.offset(id.Pos()))
					edits = append(edits, edit{f.offset(id.Pos()), f.offset(id.End()), name})
				}
				all = append(all, name)
			}
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				all[len(all)-1] += "..."
			}
		}
		return all
	}
	call := d.Name.Name
	if receiver := names(d.Recv); len(receiver) > 0 {
		call = receiver[0] + "." + call
	}
	arguments := "(" + strings.Join(names(d.Type.Params), ", ") + ")"
	var b strings.Builder
	b.WriteString(" switch mutantsChosen {")
	for _, m := range mutants {
		called := call + copyOf(numbers[m]) + arguments
		if d.Type.Results == nil {
			fmt.Fprintf(&b, " case %d: %s; return;", numbers[m], called)
		} else {
			fmt.Fprintf(&b, " case %d: return %s;", numbers[m], called)
		}
	}
	b.WriteString(" }; ")
	at := f.offset(d.Body.Lbrace) + 1
	return append(edits, edit{at, at, b.String()})
}

// blamed are the mutants at whose lines the compiler complains.
func blamed(complaints string, spans map[string][]span) map[*mutant]bool {
	bad := map[*mutant]bool{}
	for complaint := range strings.Lines(complaints) {
		path, rest, found := strings.Cut(complaint, ".go:")
		number, _, _ := strings.Cut(rest, ":")
		line, err := strconv.Atoi(number)
		if !found || err != nil {
			continue
		}
		for _, s := range spans[filepath.Base(path)+".go"] {
			if s.first <= line && line <= s.last {
				bad[s.m] = true
			}
		}
	}
	return bad
}

// as is the binary of one mutant.
func (c *combined) as(m *mutant) *binary {
	return &binary{path: c.path, dir: c.dir, env: []string{chosenVariable + "=" + strconv.Itoa(c.numbers[m])}}
}

// prove runs each test in the clean combined package, and notes those that fail there.
func (c *combined) prove(ctx context.Context, cover *coverage) error {
	for name := range cover.seconds {
		if o, _ := c.run(ctx, cleanTimeout, []string{name}); o != lived {
			c.failing = append(c.failing, name)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
