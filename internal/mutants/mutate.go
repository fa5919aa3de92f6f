package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"strings"
)

// mutant is one small fault: bytes of a file replaced by others.
type mutant struct {
	key        string // "file: function: old => new": names the mutant whatever its line
	file       *file
	in         *ast.FuncDecl
	start, end int // offsets of what is replaced
	with       string
	at         token.Position // where it stands
	covered    token.Position // where the coverage profile counts it
}

// text is the whole file with the fault in it.
func (m *mutant) text() []byte {
	t := append([]byte{}, m.file.text[:m.start]...)
	t = append(t, m.with...)
	return append(t, m.file.text[m.end:]...)
}

// mutate lists the mutants of a package, in the order of its text. Only function bodies have any: a profile does not
// tell who uses a constant.
func mutate(s *source) []*mutant {
	var all []*mutant
	for _, f := range s.files {
		for _, d := range f.tree.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				w := walker{file: f, in: d, prefix: s.dir + "/" + f.name + ": " + functionName(d) + ": "}
				w.function(d.Type, d.Body)
				all = append(all, w.found...)
			}
		}
	}
	seen := map[string]int{}
	for _, m := range all {
		seen[m.key]++
		if n := seen[m.key]; n > 1 {
			m.key += fmt.Sprintf(" (%d)", n)
		}
	}
	return all
}

// functionName is "Function" or "Type.Method".
func functionName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

// walker finds the mutants of one function, and of the functions in it.
type walker struct {
	file    *file
	in      *ast.FuncDecl
	prefix  string
	results []ast.Expr // types of the function's results, one each
	covered token.Pos  // where the profile counts what it does not count in its place
	found   []*mutant
}

func (w *walker) function(t *ast.FuncType, body *ast.BlockStmt) {
	outer, outerCovered := w.results, w.covered
	w.results, w.covered = nil, token.NoPos
	if t.Results != nil {
		for _, r := range t.Results.List {
			for range max(1, len(r.Names)) {
				w.results = append(w.results, r.Type)
			}
		}
	}
	w.walk(body)
	w.results, w.covered = outer, outerCovered
}

func (w *walker) walk(n ast.Node) { ast.Inspect(n, w.visit) }

func (w *walker) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.FuncLit:
		w.function(n.Type, n.Body)
		return false
	case *ast.SwitchStmt:
		w.cases(n, n.Init, n.Tag, n.Body)
		return false
	case *ast.BlockStmt:
		w.removals(n.List)
	case *ast.CaseClause:
		w.removals(n.Body)
	case *ast.CommClause:
		w.removals(n.Body)
	case *ast.IfStmt:
		w.earlyReturn(n)
	case *ast.BinaryExpr:
		w.operators(n, n.OpPos, n.Op)
	case *ast.AssignStmt:
		w.operators(n, n.TokPos, n.Tok)
	case *ast.IncDecStmt:
		w.operators(n, n.TokPos, n.Tok)
	case *ast.ReturnStmt:
		w.returns(n)
	}
	return true
}

// cases walks a switch: its conditions are counted where the switch begins.
func (w *walker) cases(n ast.Node, init ast.Stmt, tag ast.Expr, body *ast.BlockStmt) {
	if init != nil {
		w.walk(init)
	}
	if tag != nil {
		w.walk(tag)
	}
	for _, s := range body.List {
		c := s.(*ast.CaseClause)
		outer := w.covered
		w.covered = n.Pos()
		for _, x := range c.List {
			w.walk(x)
		}
		w.covered = outer
		w.removals(c.Body)
		for _, s := range c.Body {
			w.walk(s)
		}
	}
}

// add notes the mutant in which new stands for what the node n says, or for a part of it.
func (w *walker) add(n ast.Node, start, end token.Pos, with, change string) {
	covered := n.Pos()
	if w.covered.IsValid() {
		covered = w.covered
	}
	w.found = append(w.found, &mutant{
		key: w.prefix + change, file: w.file, in: w.in,
		start: w.file.offset(start), end: w.file.offset(end), with: with,
		at: w.file.set.Position(start), covered: w.file.set.Position(covered),
	})
}

var otherOperators = map[token.Token][]token.Token{
	// Boundaries and negations.
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	// Arithmetic.
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL},
	token.REM: {token.MUL},
	token.AND: {token.OR}, token.OR: {token.AND}, token.XOR: {token.AND}, token.AND_NOT: {token.AND},
	token.SHL: {token.SHR}, token.SHR: {token.SHL},
	token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN},
	token.MUL_ASSIGN: {token.QUO_ASSIGN}, token.QUO_ASSIGN: {token.MUL_ASSIGN}, token.REM_ASSIGN: {token.MUL_ASSIGN},
	token.AND_ASSIGN: {token.OR_ASSIGN}, token.OR_ASSIGN: {token.AND_ASSIGN}, token.XOR_ASSIGN: {token.AND_ASSIGN},
	token.AND_NOT_ASSIGN: {token.AND_ASSIGN},
	token.SHL_ASSIGN:     {token.SHR_ASSIGN}, token.SHR_ASSIGN: {token.SHL_ASSIGN},
	token.INC: {token.DEC}, token.DEC: {token.INC},
}

func (w *walker) operators(n ast.Node, at token.Pos, op token.Token) {
	end := at + token.Pos(len(op.String()))
	for _, other := range otherOperators[op] {
		w.add(n, at, end, other.String(), oneLine(w.file.textOf(n))+" => "+other.String())
	}
}

