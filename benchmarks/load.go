package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sockloop/sockloop/benchmarks/internal/process"
	"github.com/sockloop/sockloop/benchmarks/internal/sockload"
	"github.com/sockloop/sockloop/loadclient/results"
)

// loading is what a running server is loaded with.
type loading struct {
	b            *bench
	c            *contestant
	s            *process.Process
	level, block int
}

// args are sockload's.
func (l *loading) args() []string {
	return slices.Concat([]string{
		"--target", "ws://" + l.s.Addr + l.c.Path, "--protocol", string(l.c.Protocol), "--cpus", l.b.cpus.String(),
		"--server-pid", strconv.Itoa(l.s.PID()), "--server-version", l.c.version,
		"--block", strconv.Itoa(l.block + 1),
	}, l.b.speedArgs(), l.b.suite.args(l.c))
}

// trial runs a trial and adds it to the results.
func (l *loading) trial(
	ctx context.Context, phase results.Phase, connections int, rate float64, window time.Duration,
) error {
	t, err := l.try(ctx, phase, connections, rate, window)
	if err != nil {
		return l.s.Explain(err)
	}
	return l.b.append(l.c, results.Record{Trial: &t})
}

// try runs a trial.
func (l *loading) try(
	ctx context.Context, phase results.Phase, connections int, rate float64, window time.Duration,
) (t results.Trial, err error) {
	t, err = sockload.Trial(ctx, l.b.program("sockload"), slices.Concat([]string{
		"--connections", strconv.Itoa(connections),
		"--rate", strconv.FormatFloat(rate, 'f', -1, 64), "--window", window.String(),
	}, l.args())...)
	if err != nil {
		return t, err
	}
	t.Phase = phase
	roundTrip := ""
	if t.Nominal > 0 {
		roundTrip = fmt.Sprintf(", %.0f messages a second nominal, %.0f delivered, round trip mean %.2f ms",
			t.Nominal, t.Delivered, t.RTT.Mean)
	}
	fmt.Printf("%d connections (%s)%s, server memory %.1f MB\n", t.Connections, phase, roundTrip, memoryMB(&t))
	return t, nil
}

const (
	// equalTime is the window of trials in which all are loaded alike.
	equalTime = 10 * time.Second
	// equalAttempts is how often such a trial is made that says nothing of the server.
	equalAttempts = 5
	noisyTime     = 5 * time.Second
)

// rates loads the server with the suite's rates, one after the other, up to the first that it does not carry.
func (l *loading) rates(ctx context.Context) error {
	for _, rate := range l.b.suite.rates {
		t, err := l.equal(ctx, rate)
		if err != nil {
			return l.s.Explain(err)
		}
		if err := l.b.append(l.c, results.Record{Trial: &t}); err != nil || t.Conclusive() && !t.Carried() {
			return err
		}
	}
	return nil
}

// equal is a trial at a rate that says something of the server, if one of some does.
func (l *loading) equal(ctx context.Context, rate float64) (results.Trial, error) {
	t, err := conclusive(
		func() (results.Trial, error) { return l.try(ctx, results.PhaseEqual, l.level, rate, l.b.equal) },
		func() error { return wait(ctx, l.b.noisyTime) },
	)
	return t, cmp.Or(ctx.Err(), err)
}

// conclusive is the first of some trials that says something of the server, or the last, with a pause behind one that
// was disturbed. One that fails behind another may have found the server busy with it: the other is kept.
func conclusive(try func() (results.Trial, error), pause func() error) (last results.Trial, err error) {
	for i := range equalAttempts {
		t, err := try()
		if err != nil && i > 0 {
			fmt.Printf("The trial before it is kept: %v\n", err)
			break
		}
		if last = t; err != nil || t.Conclusive() {
			return t, err
		}
		fmt.Printf("That says nothing of the server: %s\n", t.Reason)
		if t.Verdict == results.Noisy && pause() != nil {
			break
		}
	}
	return last, nil
}

// speedArgs tell sockload the best speed that the CPUs had in the run's trials so far: no process knows of another's. A
// trial from before that one may be too slow and not NOISY: the tables look for those.
func (b *bench) speedArgs() []string {
	least := 0.
	for _, c := range b.contestants {
		records, _ := results.ReadFile(b.file(c.Name)) // of one that breaks off, what is there
		for _, r := range records {
			if r.Trial != nil {
				least = r.Trial.LessWork(least)
			}
		}
	}
	if least == 0 {
		return nil
	}
	return []string{"--work-us", strconv.FormatFloat(least, 'f', -1, 64)}
}

// wait waits for a time, or until the context ends, which is an error.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hasRates tells whether a contestant has been loaded with all rates that it carries.
func (b *bench) hasRates(c *contestant, level, block int) bool {
	records, _ := results.ReadFile(b.file(c.Name)) // of one that breaks off, what is there
	return slices.ContainsFunc(records, func(r results.Record) bool {
		t := r.Trial
		return t != nil && t.Phase == results.PhaseEqual && t.Connections == level && t.Block == block+1 &&
			(t.Conclusive() && !t.Carried() || t.Nominal >= 0.999*slices.Max(b.suite.rates))
	})
}

// memoryMB is the server's, 0 when it is not known.
func memoryMB(t *results.Trial) float64 {
	if t.Server == nil {
		return 0
	}
	return float64(t.Server.RSS) / 1e6
}
