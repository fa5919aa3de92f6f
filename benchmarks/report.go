package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/sockloop/sockloop/loadclient"
)

// report reads the results back, prints and writes the summary, and has sockload write the report.
func (b *bench) report(ctx context.Context) error {
	results, err := loadclient.ReadResults(b.Out)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(b.Out, "summary.md"))
	if err != nil {
		return err
	}
	fmt.Println()
	summarize(io.MultiWriter(os.Stdout, f), results)
	if err := f.Close(); err != nil {
		return err
	}
	return b.sockload(ctx, "report", b.Out)
}

// summarize writes the tables of a folder of results.
func summarize(w io.Writer, r *loadclient.Results) {
	m := &r.Manifest
	fmt.Fprintf(w, "%s, %d CPUs, Linux %s, %s. Server on CPU %d, load client on CPU %s, %s. Rates are received "+
		"messages a second, over all connections.\n\n",
		m.Machine.CPU, m.Machine.CPUs, m.Machine.Kernel, m.Machine.Go, m.ServerCPU, m.ClientCPUs,
		m.Started.Format("2006-01-02"))
	writeOverview(w, r)
	writeSaturations(w, r)
	writeMemory(w, r)
	writeControls(w, r)
	for _, s := range m.Servers {
		if s.Skipped != "" {
			fmt.Fprintf(w, "\nNot measured: %s, because %s.\n", s.Name, s.Skipped)
		}
	}
}

// writeOverview writes a row a server, the fastest first: where it saturates at the levels that all were measured at,
// and what it costs at the last of them.
func writeOverview(w io.Writer, r *loadclient.Results) {
	levels := slices.DeleteFunc(r.Levels(), func(n int) bool {
		return slices.ContainsFunc(r.Servers, func(s loadclient.ServerResults) bool {
			return len(s.At(n).Searches) == 0
		})
	})
	if len(levels) == 0 {
		return
	}
	last := levels[len(levels)-1]
	servers := slices.Clone(r.Servers)
	slices.SortFunc(servers, func(a, b loadclient.ServerResults) int {
		return cmp.Compare(b.At(last).Rate, a.At(last).Rate)
	})
	fmt.Fprint(w, "| saturates at (200 ms), with connections: |")
	for _, n := range levels {
		fmt.Fprintf(w, " %d |", n)
	}
	fmt.Fprintf(w, " at %d: × %s | p99 at half load, ms | server CPU for a delivery, µs | memory idle, MB | "+
		"sustained, MB |\n|---|%s---:|---:|---:|---:|---:|\n", last, r.Manifest.Base,
		strings.Repeat("---:|", len(levels)))
	for i := range servers {
		s := &servers[i]
		fmt.Fprintf(w, "| %s |", s.Name)
		for _, n := range levels {
			x := s.At(n)
			fmt.Fprintf(w, " %s%s |", bound(x), human(x.Rate))
		}
		x := s.At(last)
		fmt.Fprintf(w, " %s | %s | %s | %s | %s |\n", ratio(r, s, last), number(x.P99Half), number(x.CPUPerMicro),
			number(x.MemoryIdle/1e6), number(x.MemoryFull/1e6))
	}
	fmt.Fprintln(w)
}

// writeSaturations writes a row a level and server.
func writeSaturations(w io.Writer, r *loadclient.Results) {
	fmt.Fprintf(w, "| connections | server | saturates at (200 ms) | blocks (lowest–highest) | sustained for 10 s | "+
		"most delivered | p99 at half, ms | × %s | limit | share of the client's ceiling |\n", r.Manifest.Base)
	fmt.Fprintln(w, "|---:|---|---:|---:|---:|---:|---:|---:|---|---:|")
	for _, n := range r.Levels() {
		for i := range r.Servers {
			s := &r.Servers[i]
			x := s.At(n)
			if len(x.Searches) == 0 {
				continue
			}
			fmt.Fprintf(w, "| %d | %s | %s%s | %d (%s–%s) | %s | %s | %s | %s | %s | %s |\n", n, s.Name, bound(x),
				human(x.Rate), len(x.Searches), human(x.Low), human(x.High),
				human(x.Sustained), human(x.MaxDelivered), number(x.P99Half), ratio(r, s, n), limits(x.Searches),
				share(x.CeilingShare))
		}
	}
}

// number writes a figure that may be missing, with three digits, or all it has before the point.
func number(x float64) string {
	switch {
	case x == 0:
		return "–"
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

func share(x float64) string {
	if x == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*x)
}

// bound marks a rate that may be higher.
func bound(x loadclient.LevelSummary) string {
	if x.LowerBound {
		return "≥ "
	}
	return ""
}

// ratio says how many times the base a server is, with the interval of 95 % where there are blocks enough for one.
func ratio(r *loadclient.Results, s *loadclient.ServerResults, n int) string {
	c, ok := r.Ratio(s, n)
	mark := ""
	if base := r.Server(r.Manifest.Base); base != s {
		mark = bound(s.At(n))
	}
	switch {
	case !ok:
		return "–"
	case c.High > c.Low:
		return fmt.Sprintf("%s%s (%s–%s)", mark, number(c.Ratio), number(c.Low), number(c.High))
	}
	return mark + number(c.Ratio)
}

// limits says what ended the searches.
func limits(searches []loadclient.Saturation) string {
	var all []string
	for _, s := range searches {
		if l := strings.ToLower(string(s.Limit)); !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	sort.Strings(all)
	return strings.Join(all, ", ")
}

func writeMemory(w io.Writer, r *loadclient.Results) {
	const n = lightConnections
	fmt.Fprintf(w, "\n| %d connections: server memory, MB | idle | at half its saturation | at what it sustains | "+
		"%s/s: mean ms | MB | a minute after the overloads, MB |\n|---|---:|---:|---:|---:|---:|---:|\n", n,
		human(lightRate))
	for i := range r.Servers {
		x := r.Servers[i].At(n)
		if len(x.Searches) == 0 {
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Servers[i].Name, number(x.MemoryIdle/1e6),
			number(x.MemoryHalf/1e6), number(x.MemoryFull/1e6),
			number(x.LightRTT), number(x.MemoryLight/1e6), number(x.MemoryRecovered/1e6))
	}
}

// writeControls says what was found of servers of which it is known.
func writeControls(w io.Writer, r *loadclient.Results) {
	for i := range r.Servers {
		s := &r.Servers[i]
		if s.Capacity == 0 {
			continue
		}
		for _, n := range r.Levels() {
			if x := s.At(n); x.Capacity > 0 {
				fmt.Fprintf(w, "\n%s at %d connections: capacity %s, found %s (%+.1f %%), spread of the saturation "+
					"points %.1f %% (deviation of %d blocks).\n",
					s.Name, n, human(s.Capacity), human(x.Capacity), 100*(x.Capacity/s.Capacity-1), 100*x.Spread,
					len(x.Searches))
			}
		}
	}
}

func human(x float64) string {
	switch {
	case x == 0:
		return "–"
	case x >= 1e6:
		return fmt.Sprintf("%.3g million", x/1e6)
	case x >= 1e3:
		return fmt.Sprintf("%.3g thousand", x/1e3)
	}
	return fmt.Sprintf("%.3g", x)
}
