package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/tuning"
)

// The summary is made of the files alone, so that it can be made again of those in the repository.
func TestSummary(t *testing.T) {
	t.Parallel()
	b := bench{flags: flags{Out: t.TempDir(), Blocks: 2}, suite: suites["servers"], cpus: tuning.CPUs{1}}
	write := func(name string, lines ...any) {
		f, err := os.Create(b.file(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range lines {
			if err := json.NewEncoder(f).Encode(x); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	saturation := func(rate, low, high float64) loadclient.Record {
		return loadclient.Record{Saturation: &loadclient.Saturation{Connections: 25, Rate: rate, Low: low, High: high, Limit: loadclient.Overloaded,
			Best: &loadclient.Trial{Delivered: low, RTT: loadclient.Latency{Mean: 20, P99: 50}}}}
	}
	light := func(name string, mb int64) phase {
		return phase{name, loadclient.Trial{RTT: loadclient.Latency{Mean: 0.5}, Server: &loadclient.Usage{RSS: mb * 1e6}}}
	}
	write("ceiling", loadclient.Record{Ceiling: &loadclient.Ceiling{Connections: 25, Delivered: 200e6}})
	write("sockloop", light("light", 14), saturation(80e6, 70e6, 75e6), light("recovered", 15), saturation(125e6, 100e6, 120e6))
	write("goroutine", light("light", 70), saturation(0.2e6, 0.1e6, 0.2e6), light("recovered", 90), saturation(0.2e6, 0.1e6, 0.2e6))
	var out strings.Builder
	if err := b.summarize(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| 25 | sockloop | 80 million | 70 million (70 million–120 million) | 20.0 | 50.0 | overloaded | 500 (29.4–8517) | 200 million |",
		"| 25 | goroutine | 200 thousand | 100 thousand (100 thousand–200 thousand) | 20.0 | 50.0 | overloaded | 1 | 200 million |",
		"| sockloop | 0.50 | 14.0 | 15.0 |", "| goroutine | 0.50 | 70.0 | 90.0 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in\n%s", want, out.String())
		}
	}
	if err := os.Remove(filepath.Join(b.Out, "goroutine.jsonl")); err != nil {
		t.Fatal(err)
	}
	if err := b.summarize(&out); err == nil {
		t.Error("a summary without results")
	}
}
