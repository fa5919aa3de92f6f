package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/loadclient"
)

// The summary is made of the files alone, so that it can be made again of those in the repository.
func TestSummary(t *testing.T) {
	t.Parallel()
	b := bench{flags: flags{Out: t.TempDir()}}
	write := func(name string, records ...loadclient.Record) {
		for _, x := range records {
			if err := b.append(&contestant{Name: name}, x); err != nil {
				t.Fatal(err)
			}
		}
	}
	const n = lightConnections
	saturation := func(rate float64) loadclient.Record {
		return loadclient.Record{Saturation: &loadclient.Saturation{Connections: n, Protocol: loadclient.SockJS,
			Rate: rate, Sustained: 0.8 * rate, MaxDelivered: 0.9 * rate, Limit: loadclient.Overloaded,
			Best:     &loadclient.Trial{Delivered: 0.8 * rate, Server: &loadclient.Usage{CPU: 1, RSS: 20e6}},
			Capacity: &loadclient.Capacity{Delivered: 0.9 * rate, Slope: 0.9 * rate, Backlog: 0.9 * rate},
			Ceiling:  &loadclient.Ceiling{Delivered: 180e6}}}
	}
	trial := func(phase loadclient.Phase, nominal float64, mb int64) loadclient.Record {
		return loadclient.Record{
			Trial: &loadclient.Trial{
				Connections: n, Phase: phase, Nominal: nominal, Verdict: loadclient.OK,
				RTT: loadclient.Latency{Mean: 0.5, P99: 3}, Server: &loadclient.Usage{RSS: mb * 1e6},
			},
		}
	}
	write("sockloop", trial(loadclient.PhaseIdle, 1, 10), trial(loadclient.PhaseLight, 1e5, 14), saturation(80e6),
		trial(loadclient.PhaseRecovered, 1e5, 15), trial(loadclient.PhaseCurve, 50e6, 17), saturation(125e6))
	write("goroutine", trial(loadclient.PhaseIdle, 1, 60), trial(loadclient.PhaseLight, 1e5, 70), saturation(0.2e6),
		trial(loadclient.PhaseRecovered, 1e5, 90), saturation(0.2e6))
	write("fixed", saturation(220_000), saturation(224_000))
	b.manifest = loadclient.Manifest{Base: "goroutine", ServerCPU: 3, ClientCPUs: "4-5",
		Started: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Machine: loadclient.Machine{CPU: "A CPU", CPUs: 8},
		Servers: []loadclient.ManifestServer{
			{Name: "sockloop"}, {Name: "goroutine"}, {Name: "fixed", Capacity: 200_000},
			{Name: "bun", Skipped: "npm is not there"},
		}}
	if err := b.writeManifest(); err != nil {
		t.Fatal(err)
	}
	r, err := loadclient.ReadResults(b.Out)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	summarize(&out, r)
	for _, want := range []string{
		"| saturates at (200 ms), with connections: | 2000 | at 2000: × goroutine | p99 at half load, ms | server " +
			"CPU for a delivery, µs | memory idle, MB | sustained, MB |\n|---|---:|---:|---:|---:|---:|---:|\n" +
			"| sockloop | 102 million | 500 (29.4–8517) | 3 | 0.0128 | 10 | 20 |\n| fixed | 222 thousand |",
		"A CPU, 8 CPUs, Linux , . Server on CPU 3, load client on CPU 4-5, 2026-11-23.",
		"| 2000 | sockloop | 102 million | 2 (80 million–125 million) | 82 million | 92.2 million | 3 | 500 " +
			"(29.4–8517) | overloaded | 51 % |",
		"| 2000 | goroutine | 200 thousand | 2 (200 thousand–200 thousand) | 160 thousand | 180 thousand | – | 1 | " +
			"overloaded | 0 % |",
		"| sockloop | 10 | 17 | 20 | 0.5 | 14 | 15 |", "| goroutine | 60 | – | 20 | 0.5 | 70 | 90 |",
		"fixed at 2000 connections: capacity 200 thousand, found 200 thousand (-0.1 %), spread of the saturation " +
			"points 1.3 % (deviation of 2 blocks).",
		"Not measured: bun, because npm is not there.",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
	if err := os.Remove(b.file("goroutine")); err != nil {
		t.Fatal(err)
	}
	if r, err = loadclient.ReadResults(b.Out); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if summarize(&out, r); strings.Contains(out.String(), "| goroutine |") ||
		!strings.Contains(out.String(), "| – | overloaded |") {
		t.Errorf("without the base:\n%s", out.String())
	}
}
