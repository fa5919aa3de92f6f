package results

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// WriteMarkdown writes the tables of a measurement.
func (m *Measurement) WriteMarkdown(w io.Writer) {
	f := &m.Manifest
	fmt.Fprintf(w, "%s, %d CPUs, Linux %s, %s. Server on CPU %d, load client on CPU %s, %s. sockload %s.\n\n",
		f.Machine.CPU, f.Machine.CPUs, f.Machine.Kernel, f.Machine.Go, f.ServerCPU, f.ClientCPUs,
		f.Started.Format("2006-01-02"), orOld(m.ClientVersion()))
	fmt.Fprint(w, explanation)
	m.writeOverview(w)
	m.writeSaturations(w)
	if len(m.KernelWalls) > 0 {
		fmt.Fprintf(w, "\n%s\n", StandsText)
	}
	m.writeNotes(w)
	names, walls := m.WallsTable()
	table(w, WallsText, 2, names, walls)
	m.writeEqual(w)
	table(w, "Connections that do nothing (memory: anonymous + file-backed):", 1, RampHead, m.RampTable())
	m.writeMemory(w)
	table(w, AgentsText, 1, AgentsHead, m.AgentsTable())
	m.writeControls(w)
	for _, s := range f.Servers {
		if s.Skipped != "" {
			fmt.Fprintf(w, "\nNot measured: %s, because %s.\n", s.Name, s.Skipped)
		}
	}
}

const explanation = `Rates are messages a second over all connections. Nominal is messages sent a second × connections;
delivered is what was received in the window. Figures are medians of the blocks, a failure counted as 0. A ratio is the
median of the blocks' ratios; in brackets is its interval, between two of the blocks, and how sure that interval is.
≥ and ≤ are bounds: the load client or the machine was the limit of one side. † 200 ms was not reached: the server broke
connections or lost messages first.

`

