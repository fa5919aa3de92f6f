package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const fixture = "testdata/fixture"

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// mutantsOf are the keys of the mutants of one function, without what all have.
func mutantsOf(t *testing.T, name, text string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.go")
	if err := os.WriteFile(path, []byte("package x\n\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := parse(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range mutate(&source{dir: "x", files: []*file{f}}) {
		key, ours := strings.CutPrefix(m.key, "x/x.go: "+name+": ")
		if !ours {
			t.Errorf("key %q is not of %s", m.key, name)
		}
		if _, err := parseText(m.text()); err != nil {
			t.Errorf("%s: %v in\n%s", key, err, m.text())
		}
		keys = append(keys, key)
	}
	return keys
}

func parseText(text []byte) (*file, error) {
	dir, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a test's folder
	path := filepath.Join(dir, "x.go")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return parse(path)
}

func TestMutators(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, function, text string
		want                 []string
	}{
		{"boundary and negation", "f", "func f(a int) { for a < 2 {\n} }", []string{"a < 2 => <=", "a < 2 => >="}},
		{"equality", "f", "func f(a int) { for a == 2 {\n} }", []string{"a == 2 => !="}},
		{"logic", "f", "func f(a, b bool) { for a && b {\n} }", []string{"a && b => ||"}},
		{"arithmetic", "f", "func f(a int) { b := a * 3; _ = b }", []string{"a * 3 => /"}},
		{"increment", "f", "func f(a int) { a++ }", []string{"a++ => nothing", "a++ => --"}},
		{"op-assignment", "T.f", "type T int\nfunc (a *T) f() { *a |= 1 }",
			[]string{"*a |= 1 => nothing", "*a |= 1 => &="}},
		{"removal of calls", "f", "func f() { g(); defer h(); go i() }",
			[]string{"g() => nothing", "defer h() => nothing", "go i() => nothing"}},
		{"a definition is not removed", "f", "func f() { a := 1; _ = a }", nil},
		{"the same text twice", "f", "func f() { g(); g() }", []string{"g() => nothing", "g() => nothing (2)"}},
		{"early return", "f", "func f(a bool) { if a { return }\n g() }",
			[]string{"g() => nothing", "if a: return => nothing"}},
		{"break", "f", "func f(a bool) { for { if a { break } } }", []string{"if a: break => nothing"}},
		{"zero results", "f", "func f(a int) (int, error) { return a, g }",
			[]string{"return a, g => return 0, g", "return a, g => return a, nil"}},
		{"zero results are not replaced", "f", "func f() (int, error, T) { return 0, nil, T{} }", nil},
		{"unknown types", "f", "func f(a p.T) p.T { return a }", []string{"return a => return *new(p.T)"}},
		{"boolean literal", "f", "func f() bool { return false }", []string{"return false => return true"}},
		{"boolean", "f", "func f() bool { return g() }", []string{"return g() => return !(g())"}},
		{"results of the function that returns", "f", "func f() string { h(func() bool { return true })\n return s }",
			[]string{"h(func() bool { return true }) => nothing", "return true => return false",
				`return s => return ""`}},
		{"in a switch", "G.f", "type G[T any] int\nfunc (G[T]) f(a int) { switch { case a > 2: g() } }",
			[]string{"a > 2 => >=", "a > 2 => <=", "g() => nothing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := mutantsOf(t, c.function, c.text); !slices.Equal(got, c.want) {
				t.Errorf("mutants\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// fixtureResult runs the fixture's mutants and gives the outcome of each.
func fixtureResult(t *testing.T, acceptedFile string) (*result, map[string]outcome) {
	t.Helper()
	a, err := readAccepted(acceptedFile)
	if err != nil {
		t.Fatal(err)
	}
	o, err := parseOptions([]string{fixture + "=70"}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(t.Context(), o, o.targets[0], a, t.Output(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]outcome{}
	for _, v := range r.verdicts {
		outcomes[strings.TrimPrefix(v.key, fixture+"/fixture.go: ")] = v.outcome
	}
	return r, outcomes
}

func TestFixtureHasEveryOutcome(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0")
	t.Setenv("FIXTURE_FAILS", "1")
	accept := filepath.Join(t.TempDir(), "accepted.txt")
	err := os.WriteFile(accept, []byte(`# what may live
testdata/fixture/fixture.go: Clamp: n > most => >= -> at the border both are the same
testdata/fixture/fixture.go: Clamp: n > most => <= -> a test kills it
testdata/fixture/fixture.go: Clamp: n + most => - -> was there once
other/x.go: f: a => b -> of another package
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r, outcomes := fixtureResult(t, accept)
	for key, want := range map[string]outcome{
		"Clamp: n > most => >=":                       lived,
		"Clamp: n > most => <=":                       killed,
		"Clamp: return n => return 0":                 killed,
		"Clamp: if n > most: return most => nothing":  killed,
		"Kind: n < 0 => <=":                           killed,
		`Kind: return "negative" => return ""`:        killed,
		"Sum: i++ => nothing":                         timedOut,
		"Sum: sum += numbers[i] => -=":                killed,
		"Sum: i < 0 => <=":                            lived,
		"Sum: i = 0 => nothing":                       notCovered,
		"Even: return n%2 == 0 => return !(n%2 == 0)": 99, // its operator is mutated instead
		"Even: n%2 == 0 => !=":                        notCovered,
		"Even: n%2 => *":                              notCovered,
		"Total: sum += n => -=":                       killed,
		"T.two: return 2 => return 0":                 killed,
		"T.add: t.n += n => nothing":                  lived,
		"T.inc: t.n++ => --":                          killed,
		"rescue: recover() != nil => ==":              killed,
		"Larger: a > b => >=":                         lived,
		"Larger: a > b => <=":                         killed,
		`Unused: "a" + string(rune(n)) => -`:          illegal,
	} {
		if got, there := outcomes[key]; there != (want != 99) || there && got != want {
			t.Errorf("%s: outcome %v, %t, want %d", key, got, there, want)
		}
	}
	if !slices.Equal(r.failing, []string{"TestFails"}) || r.controls != (controls{runs: 3}) {
		t.Errorf("failing %v, controls %+v", r.failing, r.controls)
	}
	if want := []string{
		fixture + "/fixture.go: Clamp: n + most => -: there is no such mutant",
		fixture + "/fixture.go: Clamp: n > most => <=: it is killed",
	}; !slices.Equal(r.stale, want) {
		t.Errorf("accepted in vain: %q", r.stale)
	}
	if r.accepted() != 1 || r.legal() != r.count(killed)+r.count(timedOut)+r.count(lived)+r.count(notCovered)+1 {
		t.Errorf("counts do not add up: %v", r.cells())
	}
}

// verdictsOf makes n verdicts of an outcome.
func verdictsOf(n int, o outcome, reason string) []verdict {
	all := make([]verdict, n)
	for i := range all {
		m := &mutant{key: "p/f.go: f: a => b", file: &file{path: "/p/f.go"}}
		all[i] = verdict{mutant: m, outcome: o, reason: reason}
	}
	return all
}

func TestScoreAndReport(t *testing.T) {
	t.Parallel()
	notYet := verdictsOf(1, lived, "")[0]
	notYet.excuse("? it is late")
	r := &result{dir: "p", all: 30, wanted: 90, controls: controls{runs: 1}, verdicts: slices.Concat(
		verdictsOf(7, killed, ""), verdictsOf(1, timedOut, ""), verdictsOf(1, notCovered, ""), []verdict{notYet},
		verdictsOf(2, lived, "why"), verdictsOf(3, illegal, ""))}
	if r.score() != 80 || r.legal() != 12 || r.passes() {
		t.Errorf("score %v, %d legal, passes %t", r.score(), r.legal(), r.passes())
	}
	r.wanted = 80
	if !r.passes() {
		t.Error("80 is not enough")
	}
	var report bytes.Buffer
	writeReport(&report, []*result{r}, []string{"make", "mutants", "ARGS=-only x", strings.Repeat("y", 100)}, testTime)
	for _, want := range []string{
		"| p | 30 | 12 | 7 | 1 | 1 | 1 | 2 | 80 ± 18 % | 80 % |",
		"Made on 2026-01-02 by\n\n```\nmake mutants 'ARGS=-only x' \\\n    yyy",
		"| `p/f.go: f: a => b` | why |", "no test yet, and none reaches it", "| no test yet: it is late |",
		"alive the score is 66.7 %", "3 more do not compile",
	} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("no %q in\n%s", want, report.String())
		}
	}
	r.controls.failed = 1
	if r.passes() {
		t.Error("passes although its tests fail without a mutant")
	}
}

func TestDrawIsTheSameForASeed(t *testing.T) {
	t.Parallel()
	all := make([]*mutant, 50)
	for i := range all {
		all[i] = &mutant{start: i}
	}
	one, again, other := draw(all, 10, 1), draw(all, 10, 1), draw(all, 10, 2)
	if len(one) != 10 || !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Error("not drawn by the seed")
	}
	if !slices.IsSortedFunc(one, func(a, b *mutant) int { return a.start - b.start }) {
		t.Error("not in their order")
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]target{
		"./p": {dir: "./p"}, "./p=90": {dir: "./p", wanted: 90}, "./p=80,150": {dir: "./p", wanted: 80, sample: 150},
	} {
		if got, err := parseTarget(arg); err != nil || got != want {
			t.Errorf("%s: %v, %v", arg, got, err)
		}
	}
	for _, args := range [][]string{
		{}, {"./p=x"}, {"./p=80,x"}, {"=80"}, {"-only", "(", "./p"}, {"-skip", "(", "./p"}, {"-jobs", "0", "./p"},
	} {
		if _, err := parseOptions(args, t.Output()); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestBelowTheScoreIsAnError(t *testing.T) {
	t.Parallel()
	args := []string{"-only", "Even: ", "-accepted", filepath.Join(t.TempDir(), "none"), fixture + "=1"}
	if err := run(t.Context(), args, t.Output(), t.Output()); !errors.Is(err, errScore) {
		t.Errorf("error %v", err)
	}
}

// Without its only test a mutant is reached by nobody.
func TestSkippedTestsKillNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	args := []string{"-only", "Kind: ", "-skip", "^TestKind$", "-accepted", filepath.Join(t.TempDir(), "none"), fixture}
	err := run(t.Context(), args, &out, t.Output())
	if err != nil || !strings.Contains(out.String(), "none reaches it") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestAcceptedLines(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"no reason\n", "p/f.go: f: a => b -> \n", "k -> r\nk -> again\n"} {
		path := filepath.Join(t.TempDir(), "accepted.txt")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readAccepted(path); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, []string{fixture}, t.Output(), t.Output()); err == nil {
		t.Error("an interrupted run says nothing")
	}
}
