package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// verdict is what came of one mutant.
type verdict struct {
	*mutant
	outcome outcome
	reason  string // why one that lives is accepted, if it is
	open    string // why it lives, if it is known and no excuse
}

// excuse takes what the list of accepted mutants says of one that lives.
func (v *verdict) excuse(said string) {
	if open, ok := strings.CutPrefix(said, "? "); ok {
		v.open = open
	} else {
		v.reason = said
	}
}

// trial runs the mutants of one package.
type trial struct {
	source  *source
	cover   *coverage
	all     *combined
	scratch string
	factor  float64 // of the clean tests' time
	verbose bool    // each outcome goes to the log
	log     io.Writer

	mu       sync.Mutex
	kills    map[string]int // by test
	done     int
	built    int
	controls controls
}

// controls are runs of the clean package among those of the mutants. One that fails would have killed any mutant.
type controls struct{ runs, failed int }

// controlEvery is after how many mutants the clean package is run again, with the tests of the next of them.
const controlEvery = 10

// run tries the mutants, jobs at a time, and returns their verdicts in the same order.
func (t *trial) run(ctx context.Context, mutants []*mutant, jobs int) ([]verdict, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	all, err := combine(ctx, t.source, filepath.Join(t.scratch, "all.test"), mutants)
	if err == nil {
		err = all.prove(ctx, t.cover)
	}
	if err != nil {
		return nil, err
	}
	defer all.discard()
	t.all = all
	fmt.Fprintf(t.log, "%s %s: %d of %d mutants are in one binary\n", time.Now().Format(time.TimeOnly), t.source.dir,
		len(all.numbers), len(mutants))
	verdicts := make([]verdict, len(mutants))
	next := make(chan int)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for i := range next {
				o, err := t.try(ctx, i, mutants[i])
				if err != nil {
					cancel(err)
				}
				verdicts[i] = verdict{mutant: mutants[i], outcome: o}
				t.progress(verdicts[i], len(mutants))
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	workers.Wait()
	return verdicts, context.Cause(ctx)
}

// try runs the tests that reach the mutant with number i. It needs a binary of its own if it is not among the combined
// ones, or for tests that say nothing there.
func (t *trial) try(ctx context.Context, i int, m *mutant) (outcome, error) {
	names := t.cover.testsOf(m.file.name, m.covered)
	switch {
	case len(names) == 0:
		return notCovered, nil
	case t.all.illegal[m]:
		return illegal, nil
	}
	if t.controlIsDue() {
		t.control(ctx, t.usable(names))
	}
	alone := names
	if t.all.numbers[m] > 0 {
		o, err := t.judge(ctx, t.all.as(m), t.usable(names))
		if o != lived || err != nil {
			return o, err
		}
		alone = slices.DeleteFunc(slices.Clone(names), func(n string) bool {
			return !slices.Contains(t.all.failing, n)
		})
		if len(alone) == 0 {
			return lived, nil
		}
	}
	b, err := build(ctx, t.source, filepath.Join(t.scratch, fmt.Sprintf("%d.test", i)),
		map[string][]byte{m.file.path: m.text()})
	if errors.Is(err, errCompile) {
		return illegal, nil
	}
	if err != nil {
		return illegal, err
	}
	defer b.discard()
	return t.judge(ctx, b, alone)
}

// usable are those of the tests that say something about the combined mutants.
func (t *trial) usable(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(t.all.failing, n) })
}

// judge runs tests until one fails: first the likely ones, then the others, those of less than a second before the
// slow ones.
func (t *trial) judge(ctx context.Context, b *binary, names []string) (outcome, error) {
	for _, part := range t.order(names) {
		if len(part) == 0 {
			continue
		}
		o, by := b.run(ctx, t.cover.timeoutOf(part, t.factor), part)
		if ctx.Err() != nil {
			return illegal, context.Cause(ctx)
		}
		if o != lived {
			t.credit(by)
			return o, nil
		}
	}
	return lived, nil
}

// likelyMax is how many tests are run before the others: those that killed most for their time.
const likelyMax = 3

// quickSeconds is how long a test may take that runs before the slow ones.
const quickSeconds = 1

func (t *trial) order(names []string) (parts [3][]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	worth := func(name string) float64 { return float64(1+t.kills[name]) / (0.01 + t.cover.seconds[name]) }
	sorted := slices.SortedFunc(slices.Values(names), func(a, b string) int { return cmp.Compare(worth(b), worth(a)) })
	for i, name := range sorted {
		switch {
		case i < likelyMax:
			parts[0] = append(parts[0], name)
		case t.cover.seconds[name] < quickSeconds:
			parts[1] = append(parts[1], name)
		default:
			parts[2] = append(parts[2], name)
		}
	}
	return parts
}

func (t *trial) credit(test string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kills[test]++
}

func (t *trial) controlIsDue() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.built++
	return t.built%controlEvery == 0
}

func (t *trial) control(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	o, by := t.all.run(ctx, t.cover.timeoutOf(names, t.factor), names)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.controls.runs++
	if o != lived && ctx.Err() == nil {
		t.controls.failed++
		fmt.Fprintf(t.log, "%s: %s fails without a mutant\n", t.source.dir, cmp.Or(by, "a test"))
	}
}

// progress says every tenth how far the run is.
func (t *trial) progress(v verdict, all int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	if t.verbose {
		fmt.Fprintf(t.log, "%v: %s\n", v.outcome, v.key)
	}
	if step := max(1, all/10); t.done%step == 0 {
		fmt.Fprintf(t.log, "%s %s: %d of %d\n", time.Now().Format(time.TimeOnly), t.source.dir, t.done, all)
	}
}
