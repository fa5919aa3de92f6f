package results

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// writeResults writes a folder of results: records by file, and a manifest.
func writeResults(t *testing.T, m *Manifest, files map[string][]Record) string {
	t.Helper()
	dir := t.TempDir()
	for name, records := range files {
		var b bytes.Buffer
		for _, x := range records {
			if err := NewWriter(&b).Write(x); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name+".jsonl"), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if m != nil {
		if err := m.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// records are those of searches.
func records(searches []Saturation) []Record {
	var all []Record
	for i := range searches {
		all = append(all, Record{Saturation: &searches[i]})
	}
	return all
}

// A level's figures are the medians over its searches, and of the trials that the figures are of.
func TestLevelSummary(t *testing.T) {
	t.Parallel()
	trial := func(phase Phase, nominal float64, rss int64, v Verdict) Record {
		return Record{Trial: &Trial{
			Provenance: Provenance{"client", "server", 1}, Connections: 100, Phase: phase, Nominal: nominal, Verdict: v,
			RTT:    Latency{Mean: 1, P99: nominal / 100},
			Server: &Usage{CPU: 0.5, RSS: rss, Anon: rss - 4, File: 4, KernelSockets: 7},
		}}
	}
	// Half of what its own block found, twice: the block counts once.
	half := trial(PhaseCurve, 650, 24, OK)
	half.Trial.Block = 2
	search := func(block, connections int, rate float64, limit Verdict) Record {
		return Record{Saturation: &Saturation{
			Provenance:  Provenance{"client", "server", block},
			Connections: connections, Protocol: SockJS, Rate: rate, Sustained: 0.9 * rate, MaxDelivered: rate,
			Limit:   limit,
			Best:    &Trial{Delivered: 0.88 * rate, Server: &Usage{CPU: 0.9, RSS: 30}},
			Ceiling: &Ceiling{Delivered: 4000, ClientBusy: []float64{0.5, 0.25}},
		}}
	}
	servers := []ManifestServer{{Name: "a", About: "first"}, {Name: "b"}, {Name: "absent", Skipped: "no"}}
	dir := writeResults(t, &Manifest{Base: "b", Servers: servers}, map[string][]Record{
		"a": {
			trial(PhaseIdle, 0.01, 10, OK), trial(PhaseIdle, 0.01, 12, OK), trial(PhaseCurve, 500, 20, OK),
			trial(PhaseCurve, 900, 99, OK), trial(PhaseCurve, 510, 22, ClientLimited), half, half,
			trial(PhaseLight, 100, 15, OK), trial(PhaseRecovered, 100, 16, OK),
			search(1, 100, 1000, Overloaded), search(2, 100, 9, ClientLimited), search(1, 25, 7, ClientLimited),
			{Discarded: &Discarded{100, "made again"}}, search(2, 100, 1300, Overloaded),
			search(3, 100, 800, TargetFailed),
		},
		"b": {search(1, 100, 100, Overloaded), search(2, 100, 130, Overloaded), search(3, 100, 80, Overloaded)},
	})
	m, err := Load(Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	a := m.Server("a")
	if len(m.Servers) != 2 || m.Server("absent") != nil || a.About != "first" || len(m.Levels()) != 2 {
		t.Fatalf("%+v", m)
	}
	x := a.At(100)
	for name, v := range map[string][2]float64{
		"rate": {x.Rate.Median, 1000}, "low": {x.Low, 800}, "high": {x.High, 1300},
		"sustained": {x.Sustained.Median, 900}, "delivered": {x.SustainedDelivered, 880},
		"share": {x.CeilingShare, 1000. / 8000}, "CPU": {x.CPUPerMicro, 1e6 * 0.9 / 880},
		"p99 at half": {x.P99Half, 5.75},
		"idle":        {x.Idle.RSS, 11}, "half": {x.Half.RSS, 22}, "full": {x.Full.RSS, 30},
		"light": {x.Light.RSS, 15}, "recovered": {x.Recovered.RSS, 16},
		"anonymous": {x.Idle.Anon, 7}, "file": {x.Idle.File, 4}, "sockets": {x.Idle.KernelSockets, 7},
	} {
		if math.Abs(v[0]-v[1]) > 1e-9*v[1] {
			t.Errorf("%s is %g, want %g", name, v[0], v[1])
		}
	}
	if x.LowerBound || x.NotReached != 1 || len(x.Searches) != 3 || x.Spread < 0.2 || x.Spread > 0.3 ||
		len(x.Strays) != 1 {
		t.Errorf("%+v", x)
	}
	if !a.At(25).LowerBound {
		t.Error("what the client limited is no lower bound")
	}
	if c, ok := m.Ratio(a, 100); !ok || math.Abs(c.Ratio-10) > 1e-9 || len(c.Pairs) != 3 {
		t.Errorf("%+v %v", c, ok)
	}
	if _, ok := m.Ratio(a, 25); ok {
		t.Error("a ratio to nothing")
	}
	if none := m.Server("b").At(25); none.Rate.Of != 0 || len(none.Searches) != 0 {
		t.Errorf("%+v", none)
	}
}

// A search that found nothing counts as 0, and is named; what was not looked for does not count.
func TestFailuresCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sustained []float64
		profile   string
		want      string
	}{
		{[]float64{0, 1.27e6, 0}, "search", "0 (2 of 3 failed)"},
		{[]float64{0.83e6, 1.27e6, 0}, "search", "830 thousand (1 of 3 failed)"},
		{[]float64{0, 0}, "quick", "0 (2 of 2 failed)"},
		{[]float64{2e6, 1e6}, "quick", "1.5 million"},
		{[]float64{0, 0}, "classic-2011", "–"},
	} {
		s := Server{Searches: found(make([]float64, len(tt.sustained))...)}
		for i := range s.Searches {
			s.Searches[i].Sustained, s.Searches[i].Profile = tt.sustained[i], tt.profile
		}
		x := s.At(100)
		if got := x.Sustained.String(); got != tt.want {
			t.Errorf("%v is %s, want %s", tt.sustained, got, tt.want)
		}
		if x.Rate.Failed != len(tt.sustained) || x.Rate.Median != 0 {
			t.Errorf("no search found a rate: %+v", x.Rate)
		}
	}
}

// Files without a manifest are servers of their own; a folder's controls come along; what is no result says so.
func TestLoad(t *testing.T) {
	t.Parallel()
	one := records(found(1))[0]
	dir := writeResults(t, nil, map[string][]Record{
		"before": {{Machine: ThisMachine()}, one}, "after": records(found(1, 2)),
		"ceiling": {{Ceiling: &Ceiling{Connections: 25, Shape: Arrays, Delivered: 9}}},
	})
	m, err := Load(Options{}, filepath.Join(dir, "before.jsonl"), filepath.Join(dir, "after.jsonl"))
	if err != nil || len(m.Servers) != 2 || m.Manifest.Base != "before" || m.Manifest.Machine.CPUs == 0 ||
		m.Manifest.Started.IsZero() || m.Controls != nil || m.ClientVersion() != "client" {
		t.Errorf("%+v %v", m, err)
	}
	controls := writeResults(t, &Manifest{Suite: "controls", Finished: time.Now()}, map[string][]Record{"fixed": {one}})
	if err := os.Rename(controls, filepath.Join(dir, "controls")); err != nil {
		t.Fatal(err)
	}
	m, err = Load(Options{}, dir)
	if err != nil || len(m.Servers) != 2 || len(m.Ceilings) != 1 || m.Controls == nil ||
		m.Controls.Server("fixed") == nil {
		t.Errorf("%+v %v", m, err)
	}
	garbage := writeResults(t, nil, map[string][]Record{"x": nil})
	broken := writeResults(t, nil, map[string][]Record{"x": {one}})
	if err := os.WriteFile(filepath.Join(garbage, "x.jsonl"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, ManifestName), []byte(`{"speed": 9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	twice := writeResults(t, nil, map[string][]Record{"x": {one, one}})
	for path, want := range map[string]string{
		t.TempDir(): "has no result files", garbage: "is no result file", broken: `unknown field "speed"`,
		"/nonexistent": "no such file", twice: "two searches at 100 connections in block 1",
	} {
		if _, err := Load(Options{}, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// What several versions have measured is refused, with the files, the blocks and the way out; and so is what does not
// say who measured it, unless it is asked for.
func TestMixturesAreRefused(t *testing.T) {
	t.Parallel()
	client := func(s *Saturation) { s.ClientVersion = "c2" }
	server := func(s *Saturation) { s.ServerVersion = "s2" }
	old := func(s *Saturation) { s.Provenance = Provenance{} }
	trial := Record{Trial: &Trial{Provenance: Provenance{"c2", "server", 1}, Connections: 100}}
	for _, tt := range []struct {
		name     string
		files    map[string][]Record
		controls []Record
		want     string
	}{
		{"of one server", map[string][]Record{"x": records(changed(found(1, 2, 3), 2, server))}, nil,
			"several versions of the server x are mixed: s2 in DIR/x.jsonl (block 3); " +
				"server in DIR/x.jsonl (blocks 1, 2); " +
				"keep the lines of one of them, or measure all blocks again with one"},
		{"of the client", map[string][]Record{"x": records(found(1, 2)), "y": records(changed(found(1), 0, client))},
			nil,
			"several versions of sockload have measured: c2 in DIR/y.jsonl (block 1); " +
				"client in DIR/x.jsonl (blocks 1, 2); " +
				"measure again with one of them what the others have"},
		{"of trials", map[string][]Record{"x": append(records(found(1)), trial)}, nil, "several versions of sockload"},
		{"of the controls", map[string][]Record{"x": records(found(1))}, records(changed(found(1), 0, client)),
			"the controls were measured by sockload c2 and the servers by client: measure the controls again"},
		{"old", map[string][]Record{"x": records(changed(found(1, 2), 1, old))}, nil,
			"x.jsonl: record 2 does not say which versions of client and server made it, or in which block: " +
				"measure again with this sockload, or read it all the same with --allow-old"},
		{"servers of different versions", map[string][]Record{
			"x": records(found(1)), "y": records(changed(found(1), 0, server)),
		}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := writeResults(t, nil, tt.files)
			if tt.controls != nil {
				from := writeResults(t, nil, map[string][]Record{"fixed": tt.controls})
				if err := os.Rename(from, filepath.Join(dir, "controls")); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Load(Options{}, dir)
			if tt.want == "" && err != nil {
				t.Error(err)
			}
			want := strings.ReplaceAll(tt.want, "DIR", dir)
			if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// Old records are taken as they are when they are asked for: the blocks are counted, without what was made again.
func TestAllowOld(t *testing.T) {
	t.Parallel()
	old := found(1, 9, 2)
	for i := range old {
		old[i].Provenance = Provenance{}
	}
	all := records(old)
	again := []Record{all[0], all[1], {Discarded: &Discarded{Connections: 100}}, all[2]}
	dir := writeResults(t, nil, map[string][]Record{"x": again, "y": records(old[:2])})
	m, err := Load(Options{AllowOld: true}, dir)
	if err != nil {
		t.Fatal(err)
	}
	x := m.Server("x").Searches
	if len(x) != 2 || x[0].Block != 1 || x[1].Block != 2 || x[1].Rate != 2 || m.ClientVersion() != "not recorded" {
		t.Errorf("%+v", x)
	}
	// What is in the repository.
	for _, folder := range []string{".", "controls-repeats", "transports"} {
		dir := filepath.Join("../../benchmarks/results/2026-11-23-xeon-2core", folder)
		if _, err := Load(Options{}, dir); err == nil || !strings.Contains(err.Error(), "--allow-old") {
			t.Errorf("%s: %v", folder, err)
		}
		if m, err := Load(Options{AllowOld: true}, dir); err != nil || len(m.Levels()) == 0 {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// Results are added to by the versions that made them, and on the same machine, or not at all.
func TestContinue(t *testing.T) {
	t.Parallel()
	run := func(client, server, congestion string) *Manifest {
		m := &Manifest{
			ClientVersion: client, Servers: []ManifestServer{{Name: "x", Version: server}, {Name: "y", Skipped: "no"}},
		}
		m.Machine.Sysctls = map[string]string{"congestion": congestion}
		return m
	}
	for _, tt := range []struct{ client, server, congestion, want string }{
		{"c", "s", "cubic", ""},
		{"c2", "s", "cubic", "the results there are of sockload c, and this is c2: go on with that one"},
		{"c", "s2", "cubic", "the results there are of x s, and this is s2"},
		{"c", "s", "bbr", "of a machine with congestion cubic, and this is bbr"},
	} {
		is := run(tt.client, tt.server, tt.congestion)
		is.Servers[1] = ManifestServer{Name: "y", Version: "1"} // which was not there then
		err := is.Continue(run("c", "s", "cubic"))
		if tt.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
		if tt.congestion != "cubic" {
			continue // a file of one server says nothing of that
		}
		err = Continues(found(1), Provenance{ClientVersion: tt.client + "lient", ServerVersion: tt.server + "erver"})
		if tt.want == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), "give another --out") {
			t.Errorf("%s %s: %v", tt.client, tt.server, err)
		}
	}
}

// What is added to results leaves what they say of the earlier.
func TestContinueKeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	first := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	old := Manifest{Levels: []int{2000}, Blocks: 3, Started: first, Servers: []ManifestServer{
		{Name: "gone", Version: "1"}, {Name: "absent", Version: "1"}, {Name: "new", Skipped: "no"},
	}}
	is := Manifest{Levels: []int{2000, 25}, Blocks: 1, Started: first.Add(time.Hour), Servers: []ManifestServer{
		{Name: "absent", Skipped: "no"}, {Name: "new", Version: "1"},
	}}
	if err := is.Continue(&old); err != nil {
		t.Fatal(err)
	}
	want := Manifest{Levels: []int{25, 2000}, Blocks: 3, Started: first, Servers: []ManifestServer{
		{Name: "absent", Version: "1"}, {Name: "new", Version: "1"}, {Name: "gone", Version: "1"},
	}}
	if !reflect.DeepEqual(is, want) {
		t.Errorf("%+v\nwant %+v", is, want)
	}
}
