package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// verdict is what came of one mutant.
type verdict struct {
	*mutant
	outcome outcome
	reason  string // why one that lives is accepted, if it is
}

// trial runs the mutants of one package.
type trial struct {
	source  *source
	cover   *coverage
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
	clean, err := build(ctx, t.source, filepath.Join(t.scratch, "control.test"), nil)
	if err != nil {
		return nil, err
	}
	defer clean.discard()
	verdicts := make([]verdict, len(mutants))
	next := make(chan int)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for i := range next {
				o, err := t.try(ctx, i, mutants[i], clean)
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

// try builds the mutant with number i, and runs the tests that reach it.
func (t *trial) try(ctx context.Context, i int, m *mutant, clean *binary) (outcome, error) {
	names := t.cover.testsOf(m.file.name, m.covered)
	if len(names) == 0 {
		return notCovered, nil
	}
	b, err := build(ctx, t.source, filepath.Join(t.scratch, fmt.Sprintf("%d.test", i)), m)
	if errors.Is(err, errCompile) {
		return illegal, nil
	}
	if err != nil {
		return illegal, err
	}
	defer b.discard()
	if t.controlIsDue() {
		t.control(ctx, clean, names)
	}
	likely, rest := t.order(names)
	for _, part := range [][]string{likely, rest} {
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

func (t *trial) order(names []string) (likely, rest []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	worth := func(name string) float64 { return float64(1+t.kills[name]) / (0.01 + t.cover.seconds[name]) }
	sorted := slices.SortedFunc(slices.Values(names), func(a, b string) int { return cmp.Compare(worth(b), worth(a)) })
	n := min(likelyMax, len(sorted))
	return sorted[:n], sorted[n:]
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

func (t *trial) control(ctx context.Context, clean *binary, names []string) {
	o, by := clean.run(ctx, t.cover.timeoutOf(names, t.factor), names)
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
