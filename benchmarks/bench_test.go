package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

// A whole run, small: two servers in turn, twice; interrupted after the first, gone on with, and reported. The manifest
// has what was measured and what was not.
func TestRun(t *testing.T) {
	t.Parallel()
	cpus, err := tuning.Allowed()
	if err != nil || len(cpus) < 2 {
		t.Skip("it wants two CPUs")
	}
	b := builtBench(t)
	b.Suite, b.Out, b.Levels, b.Blocks, b.Warm = "servers", t.TempDir(), []int{3}, 2, 100*time.Millisecond
	b.Search = []string{"--window=200ms", "--threshold=20ms", "--overload=50ms", "--confirm=200ms", "--curve=0.5",
		"--precision=1", "--drain=500ms", "--quiet", "--patience=1s"}
	b.suite, b.cpus = suites["servers"], cpus[1:2]
	b.suite.load = nil
	b.idle = 100 * time.Millisecond
	control := func(name string) *contestant { // quick to search, and it never breaks a connection
		return &contestant{peer: &peer{}, Name: name, Protocol: results.WebSocket, Path: "/",
			Run: []string{"{bin}/fixed", "--addr", "{addr}", "--capacity", "20000"}}
	}
	absent := &contestant{peer: &peer{Needs: []string{"no-such-program"}}, Name: "absent", Run: []string{"x"},
		Protocol: results.SockJS}
	all := []*contestant{control("first"), control("second"), absent}
	order := func() (names []string, r *results.Measurement) {
		t.Helper()
		r, err := results.Load(results.Options{}, b.Out)
		if err != nil {
			t.Fatal(err)
		}
		type made struct {
			at   time.Time
			name string
		}
		var searches []made
		for _, s := range r.Servers {
			for _, x := range s.Searches {
				searches = append(searches, made{x.Time, s.Name})
			}
		}
		slices.SortFunc(searches, func(a, b made) int { return a.at.Compare(b.at) })
		for _, s := range searches {
			names = append(names, s.name)
		}
		return names, r
	}

	b.contestants = slices.Clone(all)
	ctx, interrupt := context.WithCancel(t.Context())
	measured := make(chan struct{})
	go func() {
		defer close(measured)
		for ctx.Err() == nil { // until it is the second one's turn
			if _, err := os.Stat(b.file(all[1].Name)); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		interrupt()
	}()
	if err := b.measureAll(ctx); !errors.Is(err, errInterrupted) {
		t.Fatal(err)
	}
	<-measured
	if names, r := order(); !slices.Equal(names, []string{"first"}) || !r.Manifest.Finished.IsZero() {
		t.Fatalf("interrupted: %v %+v", names, r.Manifest)
	}

	interrupted, err := results.ReadManifest(b.Out)
	if err != nil {
		t.Fatal(err)
	}
	other := interrupted
	other.ClientVersion = "another"
	if err := other.Write(b.Out); err != nil {
		t.Fatal(err)
	}
	b.contestants = slices.Clone(all)
	err = b.measureAll(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the results there are of sockload another, and this is") {
		t.Fatalf("another version goes on: %v", err)
	}
	if kept, err := results.ReadManifest(b.Out); err != nil || kept.ClientVersion != "another" {
		t.Fatalf("it has overwritten the manifest: %+v %v", kept, err)
	}
	if err := interrupted.Write(b.Out); err != nil {
		t.Fatal(err)
	}

	b.contestants = slices.Clone(all)
	if err := b.measureAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	names, r := order()
	if !slices.Equal(names, []string{"first", "second", "first", "second"}) || r.Manifest.Finished.IsZero() {
		t.Errorf("%v %+v", names, r.Manifest)
	}
	if r.Wall(3) <= 0 || len(r.KernelWalls) != 2*3 { // two blocks, three sizes
		t.Errorf("the kernel's wall is %v, of %d measurements", r.Wall(3), len(r.KernelWalls))
	}
	served, err := version.Of(filepath.Join(b.Bin, "fixed"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Servers {
		x := r.Servers[i].At(3)
		if len(x.Searches) != 2 || x.Idle.Anon <= 0 {
			t.Fatalf("%s: %+v", r.Servers[i].Name, x)
		}
		quiet := x.Searches[0].Limit != results.Noisy
		if f := &x.Searches[0]; quiet && (f.Rate <= 0 || f.Ceiling == nil) {
			t.Errorf("%s: %+v", r.Servers[i].Name, x)
		}
		for block, f := range r.Servers[i].Searches {
			if f.Block != block+1 || f.ClientVersion != r.Manifest.ClientVersion ||
				f.ServerVersion != served {
				t.Errorf("%s: search %d says %+v", r.Servers[i].Name, block+1, f.Provenance)
			}
		}
	}
	summary, err := os.ReadFile(filepath.Join(b.Out, "summary.md"))
	absence := "Not measured: absent, because no-such-program is not there."
	if err != nil || !strings.Contains(string(summary), "| 3 | first |") ||
		!strings.Contains(string(summary), absence) {
		t.Errorf("%v\n%s", err, summary)
	}
	page, err := os.ReadFile(filepath.Join(b.Out, "report.html"))
	if err != nil || !strings.Contains(string(page), "Not measured: absent") {
		t.Errorf("no report: %v", err)
	}

	b.contestants, b.Blocks, b.Levels = slices.Clone(all[:1]), 1, []int{2}
	if folder, err := b.freeFolder(b.Out); err != nil || folder != b.Out+"-2" {
		t.Errorf("%s, %v", folder, err)
	}
	if err := b.measureAll(t.Context()); err != nil { // a further level, of one of them
		t.Fatal(err)
	}
	if names, r := order(); !slices.Equal(names, []string{"first", "second", "first", "second", "first"}) ||
		!slices.Equal(r.Manifest.Levels, []int{2, 3}) || r.Manifest.Blocks != 2 || len(r.Manifest.Servers) != 3 {
		t.Errorf("%v %+v", names, r.Manifest)
	}
	b.Suite = "walls"
	if err := b.measureAll(t.Context()); err == nil || !strings.Contains(err.Error(), "--fresh") {
		t.Fatalf("it replaced another suite's results: %v", err)
	}
	b.Suite, b.Fresh = "servers", true
	if err := b.measureAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names, _ := order(); !slices.Equal(names, []string{"first"}) {
		t.Errorf("another run: %v", names)
	}
}

// A search that ended at the load client is made once more, and then counts, whatever it found; one that ended because
// the machine was busy is made again when that is asked for.
func TestSearchMadeAgain(t *testing.T) {
	t.Parallel()
	built := builtBench(t)
	for name, tt := range map[string]struct {
		limits string
		again  bool
		made   int
		found  float64
	}{
		"no":                      {"OVERLOADED 9\n", false, 1, 9},
		"once":                    {"CLIENT-LIMITED 9\nOVERLOADED 8\n", false, 2, 8},
		"twice":                   {"CLIENT-LIMITED 8\nCLIENT-LIMITED 9\n", false, 2, 9},
		"busy":                    {"NOISY 9\nOVERLOADED 8\n", false, 1, 9},
		"busy, asked for":         {"NOISY 9\nOVERLOADED 8\n", true, 2, 8},
		"busy, and the client":    {"NOISY 9\nCLIENT-LIMITED 8\nOVERLOADED 7\n", true, 3, 7},
		"the client, and busy":    {"CLIENT-LIMITED 9\nNOISY 8\nOVERLOADED 7\n", true, 3, 7},
		"a busy one counts":       {"NOISY 9\nCLIENT-LIMITED 8\nCLIENT-LIMITED 7\nOVERLOADED 6\n", true, 4, 6},
		"not busy, and asked for": {"OVERLOADED 9\nOVERLOADED 8\n", true, 1, 9},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := built
			b.Bin, b.Out = t.TempDir(), t.TempDir()
			fake, err := filepath.Abs("testdata/sockload")
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(os.Symlink(fake, filepath.Join(b.Bin, "sockload")),
				os.WriteFile(filepath.Join(b.Bin, "limits"), []byte(tt.limits), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			c := &contestant{peer: &peer{}, Name: "x", Protocol: results.WebSocket, Path: "/",
				Run: []string{filepath.Join(built.Bin, "fixed"), "--addr", "{addr}", "--capacity", "20000"}}
			for _, b.Again = range []bool{false, tt.again, tt.again} { // runs that go on
				if !b.due(c, 3, 0) {
					continue
				}
				if err := b.measureRetrying(t.Context(), c, 3, 0); err != nil {
					t.Fatal(err)
				}
			}
			records, err := results.ReadFile(b.file("x"))
			if err != nil {
				t.Fatal(err)
			}
			made := 0
			for _, r := range records {
				if r.Saturation != nil {
					made++
				}
			}
			found := b.searches(c, 3)
			if len(found) != 1 || found[0].Rate != tt.found || made != tt.made || !b.has(c, 3, 0) || b.has(c, 3, 1) {
				t.Errorf("made %d, found %+v", made, found)
			}
		})
	}
}

// Servers are loaded alike, each up to the first rate that it does not carry; an interrupted run goes on behind those
// that have been.
func TestEqualLoad(t *testing.T) {
	t.Parallel()
	cpus, err := tuning.Allowed()
	if err != nil || len(cpus) < 2 {
		t.Skip("it wants two CPUs")
	}
	b := builtBench(t)
	b.Suite, b.Out, b.Levels, b.Blocks, b.Warm = "equal", t.TempDir(), []int{3}, 1, 100*time.Millisecond
	b.cpus, b.idle, b.equal = cpus[1:2], 100*time.Millisecond, 500*time.Millisecond
	b.suite = suite{base: "slow", levels: b.Levels, rates: []float64{3000, 300_000, 600_000}}
	control := &contestant{peer: &peer{}, Name: "slow", Protocol: results.WebSocket, Path: "/",
		Run: []string{"{bin}/fixed", "--addr", "{addr}", "--capacity", "20000"}}
	measure := func() (equal []results.Trial) {
		t.Helper()
		b.contestants = []*contestant{control}
		if err := b.measureAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		records, err := results.ReadFile(b.file("slow"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if r.Trial != nil && r.Trial.Phase == results.PhaseEqual {
				equal = append(equal, *r.Trial)
			}
		}
		return equal
	}
	first := measure()
	for i, x := range first { // on a busy machine they may say nothing
		if fell := x.Conclusive() && !x.Carried(); fell && i < len(first)-1 || x.Nominal > 100_000 && x.Carried() {
			t.Errorf("trial %d of %d, at %.0f: %s %s", i+1, len(first), x.Nominal, x.Verdict, x.Reason)
		}
	}
	b.manifest.Finished = time.Time{} // as if it had been interrupted
	if err := b.manifest.Write(b.Out); err != nil {
		t.Fatal(err)
	}
	if again := measure(); len(again) != len(first) {
		t.Errorf("%d trials, and then %d", len(first), len(again))
	}
	summary, err := os.ReadFile(filepath.Join(b.Out, "summary.md"))
	if err != nil || !strings.Contains(string(summary), "messages a second, nominal, at 3 connections") {
		t.Errorf("%v\n%s", err, summary)
	}
}

// A trial that says nothing of the server is made again, and kept where the next one fails: the server may be busy with
// what it left.
func TestConclusive(t *testing.T) {
	t.Parallel()
	fails := errors.New("the target failed")
	for _, tt := range []struct {
		name     string
		verdicts []results.Verdict // what the trials come to; then they fail
		want     results.Verdict
		pauses   int
		err      error
	}{
		{"at once", []results.Verdict{results.OK}, results.OK, 0, nil},
		{"disturbed once", []results.Verdict{results.Noisy, results.OK}, results.OK, 1, nil},
		{"the client's fault", []results.Verdict{results.ClientLimited, results.OK}, results.OK, 0, nil},
		{"always disturbed", slices.Repeat([]results.Verdict{results.Noisy}, 9), results.Noisy, equalAttempts, nil},
		{"busy with the one before", []results.Verdict{results.Noisy}, results.Noisy, 1, nil},
		{"broken", nil, "", 0, fails},
	} {
		made, pauses := 0, 0
		got, err := conclusive(func() (x results.Trial, err error) {
			if made++; made > len(tt.verdicts) {
				return x, fails
			}
			return results.Trial{Verdict: tt.verdicts[made-1]}, nil
		}, func() error { pauses++; return nil })
		if got.Verdict != tt.want || pauses != tt.pauses || !errors.Is(err, tt.err) {
			t.Errorf("%s: %s after %d pauses, %v", tt.name, got.Verdict, pauses, err)
		}
	}
}

// Each process of sockload is told how fast the CPUs were in all others of the run, also of one that goes on.
func TestSpeedOfTheRun(t *testing.T) {
	t.Parallel()
	b := bench{flags: flags{Out: t.TempDir()}, contestants: []*contestant{{Name: "new"}, {Name: "a"}, {Name: "b"}}}
	if got := b.speedArgs(); len(got) > 0 {
		t.Errorf("%v, without a trial", got)
	}
	for i, x := range []results.Trial{
		{Verdict: results.OK, Window: 3, Noise: &results.Noise{Work: 30}},
		{Verdict: results.Overloaded, Window: 3, Noise: &results.Noise{Work: 21.5}},
		{Verdict: results.OK, Window: 0.5, Noise: &results.Noise{Work: 18}}, // too short to tell
		{Verdict: results.Noisy, Window: 3, Noise: &results.Noise{Work: 19}},
		{Verdict: results.OK, Window: 3, Noise: &results.Noise{}}, // not gauged
		{Verdict: results.OK, Window: 3},
	} {
		x.Connections, x.Phase = 1, results.PhaseBracket
		if err := b.append(b.contestants[1+i%2], results.Record{Trial: &x}); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.speedArgs(); !slices.Equal(got, []string{"--work-us", "21.5"}) {
		t.Errorf("%v, want that of the fastest", got)
	}
}
