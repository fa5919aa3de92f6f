package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sockloop/sockloop/benchmarks/internal/sockload"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

type bench struct {
	flags
	suite       suite
	cpus        tuning.CPUs
	contestants []*contestant
	manifest    results.Manifest

	idle  time.Duration // how long connections are watched without load
	equal time.Duration // the window of trials in which all are loaded alike

	noisyTime time.Duration // how long it is waited behind one that was disturbed
}

const idleTime = time.Second

func (b *bench) file(name string) string { return filepath.Join(b.Out, name+".jsonl") }

// measureAll measures block by block, level by level, every contestant in turn, so that what the machine's hour does to
// them it does to all. What an interrupted run has measured already is left out.
func (b *bench) measureAll(ctx context.Context) error {
	if err := b.begin(ctx); err != nil {
		return err
	}
	var failed error
	for block := range b.Blocks {
		for _, n := range b.levels(block) {
			if err := b.measureWall(ctx, n, block); err != nil && ctx.Err() == nil {
				failed = errors.Join(failed, err) // the servers are measured all the same
				fmt.Println(err)
			}
			if ctx.Err() != nil {
				return errors.Join(b.report(context.WithoutCancel(ctx)), errInterrupted)
			}
			for _, c := range b.contestants {
				wanted := slices.Contains(b.Levels, n) || slices.Contains(b.suite.full, c.Name)
				if !b.due(c, n, block) || !wanted {
					continue
				}
				fmt.Printf("\n%s at %d connections, block %d of %d:\n", c.Name, n, block+1, b.Blocks)
				err := b.measureRetrying(ctx, c, n, block)
				if ctx.Err() != nil {
					return errors.Join(b.report(context.WithoutCancel(ctx)), errInterrupted)
				}
				if err != nil {
					// the others are measured all the same
					failed = errors.Join(failed, fmt.Errorf("%s at %d connections: %w", c.Name, n, err))
					fmt.Println(err)
				}
			}
		}
	}
	b.manifest.Finished = time.Now().UTC()
	if err := b.manifest.Write(b.Out); err != nil {
		return err
	}
	return errors.Join(b.report(ctx), failed)
}

// Sizes of a send with which the kernel's wall is measured: the best of them is the wall.
const (
	wallBytes  = "16384,65536,262144"
	wallWindow = "500ms"
)

// measureWall measures what one thread can send at a level, at the beginning of it in each block, where servers are
// searched for what they can send.
func (b *bench) measureWall(ctx context.Context, level, block int) error {
	file := filepath.Join(b.Out, results.WallFile)
	records, _ := results.ReadFile(file) // of one that breaks off, what is there
	known := slices.ContainsFunc(records, func(r results.Record) bool {
		return r.Wall != nil && r.Wall.Connections == level && r.Wall.Block == block+1
	})
	if known || len(b.suite.rates) > 0 {
		return nil
	}
	out, err := exec.CommandContext(ctx, b.program("limit"), "--connections", strconv.Itoa(level),
		"--bytes", wallBytes, "--window", wallWindow, "--cpu", strconv.Itoa(b.ServerCPU),
		"--reader-cpu", strconv.Itoa(b.cpus[0])).Output()
	if err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	for lines := json.NewDecoder(bytes.NewReader(out)); lines.More(); {
		w := results.Wall{}
		if err := lines.Decode(&w); err != nil {
			return fmt.Errorf("limit: %w", err)
		}
		w.Block = block + 1
		if err := appendRecord(file, results.Record{Wall: &w}); err != nil {
			return err
		}
	}
	return nil
}

var errInterrupted = errors.New("interrupted; the same command goes on with what is left")

// levels are those of a block.
func (b *bench) levels(block int) []int {
	if block > 0 || len(b.suite.full) == 0 || !slices.Equal(b.Levels, b.suite.levels) {
		return b.Levels
	}
	return results.LevelsOf2011
}

// freeFolder is the first of name, name-2, name-3 … that is to be measured into: one without a run, or with this one,
// interrupted. With --fresh it is the name itself.
func (b *bench) freeFolder(name string) (string, error) {
	folder := name
	for i := 2; ; i++ {
		old, err := results.ReadManifest(folder)
		switch {
		case b.Fresh, errors.Is(err, os.ErrNotExist), err == nil && b.goesOn(old):
			return folder, nil
		case err != nil:
			return "", err
		}
		folder = fmt.Sprintf("%s-%d", name, i)
	}
}

