package loadclient

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeResults writes a folder of results: records by file, and a manifest.
func writeResults(t *testing.T, m *Manifest, files map[string][]Record) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, records := range files {
		var b bytes.Buffer
		for _, x := range records {
			if err := NewRecorder(&b).Record(x); err != nil {
				t.Fatal(err)
			}
		}
		put(name+".jsonl", b.Bytes())
	}
	if m != nil {
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		put(ManifestName, text)
	}
	return dir
}

// A level's figures are the medians over its searches, and of the trials that the figures are of.
func TestLevelSummary(t *testing.T) {
	t.Parallel()
	trial := func(phase Phase, nominal, rss float64, v Verdict) Record {
		return Record{Trial: &Trial{Connections: 100, Phase: phase, Nominal: nominal, Verdict: v, RTT: Latency{Mean: 1, P99: nominal / 100}, Server: &Usage{CPU: 0.5, RSS: int64(rss)}}}
	}
	found := func(connections int, rate float64, limit Verdict) Record {
		return Record{Saturation: &Saturation{
			Connections: connections, Protocol: SockJS, Rate: rate, Sustained: 0.9 * rate, MaxDelivered: rate, Limit: limit,
			Best:    &Trial{Delivered: 0.9 * rate, Server: &Usage{CPU: 0.9, RSS: 30}},
			Ceiling: &Ceiling{Delivered: 4000, ClientBusy: []float64{0.5, 0.25}},
		}}
	}
	dir := writeResults(t, &Manifest{Base: "b", Servers: []ManifestServer{{Name: "a", About: "first"}, {Name: "b"}, {Name: "absent", Skipped: "no"}}}, map[string][]Record{
		"a": {
			trial(PhaseIdle, 0.01, 10, OK), trial(PhaseIdle, 0.01, 12, OK), trial(PhaseCurve, 500, 20, OK), trial(PhaseCurve, 900, 99, OK), trial(PhaseCurve, 510, 22, ClientLimited),
			trial(PhaseLight, 100, 15, OK), trial(PhaseRecovered, 100, 16, OK),
			found(100, 1000, Overloaded), found(100, 9, ClientLimited), found(25, 7, ClientLimited), {Discarded: &Discarded{100, "made again"}}, found(100, 1300, Overloaded),
			found(100, 800, TargetFailed),
		},
		"b": {found(100, 100, Overloaded), found(100, 130, Overloaded), found(100, 80, Overloaded)},
	})
	r, err := ReadResults(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Servers) != 2 || r.Server("absent") != nil || r.Server("a").About != "first" || len(r.Levels()) != 2 {
		t.Fatalf("%+v", r)
	}
	x := r.Server("a").At(100)
	for name, v := range map[string][2]float64{
		"rate": {x.Rate, 1000}, "low": {x.Low, 800}, "high": {x.High, 1300}, "sustained": {x.Sustained, 900}, "capacity": {x.Capacity, 1000}, "share": {x.CeilingShare, 1000. / 8000},
		"idle": {x.MemoryIdle, 11}, "half": {x.MemoryHalf, 20}, "full": {x.MemoryFull, 30}, "light": {x.MemoryLight, 15}, "recovered": {x.MemoryRecovered, 16}, "p99 at half": {x.P99Half, 5},
		"CPU": {x.CPUPerMicro, 1e6 * 0.9 / 900},
	} {
		if math.Abs(v[0]-v[1]) > 1e-9*v[1] {
			t.Errorf("%s is %g, want %g", name, v[0], v[1])
		}
	}
	if x.LowerBound || !r.Server("a").At(25).LowerBound || len(x.Searches) != 3 || x.From >= x.Rate || x.To <= x.Rate || x.Spread < 0.2 || x.Spread > 0.3 {
		t.Errorf("%+v", x)
	}
	if c, ok := r.Ratio(r.Server("a"), 100); !ok || math.Abs(c.Ratio-10) > 1e-9 || c.Pairs != 3 {
		t.Errorf("%+v %v", c, ok)
	}
	if _, ok := r.Ratio(r.Server("a"), 25); ok {
		t.Error("a ratio to nothing")
	}
	if none := r.Server("b").At(25); none.Rate != 0 || len(none.Searches) != 0 {
		t.Errorf("%+v", none)
	}
}

// Files without a manifest are servers of their own; a folder's controls come along; what is no result says so.
func TestReadResults(t *testing.T) {
	t.Parallel()
	one := Record{Saturation: &Saturation{Connections: 25, Rate: 1, Protocol: SockJS}}
	dir := writeResults(t, nil, map[string][]Record{"before": {{Machine: ThisMachine()}, one}, "after": {one, one}, "ceiling": {{Ceiling: &Ceiling{Connections: 25, Shape: Arrays, Delivered: 9}}}})
	r, err := ReadResults(filepath.Join(dir, "before.jsonl"), filepath.Join(dir, "after.jsonl"))
	if err != nil || len(r.Servers) != 2 || r.Manifest.Base != "before" || r.Manifest.Machine.CPUs == 0 || r.Manifest.Started.IsZero() || r.Controls != nil {
		t.Errorf("%+v %v", r, err)
	}
	controls := writeResults(t, &Manifest{Suite: "controls", Finished: time.Now()}, map[string][]Record{"fixed": {one}})
	if err := os.Rename(controls, filepath.Join(dir, "controls")); err != nil {
		t.Fatal(err)
	}
	if r, err = ReadResults(dir); err != nil || len(r.Servers) != 2 || len(r.Ceilings) != 1 || r.Controls == nil || r.Controls.Server("fixed") == nil {
		t.Errorf("%+v %v", r, err)
	}
	garbage := writeResults(t, nil, map[string][]Record{"x": nil})
	if err := os.WriteFile(filepath.Join(garbage, "x.jsonl"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := writeResults(t, nil, map[string][]Record{"x": {one}})
	if err := os.WriteFile(filepath.Join(broken, ManifestName), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{t.TempDir(): "has no result files", garbage: "is no result file", broken: ManifestName, "/nonexistent": "no such file"} {
		if _, err := ReadResults(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}
