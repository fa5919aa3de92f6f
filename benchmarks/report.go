package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/sockloop/sockloop/loadclient"
)

// found is what was found of one server, by level: a value for each block.
type found struct {
	saturation map[int][]loadclient.Saturation
	phases     map[string][]loadclient.Trial
}

// report reads the results back, and prints and writes the summary.
func (b *bench) report() error {
	f, err := os.Create(filepath.Join(b.Out, b.suite.summary))
	if err != nil {
		return err
	}
	fmt.Println()
	return firstError(b.summarize(io.MultiWriter(os.Stdout, f)), f.Close())
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (b *bench) summarize(w io.Writer) error {
	var ceilings map[int]float64
	var err error
	if b.suite.ceiling {
		if ceilings, err = readCeilings(b.file("ceiling")); err != nil {
			return err
		}
	}
	all := map[string]found{}
	for _, name := range b.suite.names() {
		if all[name], err = read(b.file(name)); err != nil {
			return err
		}
	}
	m := loadclient.ThisMachine()
	fmt.Fprintf(w, "%s, %d CPUs, Linux %s, %s. Server on CPU %d, load client on CPU %s, %d block(s) of at least 3 trials.\n\n",
		m.CPU, m.CPUs, m.Kernel, m.Go, b.ServerCPU, b.cpus, b.Blocks)
	b.suite.writeTable(w, all, ceilings)
	b.suite.writePhases(w, all)
	return nil
}

func readCeilings(path string) (map[int]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	records, err := loadclient.ReadRecords(f)
	ceilings := map[int]float64{}
	for _, r := range records {
		if r.Ceiling != nil {
			ceilings[r.Ceiling.Connections] = r.Ceiling.Delivered
		}
	}
	return ceilings, err
}

func read(path string) (found, error) {
	r := found{map[int][]loadclient.Saturation{}, map[string][]loadclient.Trial{}}
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	defer f.Close() //nolint:errcheck // only read from
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			loadclient.Record
			phase
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return r, fmt.Errorf("%s: %w", path, err)
		}
		if s := line.Saturation; s != nil {
			r.saturation[s.Connections] = append(r.saturation[s.Connections], *s)
		}
		if line.Phase != "" {
			r.phases[line.Phase] = append(r.phases[line.Phase], line.phase.Trial)
		}
	}
	return r, lines.Err()
}

// writeTable writes a row a level and server: where it saturates, what it delivered at the highest rate that held (the
// median of the trials, lowest and highest behind it; of an even number of blocks the lower middle one), and how many times
// the base that is, block by block.
func (s *suite) writeTable(w io.Writer, all map[string]found, ceilings map[int]float64) {
	fmt.Fprintf(w, "| connections | server | saturation (200 ms), messages/s | delivered, messages/s | mean ms | p99 ms | limit | × %s | client's ceiling |\n", s.base)
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	var levels []int
	for n := range all[s.names()[0]].saturation {
		levels = append(levels, n)
	}
	sort.Ints(levels)
	for _, n := range levels {
		for _, name := range s.names() {
			runs := slices.Clone(all[name].saturation[n])
			if len(runs) == 0 {
				continue
			}
			multiple := ratio(all[s.base].saturation[n], runs)
			sort.Slice(runs, func(i, j int) bool { return runs[i].Rate < runs[j].Rate })
			median := runs[(len(runs)-1)/2]
			low, high := math.Inf(1), 0.0
			limits := map[string]bool{}
			for _, found := range runs {
				low, high = min(low, found.Low), max(high, found.High)
				limits[string(found.Limit)] = true
			}
			ceiling := "–"
			if c := ceilings[n]; c > 0 {
				ceiling = human(c)
			}
			fmt.Fprintf(w, "| %d | %s | %s | %s (%s–%s) | %.1f | %.1f | %s | %s | %s |\n", n, name, human(median.Rate), human(median.Best.Delivered), human(low), human(high),
				median.Best.RTT.Mean, median.Best.RTT.P99, keys(limits), multiple, ceiling)
		}
	}
}

// ratio says how many times the base a server is, with the interval of 95 % where there are blocks enough for one.
func ratio(base, runs []loadclient.Saturation) string {
	if len(base) == 0 {
		return "–"
	}
	for i := range runs {
		runs[i].Protocol = base[0].Protocol // that they differ may be the point
	}
	c, err := loadclient.CompareLevel(base, runs)
	switch {
	case err != nil:
		return "–"
	case c.High > c.Low:
		return fmt.Sprintf("%s (%s–%s)", times(c.Ratio), times(c.Low), times(c.High))
	}
	return times(c.Ratio)
}

// times writes a ratio with three digits, or all it has before the point.
func times(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

func (s *suite) writePhases(w io.Writer, all map[string]found) {
	fmt.Fprintf(w, "\n| %d connections, %s messages/s delivered | round trip mean ms | server memory MB | a minute after the overloads, MB |\n|---|---|---|---|\n", lightConnections, human(lightRate))
	for _, name := range s.names() {
		p := all[name].phases
		if len(p["light"]) == 0 || len(p["recovered"]) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s | %.2f | %.1f | %.1f |\n", name, middle(p["light"], meanRTT), middle(p["light"], memoryMB), middle(p["recovered"], memoryMB))
	}
}

func meanRTT(t loadclient.Trial) float64  { return t.RTT.Mean }
func memoryMB(t loadclient.Trial) float64 { return float64(t.Server.RSS) / 1e6 }

// middle is the median of a figure.
func middle(trials []loadclient.Trial, figure func(loadclient.Trial) float64) float64 {
	var all []float64
	for _, t := range trials {
		all = append(all, figure(t))
	}
	sort.Float64s(all)
	return all[(len(all)-1)/2]
}

func keys(set map[string]bool) string {
	var all []string
	for k := range set {
		all = append(all, k)
	}
	sort.Strings(all)
	return strings.ToLower(strings.Join(all, ", "))
}

func human(x float64) string {
	switch {
	case x >= 1e6:
		return fmt.Sprintf("%.3g million", x/1e6)
	case x >= 1e3:
		return fmt.Sprintf("%.3g thousand", x/1e3)
	}
	return fmt.Sprintf("%.3g", x)
}
