package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/sockloop/sockloop/loadclient/results"
)

// summarize prints a table of medians, with ratios to the first setup in pairs of a block.
func summarize(to io.Writer, all []record) {
	fmt.Fprintln(to, "\n| messages/s, nominal | setup | mean, ms | p99, ms | server CPU, cores | of one alone | "+
		"µs an incoming message | broker CPU, cores | memory of a process, MB | valid |")
	fmt.Fprintln(to, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, rate := range ratesOf(all) {
		alone := of(all, rate, setups[0].name)
		for _, s := range setups {
			mine := of(all, rate, s.name)
			if len(mine) == 0 {
				continue
			}
			var mean, p99, cores, ratios, incoming, broker, memory []float64
			valid := 0
			for _, r := range mine {
				mean, p99 = append(mean, r.Trial.RTT.Mean), append(p99, r.Trial.RTT.P99)
				cores = append(cores, r.ServerCPU/r.Trial.Window)
				broker = append(broker, r.BrokerCPU/r.Trial.Window)
				incoming = append(incoming, r.ServerCPU/float64(max(r.Trial.Sent, 1))*1e6)
				memory = append(memory, float64(slices.Max(r.RSS))/1e6)
				if r.Trial.Verdict == results.OK {
					valid++
				}
				for _, a := range alone {
					if a.Block == r.Block {
						ratios = append(ratios, r.ServerCPU/a.ServerCPU)
					}
				}
			}
			fmt.Fprintf(to, "| %.3g | %s | %.2f | %.1f | %.3f | %.2f | %.0f | %.3f | %.1f | %d of %d |\n", rate, s.name,
				results.Median(mean...), results.Median(p99...), results.Median(cores...), results.Median(ratios...),
				results.Median(incoming...), results.Median(broker...), results.Median(memory...), valid, len(mine))
		}
	}
}

// ratesOf are the rates that were tried.
func ratesOf(all []record) (rates []float64) {
	for _, r := range all {
		if !slices.Contains(rates, r.Trial.Nominal) {
			rates = append(rates, r.Trial.Nominal)
		}
	}
	return rates
}

// of are the records of a setup at a rate.
func of(all []record, rate float64, setup string) (some []record) {
	for _, r := range all {
		if r.Setup == setup && r.Trial.Nominal == rate {
			some = append(some, r)
		}
	}
	return some
}
