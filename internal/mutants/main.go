// Command mutants tells how much of a package its tests are about: it makes small faults in the package, one at a time,
// and counts those that a test finds. No file of the tree is touched.
//
//	go run ./internal/mutants [flags] DIR[=SCORE[,SAMPLE]] …
//
// A package whose score is below SCORE per cent makes the exit status 1. With SAMPLE, as many of its mutants are drawn.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1) //nolint:gocritic // cancel has nothing left to do
	}
}

// options are the command line.
type options struct {
	targets  []target
	sample   int
	seed     uint64
	jobs     int
	factor   float64
	only     *regexp.Regexp
	skip     *regexp.Regexp // tests that are not used; nil is none
	accepted string
	report   string
	list     bool
	verbose  bool
}

// target is a package, the least score that is wanted of it, and how many of its mutants are drawn (0: all).
type target struct {
	dir    string
	wanted float64
	sample int
}

var errScore = errors.New("a score is below what is wanted, or the tests fail without a mutant")

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	var o options
	f := flag.NewFlagSet("mutants", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.sample, "sample", 0, "draw `N` mutants of each package, whatever its argument says")
	f.Uint64Var(&o.seed, "seed", 1, "what the sample is drawn with")
	f.IntVar(&o.jobs, "jobs", 2, "mutants at a time")
	f.Float64Var(&o.factor, "timeout", 5, "how many times as long as the clean tests a mutant may take, and 4 s more")
	only := f.String("only", "", "only mutants whose text matches `REGEXP`")
	skip := f.String("skip", "", "do not use the tests whose names match `REGEXP`")
	f.StringVar(&o.accepted, "accepted", "docs/mutants-accepted.txt", "`FILE` of the mutants that may live, and why")
	f.StringVar(&o.report, "report", "", "write the results to `FILE`, as Markdown; not with -only")
	f.BoolVar(&o.list, "list", false, "list the mutants, try none")
	f.BoolVar(&o.verbose, "v", false, "say what came of each mutant")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		return nil, err
	}
	if *only != "" {
		o.report = ""
	}
	if *skip != "" {
		if o.skip, err = regexp.Compile(*skip); err != nil {
			return nil, err
		}
	}
	for _, arg := range f.Args() {
		t, err := parseTarget(arg)
		if err != nil {
			return nil, err
		}
		t.sample = cmp.Or(o.sample, t.sample)
		o.targets = append(o.targets, t)
	}
	if len(o.targets) == 0 || o.jobs < 1 {
		return nil, errors.New("want packages, as DIR[=SCORE[,SAMPLE]], and at least one job")
	}
	return &o, nil
}

func parseTarget(arg string) (target, error) {
	dir, rest, _ := strings.Cut(arg, "=")
	wanted, sample, _ := strings.Cut(rest, ",")
	t := target{dir: dir}
	var errWanted, errSample error
	if wanted != "" {
		t.wanted, errWanted = strconv.ParseFloat(wanted, 64)
	}
	if sample != "" {
		t.sample, errSample = strconv.Atoi(sample)
	}
	if errWanted != nil || errSample != nil || dir == "" || t.sample < 0 {
		return t, fmt.Errorf("%s: want DIR[=SCORE[,SAMPLE]]", arg)
	}
	return t, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	a, err := readAccepted(o.accepted)
	if err != nil {
		return err
	}
	var results []*result
	for _, t := range o.targets {
		r, err := measure(ctx, o, t, a, stdout, stderr)
		if err != nil {
			return err
		}
		if r != nil {
			results = append(results, r)
		}
	}
	if o.list {
		return nil
	}
	printTable(stdout, results)
	if err := saveReport(o.report, results, args); err != nil {
		return err
	}
	if slices.ContainsFunc(results, func(r *result) bool { return !r.passes() }) {
		return errScore
	}
	return nil
}

// measure tries the mutants of one package.
func measure(ctx context.Context, o *options, t target, a accepted, stdout, stderr io.Writer) (*result, error) {
	s, err := load(ctx, t.dir)
	if err != nil {
		return nil, err
	}
	all := mutate(s)
	chosen := draw(slices.DeleteFunc(slices.Clone(all), func(m *mutant) bool { return !o.only.MatchString(m.key) }),
		t.sample, o.seed)
	if o.list {
		for _, m := range chosen {
			fmt.Fprintf(stdout, "%d:%d %s\n", m.at.Line, m.at.Column, m.key)
		}
		return nil, nil
	}
	scratch, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch) //nolint:errcheck // it is the system's folder for such things
	c, err := cover(ctx, s, scratch, o.skip)
	if err != nil {
		return nil, err
	}
	tr := &trial{
		source: s, cover: c, scratch: scratch, factor: o.factor, verbose: o.verbose, log: stderr,
		kills: map[string]int{},
	}
	verdicts, err := tr.run(ctx, chosen, o.jobs)
	if err != nil {
		return nil, err
	}
	stale := a.stale(s, all, verdicts)
	slices.Sort(stale)
	for i := range verdicts {
		if v := &verdicts[i]; v.outcome == lived || v.outcome == notCovered {
			v.excuse(a[v.key])
		}
	}
	return &result{
		dir: s.dir, all: len(all), verdicts: verdicts, controls: tr.controls, failing: c.failing, stale: stale,
		wanted: t.wanted,
	}, nil
}

// draw takes n of the mutants at random, in their order; all of them if n is 0.
func draw(mutants []*mutant, n int, seed uint64) []*mutant {
	if n == 0 || n >= len(mutants) {
		return mutants
	}
	picked := rand.New(rand.NewPCG(seed, 0)).Perm(len(mutants))[:n]
	slices.Sort(picked)
	drawn := make([]*mutant, 0, n)
	for _, i := range picked {
		drawn = append(drawn, mutants[i])
	}
	return drawn
}

func saveReport(path string, results []*result, args []string) error {
	if path == "" {
		return nil
	}
	var b strings.Builder
	writeReport(&b, results, append([]string{"go", "run", "./internal/mutants"}, args...), time.Now())
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