// goesOn tells whether an earlier run is this one, and was interrupted.
func (b *bench) goesOn(old results.Manifest) bool {
	return old.Finished.IsZero() && old.Suite == b.Suite && slices.Equal(old.Levels, b.Levels) &&
		slices.EqualFunc(old.Servers, b.contestants, func(s results.ManifestServer, c *contestant) bool {
			return s.Name == c.Name
		})
}

// begin leaves out what cannot be run, and says so; and writes the manifest. Results that are there are added to, if
// they are of the same suite, machine and versions; others are removed with --fresh only.
func (b *bench) begin(ctx context.Context) error {
	old, err := results.ReadManifest(b.Out)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	goesOn := err == nil && !b.Fresh
	if goesOn && old.Suite != b.Suite {
		return fmt.Errorf("%s holds the results of the suite %s: --fresh replaces them, "+
			"--out another folder keeps them", b.Out, old.Suite)
	}
	if !goesOn {
		if err := b.removeOld(old); err != nil {
			return err
		}
	}
	if err := b.describe(ctx); err != nil {
		return err
	}
	if goesOn {
		if err := b.manifest.Continue(&old); err != nil {
			return fmt.Errorf("%s: %w", b.Out, err)
		}
		fmt.Printf("going on with the run in %s\n", b.Out)
	}
	return b.manifest.Write(b.Out)
}

// describe makes the manifest, and leaves out the contestants that cannot be run.
func (b *bench) describe(ctx context.Context) error {
	client, err := exec.CommandContext(ctx, b.program("sockload"), "--version").Output()
	if err != nil {
		return fmt.Errorf("sockload --version: %w (make build)", err)
	}
	b.manifest = results.Manifest{
		Machine: *results.ThisMachine(), ClientVersion: strings.TrimSpace(string(client)),
		Suite: b.Suite, Levels: b.Levels, Blocks: b.Blocks, Base: b.suite.base,
		ServerCPU: b.ServerCPU, ClientCPUs: b.cpus.String(), Started: time.Now().UTC(),
	}
	here := b.contestants[:0:0]
	for _, c := range b.contestants {
		s := results.ManifestServer{
			Name: c.Name, About: c.about(), Protocol: c.Protocol, Command: c.Run, Capacity: c.Capacity, Of: c.of,
		}
		if err := c.installed(ctx, b.Bin); err != nil {
			s.Skipped = err.Error()
			fmt.Printf("skipped: %s, because %v\n", c.Name, err)
		} else {
			here = append(here, c)
		}
		s.Version = c.version
		b.manifest.Servers = append(b.manifest.Servers, s)
	}
	b.contestants = here
	return nil
}

func (c *contestant) about() string {
	if c.About == "" {
		return c.peer.About
	}
	return c.About
}

