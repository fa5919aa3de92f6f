package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// result is what came of a package.
type result struct {
	dir      string
	all      int // mutants that there are; those that were tried are verdicts
	verdicts []verdict
	controls controls
	failing  []string
	stale    []string
	wanted   float64 // the least score, in per cent
}

func (r *result) count(o outcome) int {
	n := 0
	for _, v := range r.verdicts {
		if v.outcome == o && v.reason == "" {
			n++
		}
	}
	return n
}

// legal is how many of the mutants tried compile.
func (r *result) legal() int { return len(r.verdicts) - r.count(illegal) }

func (r *result) accepted() int {
	n := 0
	for _, v := range r.verdicts {
		if v.reason != "" {
			n++
		}
	}
	return n
}

// score is the share of mutants found, in per cent, of those that are not accepted.
func (r *result) score() float64 {
	of := r.legal() - r.accepted()
	if of == 0 {
		return 100
	}
	return 100 * float64(r.count(killed)+r.count(timedOut)) / float64(of)
}

// spread is the half-width of the score's interval of 95 %, where only a sample was tried.
func (r *result) spread() float64 {
	n := float64(r.legal() - r.accepted())
	if len(r.verdicts) == r.all || n == 0 {
		return 0
	}
	p := r.score() / 100
	return 100 * 1.96 * math.Sqrt(p*(1-p)/n*(1-float64(len(r.verdicts))/float64(r.all)))
}

// passes tells whether the score is what is wanted. A control that failed makes the score worth nothing.
func (r *result) passes() bool { return r.score() >= r.wanted && r.controls.failed == 0 }

var columns = []string{
	"package", "mutants", "tried", "killed", "timed out", "not covered", "lived", "accepted", "score", "wanted",
}

func (r *result) cells() []string {
	score := fmt.Sprintf("%.1f %%", r.score())
	if s := r.spread(); s > 0 {
		score = fmt.Sprintf("%.0f ± %.0f %%", r.score(), s)
	}
	cells := []string{r.dir}
	for _, n := range []int{r.all, r.legal(), r.count(killed), r.count(timedOut), r.count(notCovered), r.count(lived),
		r.accepted()} {
		cells = append(cells, fmt.Sprint(n))
	}
	return append(cells, score, fmt.Sprintf("%.0f %%", r.wanted))
}

// alive are the mutants that no test killed, the accepted ones last.
func (r *result) alive() []verdict {
	var alive, last []verdict
	for _, v := range r.verdicts {
		switch {
		case v.reason != "":
			last = append(last, v)
		case v.outcome == lived || v.outcome == notCovered:
			alive = append(alive, v)
		}
	}
	return slices.Concat(alive, last)
}

func (v verdict) why() string {
	switch {
	case v.reason != "":
		return v.reason
	case v.open != "":
		return "no test yet: " + v.open
	case v.outcome == notCovered:
		return "no test yet, and none reaches it"
	}
	return "no test yet"
}

// printTable writes the results for a terminal, with the lines at which mutants live.
func printTable(w io.Writer, results []*result) {
	for _, r := range results {
		for _, v := range r.alive() {
			fmt.Fprintf(w, "%s:%d:%d: %s -> %s\n", v.file.path, v.at.Line, v.at.Column, v.key, v.why())
		}
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(columns, "\t"))
	for _, r := range results {
		fmt.Fprintln(table, strings.Join(r.cells(), "\t"))
	}
	table.Flush() //nolint:errcheck // a terminal
	fmt.Fprintln(w)
	for _, r := range results {
		for _, n := range notes(r) {
			fmt.Fprintln(w, n)
		}
	}
}

// notes are what a reader must know of a result besides its figures.
func notes(r *result) []string {
	n := []string{fmt.Sprintf("%s: the clean package was run %d times in between; its tests failed %d times.", r.dir,
		r.controls.runs, r.controls.failed)}
	if a := r.accepted(); a > 0 {
		n = append(n, fmt.Sprintf("%s: with the accepted ones counted as alive the score is %.1f %%.", r.dir,
			100*float64(r.count(killed)+r.count(timedOut))/float64(r.legal())))
	}
	if i := r.count(illegal); i > 0 {
		n = append(n, fmt.Sprintf("%s: %d more do not compile.", r.dir, i))
	}
	if len(r.failing) > 0 {
		n = append(n, fmt.Sprintf("%s: not used, because they fail without a mutant: %s.", r.dir,
			strings.Join(r.failing, ", ")))
	}
	for _, s := range r.stale {
		n = append(n, "accepted in vain: "+s)
	}
	return n
}

// writeReport writes the results as Markdown.
func writeReport(w io.Writer, results []*result, command []string, now time.Time) {
	fmt.Fprint(w, "# Mutants\n\nEach mutant is the program with one small fault. A test that fails has killed it; "+
		"one that lives shows\nwhat no test is about. ")
	fmt.Fprintf(w, "Made on %s by\n\n```\n%s\n```\n\n", now.Format(time.DateOnly), shellLine(command))
	row := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	row(columns)
	fmt.Fprintln(w, "|---"+strings.Repeat("|---:", len(columns)-1)+"|")
	for _, r := range results {
		row(r.cells())
	}
	fmt.Fprint(w, "\nThe score is killed and timed out, of those tried that are not accepted: of which a reason says "+
		"that no test could\ntell them from the program, or that the difference is not worth one. Only tests that "+
		"reach a mutant in their own\nprocess are tried on it.\n\n")
	for _, r := range results {
		for _, n := range notes(r) {
			fmt.Fprintf(w, "- %s\n", n)
		}
	}
	for _, r := range results {
		fmt.Fprintf(w, "\n## %s: those that live\n\n", r.dir)
		fmt.Fprint(w, "| mutant | why |\n|---|---|\n")
		for _, v := range r.alive() {
			row([]string{"`" + strings.ReplaceAll(v.key, "|", `\|`) + "`", v.why()})
		}
	}
}

// shellLine is a command as a shell takes it, in lines that are not too long.
func shellLine(words []string) string {
	const columnsMax = 110
	var b strings.Builder
	column := 0
	for i, word := range words {
		if strings.ContainsAny(word, " ^$|&;()<>*?'\"\\") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		switch {
		case i == 0:
		case column+1+len(word) > columnsMax:
			b.WriteString(" \\\n    ")
			column = 4
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
