package results

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// EqualLoads are servers that were loaded with the same rate.
type EqualLoads struct {
	Connections int
	Rate        float64 // messages a second, nominal
	Rows        []EqualLoad
}

// EqualLoad is what a server's trials at such a rate come to: medians of the blocks in which it carried the rate.
type EqualLoad struct {
	Server string
	Blocks int // in which the rate was tried
	Failed int // of them, those in which it was not carried
	Void   int // and those that say nothing of the server

	Mean, P50, P99, P999 float64 // round trips in ms
	CPU                  float64 // of the server, in cores
	Memory               Memory
}

// Carried tells whether the server carried the rate in most of the blocks that say something of it.
func (e *EqualLoad) Carried() bool { return 2*e.Failed < e.Blocks-e.Void }

// Equal are the rates with which all servers were loaded, lowest first, and of each the server with the shortest round
// trips first.
func (m *Measurement) Equal() []EqualLoads {
	var all []EqualLoads
	for i := range m.Servers {
		for _, t := range m.Servers[i].Trials {
			if t.Phase != PhaseEqual || slices.ContainsFunc(all, func(e EqualLoads) bool { return e.has(&t) }) {
				continue
			}
			all = append(all, EqualLoads{Connections: t.Connections, Rate: t.Nominal})
		}
	}
	slices.SortFunc(all, func(a, b EqualLoads) int {
		return cmp.Or(cmp.Compare(a.Connections, b.Connections), cmp.Compare(a.Rate, b.Rate))
	})
	leastWork := m.leastWork()
	for i := range all {
		all[i].fill(m.Servers, leastWork)
	}
	return all
}

// has tells whether a trial was made at this rate, but for what is lost by rounding to whole messages.
func (e *EqualLoads) has(t *Trial) bool {
	return t.Connections == e.Connections && t.Nominal > 0.99*e.Rate && t.Nominal < 1.01*e.Rate
}

func (e *EqualLoads) fill(servers []Server, leastWork float64) {
	for i := range servers {
		s := &servers[i]
		blocks := map[int]*Trial{} // of an interrupted run, the last
		for j := range s.Trials {
			if t := &s.Trials[j]; t.Phase == PhaseEqual && e.has(t) {
				blocks[t.Block] = t
			}
		}
		if len(blocks) > 0 {
			e.Rows = append(e.Rows, equalLoad(s.Name, blocks, leastWork))
		}
	}
	slices.SortStableFunc(e.Rows, func(a, b EqualLoad) int {
		if a.Carried() != b.Carried() {
			if a.Carried() {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Mean, b.Mean)
	})
}

// equalLoad leaves out what was measured on CPUs slower than in other trials of the run.
func equalLoad(name string, blocks map[int]*Trial, leastWork float64) EqualLoad {
	e := EqualLoad{Server: name, Blocks: len(blocks)}
	var mean, p50, p99, p999, cpu []float64
	var memory memories
	for _, block := range sortedKeys(blocks) {
		switch t := blocks[block]; {
		case !t.Conclusive(), leastWork < SlowCPU*t.GaugedWork():
			e.Void++
		case !t.Carried():
			e.Failed++
		default:
			mean, p50 = append(mean, t.RTT.Mean), append(p50, t.RTT.P50)
			p99, p999 = append(p99, t.RTT.P99), append(p999, t.RTT.P999)
			if memory.add(t); t.Server != nil {
				cpu = append(cpu, t.Server.CPU)
			}
		}
	}
	e.Mean, e.P50, e.P99, e.P999 = Median(mean...), Median(p50...), Median(p99...), Median(p999...)
	e.CPU, e.Memory = Median(cpu...), memory.median()
	return e
}

// writeEqual writes a table for each rate with which all were loaded.
func (m *Measurement) writeEqual(w io.Writer) {
	for _, e := range m.Equal() {
		table(w, e.String()+" (memory: anonymous + file-backed):", 1, EqualHead, e.Table())
	}
}

// String names the load.
func (e *EqualLoads) String() string {
	return fmt.Sprintf("%s messages a second, nominal, at %d connections", long(e.Rate), e.Connections)
}

// Table is a row for each server.
func (e *EqualLoads) Table() (rows [][]string) {
	for i := range e.Rows {
		rows = append(rows, e.Rows[i].cells())
	}
	return rows
}

// EqualHead are the names of the columns of Table.
var EqualHead = []string{
	"server", "mean, ms", "p50", "p99", "p99.9", "server CPU, cores", "memory, MB", "kernel's sockets, MB", "blocks",
}

// cells are the row of a table.
func (e *EqualLoad) cells() []string {
	blocks := fmt.Sprint(e.Blocks)
	if e.Failed > 0 {
		blocks += fmt.Sprintf(", not carried in %d", e.Failed)
	}
	if e.Void > 0 {
		blocks += fmt.Sprintf(", not measured in %d", e.Void)
	}
	cells := []string{e.Server}
	if !e.Carried() {
		for range len(EqualHead) - 2 {
			cells = append(cells, missing)
		}
		return append(cells, blocks)
	}
	return append(cells, number(e.Mean), number(e.P50), number(e.P99), number(e.P999), number(e.CPU),
		e.Memory.String(), megabytes(e.Memory.KernelSockets), blocks)
}