// removeOld removes the results of an earlier run in the folder.
func (b *bench) removeOld(old results.Manifest) error {
	names := []string{strings.TrimSuffix(results.WallFile, ".jsonl")}
	for _, s := range old.Servers {
		names = append(names, s.Name)
	}
	for _, c := range b.contestants {
		names = append(names, c.Name)
	}
	for _, name := range names {
		if err := os.Remove(b.file(name)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// has tells whether a contestant has been measured at a level, in a block.
func (b *bench) has(c *contestant, level, block int) bool {
	if len(b.suite.rates) > 0 {
		return b.hasRates(c, level, block)
	}
	return b.last(c, level, block) != nil
}

// due tells whether a contestant is to be measured at a level, in a block: it has not been, or its search is to be made
// again.
func (b *bench) due(c *contestant, level, block int) bool {
	if !b.has(c, level, block) {
		return true
	}
	last := b.last(c, level, block) // nil in suites that search nothing
	return b.Again && last != nil && slices.ContainsFunc(b.searches(c, level), func(s results.Saturation) bool {
		busy := s.Limit == results.Noisy || last.Limit == results.Noisy // the last is not always the one that counts
		return s.Block == block+1 && s.LowerBound() && busy
	})
}

// last is the last search of a contestant at a level, in a block, whether it counts or not; nil is none.
func (b *bench) last(c *contestant, level, block int) *results.Saturation {
	records, _ := results.ReadFile(b.file(c.Name)) // of one that breaks off, what is there
	for _, r := range slices.Backward(records) {
		if s := r.Saturation; s != nil && s.Connections == level && s.Block == block+1 {
			return s
		}
	}
	return nil
}

// searches are those of a contestant at a level that count.
func (b *bench) searches(c *contestant, level int) []results.Saturation {
	records, _ := results.ReadFile(b.file(c.Name)) // of one that breaks off, what is there
	return slices.DeleteFunc(results.Searches(records), func(s results.Saturation) bool {
		return s.Connections != level
	})
}

func (b *bench) sockload(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, b.program("sockload"), args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = trialMax
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return sockload.Measured(cmd.Run())
}

// trialMax is longer than any trial, which sockload ends before it heeds a signal.
const trialMax = 30 * time.Second

// recovery is how long a server has to give its memory back after the search's overloads.
const recovery = time.Minute

// Before a search the server's program gets warm: compilers at run time need it.
const (
	warmRate        = 30_000
	warmConnections = 100
	lightTime       = 3 * time.Second
)

// laterCurve is what is tried of the curve in all blocks but the first: the whole of it is worth drawing once, half of
// the load is a figure of the tables.
const laterCurve = "--curve=0.5"

// measureRetrying measures, and once more if that ended at the load client, which may have had a bad minute on a shared
// machine. What is found then counts, unless it is a worse bound ([results.Discarded]). What has been measured already
// ([bench.due]) is made again in the same way.
func (b *bench) measureRetrying(ctx context.Context, c *contestant, level, block int) error {
	if err := b.measureAgain(ctx, c, level, block); err != nil {
		return err
	}
	if s := b.last(c, level, block); s == nil || s.Limit != results.ClientLimited {
		return nil
	}
	fmt.Println("It ended at the load client and not at the server: once more.")
	return b.measureAgain(ctx, c, level, block)
}

// measureAgain measures, and says before in the results that an earlier search of the block does not count, if there is
// one.
func (b *bench) measureAgain(ctx context.Context, c *contestant, level, block int) error {
	if s := b.last(c, level, block); s != nil {
		again := results.Record{Discarded: &results.Discarded{Connections: level, Reason: s.Reason}}
		if err := b.append(c, again); err != nil {
			return err
		}
	}
	return b.measure(ctx, c, level, block)
}

// measure starts a server, and measures it at a level: without load, getting warm, and searching its capacity.
func (b *bench) measure(ctx context.Context, c *contestant, level, block int) error {
	s, err := b.start(ctx, c)
	if err != nil {
		return err
	}
	defer s.Stop()
	l := loading{b: b, c: c, s: s, level: level, block: block}
	if err := l.trial(ctx, results.PhaseIdle, level, 0, b.idle); err != nil {
		return err
	}
	if err := l.trial(ctx, results.PhaseWarm, min(level, warmConnections), warmRate, b.Warm); err != nil {
		return err
	}
	if len(b.suite.rates) > 0 {
		return l.rates(ctx)
	}
	light := b.suite.light && level == results.LightConnections
	if light {
		if err := l.trial(ctx, results.PhaseLight, level, results.LightRate, lightTime); err != nil {
			return err
		}
	}
	search := slices.Concat([]string{"run", "--levels", strconv.Itoa(level), "--out", b.file(c.Name)}, l.args())
	if block > 0 && !slices.ContainsFunc(b.Search, func(arg string) bool { return strings.HasPrefix(arg, "--curve") }) {
		search = append(search, laterCurve)
	}
	search = append(search, b.Search...)
	if err := b.sockload(ctx, search...); err != nil {
		return s.Explain(err)
	}
	if light {
		return l.trial(ctx, results.PhaseRecovered, level, results.LightRate, recovery)
	}
	return nil
}

// append adds a record to a contestant's results.
func (b *bench) append(c *contestant, r results.Record) error { return appendRecord(b.file(c.Name), r) }

func appendRecord(file string, r results.Record) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(results.NewWriter(f).Write(r), f.Close())
}

// program is the path of a built program, with a slash in it even for the working folder: it is not looked up in PATH.
func (b *bench) program(name string) string { return b.Bin + string(filepath.Separator) + name }
