package results

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/tuning"
)

var update = flag.Bool("update", false, "write testdata anew")

// The whole summary: two servers and a control, three blocks. One block of sockloop sustained nothing, one of the
// goroutine server is slow, its last is a failure of the server, and the control is limited by the client.
func TestMarkdown(t *testing.T) {
	t.Parallel()
	const n = LightConnections
	in := func(block int) Provenance { return Provenance{"7131663", "8a3c3e1", block} }
	search := func(block int, rate float64, change func(*Saturation)) Record {
		s := Saturation{
			Provenance: in(block), Connections: n, Protocol: SockJS, Profile: "search", Limit: Overloaded,
			Rate: rate, Sustained: 0.8 * rate, MaxDelivered: 0.9 * rate,
			Best: &Trial{Delivered: 0.79 * rate, Server: &Usage{
				CPU: 1, RSS: 20e6, Anon: 15e6, File: 5e6, KernelSockets: 66e6,
			}},
			Ceiling: &Ceiling{Delivered: 180e6},
		}
		if change != nil {
			change(&s)
		}
		return Record{Saturation: &s}
	}
	trial := func(phase Phase, nominal float64, mb int64) Record {
		return Record{Trial: &Trial{
			Provenance: in(1), Connections: n, Phase: phase, Nominal: nominal, Verdict: OK,
			RTT: Latency{Mean: 0.5, P99: 3}, Server: &Usage{RSS: mb * 1e6},
		}}
	}
	// The trial in which most was delivered, at 25 bytes a message.
	most := func(block int, delivered float64) Record {
		return Record{Trial: &Trial{
			Provenance: in(block), Connections: n, Phase: PhaseBracket, Nominal: delivered, Verdict: OK,
			Delivered: delivered, SendRate: delivered / n, BytesPerMessage: 25, MessagesPerWrite: 1.5,
			Window: 3, Noise: &Noise{Work: 20},
		}}
	}
	slow := trial(PhaseBracket, 1e5, 0)
	slow.Trial.Window, slow.Trial.Noise = 3, &Noise{Work: 40}
	short := trial(PhaseProbe, 1e5, 0)
	short.Trial.Window, short.Trial.Noise = 0.5, &Noise{Work: 10}
	noisy := trial(PhaseBracket, 1e5, 0)
	noisy.Trial.Window, noisy.Trial.Noise, noisy.Trial.Verdict = 3, &Noise{Work: 90}, Noisy
	wall := func(block int, bytes float64) Record {
		return Record{Wall: &Wall{Block: block, Connections: n, BytesRate: bytes}}
	}
	dir := writeResults(t, &Manifest{
		Base: "goroutine", ServerCPU: 3, ClientCPUs: "4-5", Started: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
		Machine: Machine{Machine: tuning.Machine{CPU: "A CPU", CPUs: 8, Kernel: "6.18", Go: "go1.26"}},
		Servers: []ManifestServer{
			{Name: "sockloop"}, {Name: "goroutine"}, {Name: "fixed", Capacity: 200_000},
			{Name: "bun", Skipped: "npm is not there"},
		},
	}, map[string][]Record{
		"sockloop": {
			trial(PhaseIdle, 1, 10), trial(PhaseLight, 1e5, 14), trial(PhaseRecovered, 1e5, 15),
			trial(PhaseCurve, 40e6, 17),
			most(1, 72e6), most(2, 112.5e6),
			search(1, 80e6, nil), search(2, 125e6, nil), search(3, 120e6, func(s *Saturation) { s.Sustained = 0 }),
		},
		"wall": {wall(1, 2e9), wall(1, 1e9), wall(2, 3e9), wall(2, 4e9), wall(3, 4e9)}, // 90 and 70 % are sent
		"goroutine": {
			slow, short, noisy, noisy,
			search(1, 0.2e6, nil),
			search(2, 0.1e6, func(s *Saturation) { s.Warnings = []string{"20 of 30 trials were noisy"} }),
			search(3, 0.21e6, func(s *Saturation) { s.Limit = TargetFailed }),
		},
		"fixed": {
			search(1, 220_000, func(s *Saturation) { s.Limit = ClientLimited }),
			search(2, 224_000, nil), search(3, 226_000, nil),
		},
	})
	m, err := Load(Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	m.WriteMarkdown(&out)
	const golden = "testdata/summary.md"
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || out.String() != string(want) {
		t.Errorf("%v; it is now\n%s", err, out.String())
	}

	if err := os.Remove(dir + "/goroutine.jsonl"); err != nil {
		t.Fatal(err)
	}
	if m, err = Load(Options{}, dir); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	m.WriteMarkdown(&out)
	if strings.Contains(out.String(), "| goroutine |") || !strings.Contains(out.String(), "| – | overloaded |") {
		t.Errorf("without the base:\n%s", out.String())
	}
}