// row writes a row of a table.
func row(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

// head writes the head of a table, whose first columns are text.
func head(w io.Writer, text int, cells ...string) {
	row(w, cells...)
	fmt.Fprintf(w, "|%s%s\n", strings.Repeat("---|", text), strings.Repeat("---:|", len(cells)-text))
}

// table writes a table with what it is about, whose first columns are text; without rows nothing.
func table(w io.Writer, about string, text int, names []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n\n", about)
	head(w, text, names...)
	for _, cells := range rows {
		row(w, cells...)
	}
}

// writeOverview writes a row a server, the fastest first: where it saturates at the levels that all were measured at,
// and what it costs at the last of them.
func (m *Measurement) writeOverview(w io.Writer) {
	levels := slices.DeleteFunc(m.Levels(), func(n int) bool {
		return slices.ContainsFunc(m.Servers, func(s Server) bool { return len(s.searchesAt(n)) == 0 })
	})
	if len(levels) == 0 {
		return
	}
	last := levels[len(levels)-1]
	servers := slices.Clone(m.Servers)
	slices.SortStableFunc(servers, func(a, b Server) int {
		return cmp.Compare(b.At(last).Rate.Median, a.At(last).Rate.Median)
	})
	cells := []string{"saturates at, nominal / delivered at most, with connections:"}
	for _, n := range levels {
		cells = append(cells, fmt.Sprint(n))
	}
	head(w, 1, append(cells, fmt.Sprintf("at %d: × %s", last, m.Manifest.Base), "p99 at half load, ms",
		"server CPU for a delivery, µs", "memory idle, MB", "sustained, MB")...)
	for i := range servers {
		s := &servers[i]
		cells := []string{s.Name}
		for _, n := range levels {
			x := s.At(n)
			cells = append(cells, saturation(&x)+" / "+measured(x.MaxDelivered))
		}
		x := s.At(last)
		row(w, append(cells, m.ratio(s, last), number(x.P99Half), number(x.CPUPerMicro),
			megabytes(x.Idle.RSS), megabytes(x.Full.RSS))...)
	}
	fmt.Fprintln(w)
}

// writeSaturations writes a row a level and server.
func (m *Measurement) writeSaturations(w io.Writer) {
	if len(m.Levels()) == 0 {
		return
	}
	head(w, 2, "connections", "server", "saturates at (200 ms), nominal", "blocks (lowest–highest)",
		"delivered at most", "in, messages", "a write has", "out, MB", "of the kernel's wall", "stands at",
		"sustained for 10 s, nominal", "delivered",
		"p99 at half, ms", "× "+m.Manifest.Base,
		"limit", "share of the client's ceiling", "speed of the CPUs")
	slow := false
	for _, n := range m.Levels() {
		for i := range m.Servers {
			s := &m.Servers[i]
			x := s.At(n)
			if len(x.Searches) == 0 {
				continue
			}
			speed := m.Speed(&x)
			blocks := fmt.Sprintf("%d (%s–%s)", len(x.Searches), long(x.Low), long(x.High))
			row(w, fmt.Sprint(n), s.Name, saturation(&x), blocks, measured(x.MaxDelivered), measured(x.In),
				number(x.PerWrite), megabytes(x.Out), wallCell(m.wallShare(s, &x)), m.StandsAt(s, &x), sustained(&x),
				measured(x.SustainedDelivered), number(x.P99Half), m.ratio(s, n), limits(x.Searches),
				share(x.CeilingShare), share(speed))
			slow = slow || speed > 0 && speed < SlowCPU
		}
	}
	if slow {
		fmt.Fprintf(w, "\nThe CPUs' speed is that of the trials that count, of the fastest trial of this run. It was "+
			"not the same for all: what had less than %.0f %%, because its cores were shared with somebody beside the "+
			"machine, is not to be compared with the rest.\n", 100*SlowCPU)
	}
}

// String writes the median, and beside it how many searches failed.
func (f Figure) String() string {
	switch {
	case f.Of == 0:
		return missing
	case f.Failed > 0:
		return fmt.Sprintf("%s (%d of %d failed)", long(f.Median), f.Failed, f.Of)
	}
	return long(f.Median)
}

// sustained writes what is sustained, with its mark.
func sustained(x *LevelSummary) string {
	if x.SustainedLeast {
		return string(AtLeast) + " " + x.Sustained.String()
	}
	return x.Sustained.String()
}

// saturation writes where a server saturates, with its marks.
func saturation(x *LevelSummary) string {
	text := x.Rate.String()
	if x.LowerBound {
		text = string(AtLeast) + " " + text
	}
	if x.NotReached > 0 {
		text += " †"
	}
	return text
}

// ratio says how many times the base a server is, with the interval where there are blocks enough for one.
func (m *Measurement) ratio(s *Server, n int) string {
	if s.Name == m.Manifest.Base {
		return "1"
	}
	c, ok := m.Ratio(s, n)
	if !ok {
		return missing
	}
	return c.String()
}

// String writes the ratio with its bound and interval.
func (c *Comparison) String() string {
	if c.Bound == NoBound {
		return missing
	}
	text := number(c.Ratio)
	if c.Bound != Exact {
		text = string(c.Bound) + " " + text
	}
	if c.Confidence > 0 {
		text += fmt.Sprintf(" (%s–%s, %.0f %%)", number(c.Low), number(c.High), 100*c.Confidence)
	}
	return text
}

// limits says what ended the searches, and how many of them if not all.
func limits(searches []Saturation) string {
	counts := map[string]int{}
	for _, s := range searches {
		counts[strings.ToLower(string(s.Limit))]++
	}
	var all []string
	for _, l := range sortedKeys(counts) {
		if len(counts) > 1 {
			l = fmt.Sprintf("%s (%d)", l, counts[l])
		}
		all = append(all, l)
	}
	return strings.Join(all, ", ")
}

// writeNotes says what stands behind medians that hide it: blocks that are far away.
func (m *Measurement) writeNotes(w io.Writer) {
	for _, n := range m.Levels() {
		for i := range m.Servers {
			x := m.Servers[i].At(n)
			for _, at := range x.Strays {
				f := &x.Searches[at]
				fmt.Fprintf(w, "\n%s at %d connections: block %d stands apart: %s, the median is %s.",
					m.Servers[i].Name, n, f.Block, f.outcome(), Short(x.Rate.Median))
				if len(f.Warnings) > 0 {
					fmt.Fprintf(w, " Its search says: %s.", strings.Join(f.Warnings, "; "))
				}
				fmt.Fprintln(w)
			}
		}
	}
}

// Of the light load that a benchmark's memory table shows, in messages a second, nominal, and at which level.
const (
	LightRate        = 100_000
	LightConnections = 2000
)

func (m *Measurement) writeMemory(w io.Writer) {
	var rows [][]string
	for i := range m.Servers {
		x := m.Servers[i].At(LightConnections)
		if len(x.Searches) > 0 {
			rows = append(rows, []string{m.Servers[i].Name, x.Idle.String(), x.Half.String(), x.Full.String(),
				megabytes(x.Half.KernelSockets), megabytes(x.Full.KernelSockets),
				number(x.LightRTT), x.Light.String(), x.Recovered.String()})
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\nMemory in MB: all that is resident (anonymous + file-backed). The kernel's is that of all TCP\n"+
		"sockets of the machine, of both ends when the client is on it too.\n\n")
	head(w, 1, fmt.Sprintf("%d connections: server memory", LightConnections), "idle", "at half its saturation",
		"at what it sustains", "kernel's sockets at half", "at what it sustains",
		long(LightRate)+"/s: mean ms", "MB", "a minute after the overloads, MB")
	for _, cells := range rows {
		row(w, cells...)
	}
}

// String writes megabytes: all, and its two parts when they were measured.
func (m Memory) String() string {
	if m.Anon == 0 {
		return megabytes(m.RSS)
	}
	return fmt.Sprintf("%s (%s + %s)", megabytes(m.RSS), megabytes(m.Anon), megabytes(m.File))
}

// writeControls compares what each control delivered at most with its known capacity.
func (m *Measurement) writeControls(w io.Writer) {
	for i := range m.Servers {
		s := &m.Servers[i]
		if s.Capacity == 0 {
			continue
		}
		for _, n := range m.Levels() {
			if x := s.At(n); x.MaxDelivered > 0 {
				fmt.Fprintf(w, "\n%s at %d connections: capacity %s, found %s (%+.1f %%), "+
					"spread of the saturation points %.1f %% (deviation of %d blocks).\n",
					s.Name, n, long(s.Capacity), long(x.MaxDelivered), 100*(x.MaxDelivered/s.Capacity-1), 100*x.Spread,
					len(x.Searches))
			}
		}
	}
}