// removals notes a mutant for each call and assignment of a list of statements: the one without it.
func (w *walker) removals(list []ast.Stmt) {
	for _, s := range list {
		removable := false
		switch s := s.(type) {
		case *ast.ExprStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt, *ast.IncDecStmt:
			removable = true
		case *ast.AssignStmt:
			removable = s.Tok != token.DEFINE && !isBlank(s.Lhs)
		}
		if removable {
			w.add(s, s.Pos(), s.End(), keepUsed(w.file, s), oneLine(w.file.textOf(s))+" => nothing")
		}
	}
}

// keepUsed is what stands for a removed assignment: without it, variables that only it uses would not compile.
func keepUsed(f *file, s ast.Stmt) string {
	a, ok := s.(*ast.AssignStmt)
	if !ok || a.Tok != token.ASSIGN || len(a.Lhs) != len(a.Rhs) {
		return ""
	}
	var kept []string
	for _, x := range a.Rhs {
		kept = append(kept, blank(f, x)...)
	}
	return strings.Join(kept, "; ")
}

// blank uses x without an effect of its own. A value that a call makes is not asked for: the call is what is removed.
func blank(f *file, x ast.Expr) []string {
	calls := false
	ast.Inspect(x, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.CallExpr, *ast.FuncLit, *ast.UnaryExpr: // a receive is a unary expression
			calls = true
		}
		return !calls
	})
	if calls || isConstant(x) {
		return nil
	}
	return []string{"_ = " + f.textOf(x)}
}

func isBlank(list []ast.Expr) bool {
	for _, x := range list {
		if id, ok := x.(*ast.Ident); !ok || id.Name != "_" {
			return false
		}
	}
	return true
}

// isConstant tells a literal, nil, true and false.
func isConstant(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.BasicLit:
		return true
	case *ast.Ident:
		return x.Name == "nil" || x.Name == "true" || x.Name == "false"
	}
	return false
}

// earlyReturn notes the mutant in which an if's body does not leave.
func (w *walker) earlyReturn(n *ast.IfStmt) {
	if len(n.Body.List) == 0 {
		return
	}
	last := n.Body.List[len(n.Body.List)-1]
	var kept []string
	switch s := last.(type) {
	case *ast.ReturnStmt:
		for _, x := range s.Results {
			kept = append(kept, blank(w.file, x)...)
		}
	case *ast.BranchStmt:
		if s.Tok == token.FALLTHROUGH {
			return
		}
	default:
		return
	}
	w.add(last, last.Pos(), last.End(), strings.Join(kept, "; "),
		"if "+oneLine(w.file.textOf(n.Cond))+": "+oneLine(w.file.textOf(last))+" => nothing")
}

// returns notes a mutant for each result: a zero value in its place, or the other boolean.
func (w *walker) returns(n *ast.ReturnStmt) {
	if len(n.Results) != len(w.results) {
		return
	}
	for i, x := range n.Results {
		with := otherResult(w.file, x, w.results[i])
		if with == "" {
			continue
		}
		kept := append(blank(w.file, x), "")
		start, end := w.file.offset(x.Pos())-w.file.offset(n.Pos()), w.file.offset(x.End())-w.file.offset(n.Pos())
		old := w.file.textOf(n)
		changed := old[:start] + with + old[end:]
		w.add(n, n.Pos(), n.End(), strings.Join(kept, "; ")+changed, oneLine(old)+" => "+oneLine(changed))
	}
}

// otherResult is what is returned instead of x, or nothing where that would be the same, or is another mutant already.
func otherResult(f *file, x, kind ast.Expr) string {
	name, _ := kind.(*ast.Ident)
	zero := zeroOf(f, kind)
	switch {
	case f.textOf(x) == "false":
		return "true"
	case isZero(f, x):
		return ""
	case name == nil || name.Name != "bool" || isConstant(x):
		return zero
	}
	if b, ok := x.(*ast.BinaryExpr); ok && len(otherOperators[b.Op]) > 0 {
		return "" // its operator is mutated
	}
	return "!(" + f.textOf(x) + ")"
}

// zeroOf writes the zero value of a type; what is not known by its syntax is *new(T).
func zeroOf(f *file, kind ast.Expr) string {
	switch k := kind.(type) {
	case *ast.StarExpr, *ast.MapType, *ast.FuncType, *ast.ChanType, *ast.InterfaceType:
		return "nil"
	case *ast.ArrayType:
		if k.Len == nil {
			return "nil"
		}
	case *ast.Ident:
		switch k.Name {
		case "bool":
			return "false"
		case "string":
			return `""`
		case "error", "any":
			return "nil"
		case "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr",
			"byte", "rune", "float32", "float64":
			return "0"
		}
	}
	return "*new(" + f.textOf(kind) + ")"
}

// oneLine is text without line breaks, and not longer than a reader wants.
func oneLine(text string) string {
	const runesMax = 100
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > runesMax {
		text = string(r[:runesMax]) + "…"
	}
	return text
}

// isZero tells what is written as a zero value, of whatever type.
func isZero(f *file, x ast.Expr) bool {
	if c, ok := x.(*ast.CompositeLit); ok && len(c.Elts) == 0 {
		switch t := c.Type.(type) {
		case *ast.MapType:
			return false
		case *ast.ArrayType:
			return t.Len != nil
		}
		return true // of a struct, most likely
	}
	text := f.textOf(x)
	return text == "nil" || text == "0" || text == `""` || text == "0.0"
}
