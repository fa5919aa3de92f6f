package results

import (
	"strings"
	"testing"
)

// Servers are loaded alike: medians of the blocks in which a rate was carried, and how often it was not. Of a block
// that was begun anew the last trial counts.
func TestEqualLoads(t *testing.T) {
	t.Parallel()
	trial := func(block int, nominal, mean float64, change func(*Trial)) Record {
		x := Trial{
			Provenance: Provenance{"client", "server", block}, Connections: 2000, Phase: PhaseEqual, Window: 10,
			Nominal: nominal, Delivered: nominal, Verdict: OK, SendRate: nominal / 2000,
			RTT:    Latency{Mean: mean, P50: mean / 2, P99: 3 * mean, P999: 4 * mean},
			Server: &Usage{CPU: 0.25, RSS: 12e6, Anon: 8e6, File: 4e6, KernelSockets: 5e6},
		}
		if change != nil {
			change(&x)
		}
		return Record{Trial: &x}
	}
	slow := func(x *Trial) { x.Verdict = Overloaded }
	noisy := func(x *Trial) { x.Verdict = Noisy }
	took := func(work float64) func(*Trial) { return func(x *Trial) { x.Noise = &Noise{Work: work} } }
	servers := []ManifestServer{{Name: "half"}, {Name: "late"}, {Name: "soon"}}
	dir := writeResults(t, &Manifest{Servers: servers}, map[string][]Record{
		"late": {
			trial(1, 1e6, 9, nil), trial(1, 1e6, 4, nil), trial(2, 1.001e6, 6, nil), trial(3, 1e6, 5, slow),
			trial(1, 1e7, 200, slow), trial(2, 1e7, 300, slow), trial(3, 1e7, 9, noisy),
		},
		"half": {trial(1, 1e6, 1, took(24))},
		"soon": {trial(1, 1e6, 1, took(20)), trial(2, 1e6, 2, nil), trial(3, 1e6, 3, nil), trial(1, 1e7, 30, nil)},
	})
	m, err := Load(Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	m.WriteMarkdown(&out)
	for _, want := range []string{
		"1 million messages a second, nominal, at 2000 connections",
		"| half | – | – | – | – | – | – | – | 1, not measured in 1 |\n",
		"| soon | 2 | 1 | 6 | 8 | 0.25 | 12 (8 + 4) | 5 | 3 |\n" +
			"| late | 5 | 2.5 | 15 | 20 | 0.25 | 12 (8 + 4) | 5 | 3, not carried in 1 |\n",
		"10 million messages a second",
		"| soon | 30 | 15 | 90 | 120 | 0.25 | 12 (8 + 4) | 5 | 1 |\n" +
			"| late | – | – | – | – | – | – | – | 3, not carried in 2, not measured in 1 |\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "saturates at") {
		t.Errorf("a saturation of no search:\n%s", out.String())
	}
}

// A server stands at what comes in if it saturates much later when few send.
func TestWalls(t *testing.T) {
	t.Parallel()
	both := func(publishers, block int, rate float64) []Record {
		in := Provenance{"client", "server", block}
		return []Record{
			{Trial: &Trial{
				Provenance: in, Connections: 500, Phase: PhaseBracket, Verdict: OK, Delivered: rate,
				SendRate: rate / 500, BytesPerMessage: 20, Publishers: publishers,
			}},
			{Trial: &Trial{Provenance: in, Connections: 500, Phase: PhaseProbe, Verdict: OK, Delivered: 2 * rate}},
			{Saturation: &Saturation{
				Provenance: in, Connections: 500, Protocol: SockJS, Rate: rate, MaxDelivered: rate, Limit: Overloaded,
				Publishers: publishers,
			}},
		}
	}
	dir := writeResults(t, &Manifest{
		Servers: []ManifestServer{{Name: "in"}, {Name: "in-50", Of: "in"}, {Name: "out"}, {Name: "out-50", Of: "out"}},
	}, map[string][]Record{
		"in": both(0, 1, 50e6), "in-50": both(50, 1, 100e6), "out": both(0, 1, 100e6), "out-50": both(50, 1, 110e6),
	})
	m, err := Load(Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	m.WriteMarkdown(&out)
	for _, want := range []string{
		"50 send: delivered at most",
		"| 500 | in | 50 million | 100 thousand | 1000 | 100 million | 200 thousand | 2000 | 2 | what comes in |",
		"| 500 | out | 100 million | 200 thousand | 2000 | 110 million | 220 thousand | 2200 | 1.1 | what goes out |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
