package results

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

// found are searches at 100 connections of one version, a block each.
func found(rates ...float64) []Saturation {
	var all []Saturation
	for i, r := range rates {
		all = append(all, Saturation{
			Provenance:  Provenance{"client", "server", i + 1},
			Connections: 100, Protocol: SockJS, Rate: r, Limit: Overloaded,
		})
	}
	return all
}

// changed are searches of which one is changed.
func changed(all []Saturation, i int, change func(*Saturation)) []Saturation {
	change(&all[i])
	return all
}

func TestCompareLevel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		a, b             []float64
		ratio, low, high float64
		confidence       float64
		slower, looks    bool
	}{
		{"twice", []float64{1, 2, 3}, []float64{2, 4, 6}, 2, 2, 2, .75, false, false},
		{"half, of three", []float64{1, 2, 3}, []float64{.5, 1, 1.5}, .5, .5, .5, .75, false, true},
		{"half, of five", []float64{1, 2, 3, 4, 5}, []float64{.5, 1, 1.5, 2, 2.5}, .5, .5, .5, .9375, true, false},
		{"one pair", []float64{100}, []float64{50}, .5, 0, 0, 0, false, true},
		{"one block that says otherwise", []float64{1, 1, 1, 1, 1}, []float64{.5, .5, .5, .5, 1.1},
			.5, .5, 1.1, .9375, false, false},
		{"two pairs", []float64{1, 1}, []float64{.9, 1.2}, 1.05, .9, 1.2, .5, false, false},
		{"slower, but not by enough", []float64{1, 1, 1, 1, 1}, []float64{.98, .98, .98, .98, .98},
			.98, .98, .98, .9375, false, false},
		{"a stall does not decide", []float64{1, 1, 1, 1, 1, 1}, []float64{2, 2.1, 2.2, .01, 2, 2.1},
			2.05, .01, 2.2, .96875, false, false},
		{"more searches in A", []float64{1, 2, 3, 4}, []float64{2, 4}, 2, 2, 2, .5, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := CompareLevel(found(tt.a...), found(tt.b...))
			if err != nil {
				t.Fatal(err)
			}
			for what, v := range map[string][2]float64{
				"ratio": {c.Ratio, tt.ratio}, "low": {c.Low, tt.low}, "high": {c.High, tt.high},
				"confidence": {c.Confidence, tt.confidence},
			} {
				if math.Abs(v[0]-v[1]) > 1e-9 {
					t.Errorf("%s is %v, want %v", what, v[0], v[1])
				}
			}
			if c.Slower(.05) != tt.slower || c.LooksSlower(.05) != tt.looks ||
				len(c.Pairs) != min(len(tt.a), len(tt.b)) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// Pairs are of one block, in whatever order they were measured, and a block that one side lacks is left out.
func TestPairsAreOfOneBlock(t *testing.T) {
	t.Parallel()
	a, b := found(1, 2, 3), found(60, 10, 20)
	a[0], a[2] = a[2], a[0]
	b[0].Block, b[1].Block, b[2].Block = 3, 1, 4
	c, err := CompareLevel(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Pairs) != 2 || c.Pairs[0] != (Pair{1, 1, 10, 10}) || c.Pairs[1] != (Pair{3, 3, 60, 20}) || c.Ratio != 15 {
		t.Errorf("%+v", c)
	}
	want := "A has blocks 1, 2, 3 and B blocks 1, 3, 4: 2 searches have no partner"
	if len(c.Warnings) != 1 || c.Warnings[0] != want {
		t.Errorf("%q, want %q", c.Warnings, want)
	}
}

// A lower bound on one side makes the ratio a bound, and on both sides it says nothing.
func TestBoundsOfRatios(t *testing.T) {
	t.Parallel()
	limited := func(s *Saturation) { s.Limit = ClientLimited }
	for _, tt := range []struct {
		name string
		a, b []Saturation
		want Bound
		text string
	}{
		{"none", found(1, 1), found(2, 2), Exact, "2 (2–2, 50 %)"},
		{"B", found(1, 1), changed(found(2, 2), 1, limited), AtLeast, "≥ 2 (2–2, 50 %)"},
		{"A", changed(found(1, 1), 0, limited), found(2, 2), AtMost, "≤ 2 (2–2, 50 %)"},
		{"both", changed(found(1, 1), 0, limited), changed(found(2, 2), 1, limited), NoBound, "–"},
		{"a server that fails is none", found(1), changed(found(2), 0, func(s *Saturation) { s.Limit = TargetFailed }),
			Exact, "2"},
	} {
		c, err := CompareLevel(tt.a, tt.b)
		if err != nil || c.Bound != tt.want || c.String() != tt.text || (len(c.Warnings) > 0) != (tt.want != Exact) {
			t.Errorf("%s: %+v %s %v", tt.name, c, c.String(), err)
		}
	}
	slow, err := CompareLevel(found(1, 1, 1, 1, 1), changed(found(.5, .5, .5, .5, .5), 0, limited))
	if err != nil || slow.Slower(.02) {
		t.Errorf("B may be faster than that: %+v %v", slow, err)
	}
}

// A block that is far from the others is said to be.
func TestStraysAreShown(t *testing.T) {
	t.Parallel()
	c, err := CompareLevel(found(1, 1, 1), found(2, 2.1, .5))
	if err != nil || len(c.Warnings) != 1 || c.Warnings[0] != "block 3 stands apart: its ratio is 0.5, the median 2" {
		t.Errorf("%q %v", c.Warnings, err)
	}
}

// However noisy the machine is from block to block, as many intervals contain the truth as they say.
func TestIntervalsContainTheTruth(t *testing.T) {
	t.Parallel()
	for _, blocks := range []int{2, 3, 4, 6, 9, 12} {
		r := rand.New(rand.NewPCG(1, 2))
		const experiments = 2000
		inside, said := 0, 0.0
		for range experiments {
			var a, b []float64
			for range blocks {
				hour := math.Exp(r.NormFloat64() * .3) // what both of a block share
				a = append(a, hour*math.Exp(r.NormFloat64()*.05))
				b = append(b, hour*.9*math.Exp(r.NormFloat64()*.05))
			}
			c, err := CompareLevel(found(a...), found(b...))
			if err != nil {
				t.Fatal(err)
			}
			if c.Low <= .9 && c.High >= .9 {
				inside++
			}
			said = c.Confidence
			if c.High-c.Low > .5 {
				t.Fatalf("%d blocks: %v to %v: the pairing does not help", blocks, c.Low, c.High)
			}
		}
		if share := float64(inside) / experiments; math.Abs(share-said) > .02 || blocks >= 6 && said < .95 {
			t.Errorf("%d blocks: %.3f of the intervals contain the truth, they say %.3f", blocks, share, said)
		}
	}
}

func TestCompareLevelRefuses(t *testing.T) {
	t.Parallel()
	elsewhere := found(1)
	elsewhere[0].Block = 7
	for want, pair := range map[string][2][]Saturation{
		"keep one protocol a file": {
			changed(found(1, 2), 1, func(s *Saturation) { s.Protocol = WebSocket }), found(1, 2),
		},
		"B has searches of server server and of new at 100 connections: keep one version a file": {
			found(1, 2), changed(found(1, 2), 1, func(s *Saturation) { s.ServerVersion = "new" }),
		},
		"sockload client and sockload new have measured at 100 connections: measure A and B with one": {
			found(1), changed(found(1), 0, func(s *Saturation) { s.ClientVersion = "new" }),
		},
		"no block has a rate of both: A has block 1, B block 7": {found(1), elsewhere},
		"no block has a rate of both: A has block 1, B block 1": {found(0), found(1)},
	} {
		if _, err := CompareLevel(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestCompareFiles(t *testing.T) {
	t.Parallel()
	machine := func(cpu string) Record {
		m := ThisMachine()
		m.CPU = cpu
		return Record{Machine: m}
	}
	over := func(p Protocol) func(*Saturation) { return func(s *Saturation) { s.Protocol = p } }
	at25 := func(s *Saturation) { s.Connections = 25 }
	fewSend := func(s *Saturation) { s.Publishers = 50 }
	echoes := func(s *Saturation) { s.Room = 1 }
	dir := writeResults(t, nil, map[string][]Record{
		"a": append([]Record{machine("one")}, records(found(1, 2))...),
		// the first was made again
		"b": append(append([]Record{machine("another")}, records(found(8))...),
			append([]Record{{Discarded: &Discarded{25, ""}}, {Discarded: &Discarded{100, "noise"}}},
				records(found(2, 4))...)...),
		"raw":  records(changed(changed(found(3, 6), 0, over(WebSocket)), 1, over(WebSocket))),
		"25":   records(changed(found(1), 0, at25)),
		"few":  records(changed(changed(found(3, 6), 0, fewSend), 1, fewSend)),
		"echo": records(changed(changed(found(3, 6), 0, echoes), 1, echoes)),
	})
	file := func(name string) string { return filepath.Join(dir, name+".jsonl") }
	all, err := CompareFiles(Options{}, file("a"), file("b"))
	if err != nil || len(all) != 1 || all[0].Ratio != 2 || len(all[0].Pairs) != 2 {
		t.Fatalf("%+v %v", all, err)
	}
	if w := all[0].Warnings; len(w) != 1 || !strings.Contains(w[0], "the machines differ: cpu is one, and ") {
		t.Errorf("%q", w)
	}
	all, err = CompareFiles(Options{}, file("a"), file("raw"))
	if err != nil || all[0].Ratio != 3 || len(all[0].Warnings) != 1 ||
		all[0].Warnings[0] != "A is over sockjs and B over websocket" {
		t.Errorf("%+v %v", all, err)
	}
	for name, how := range map[string]string{
		"few":  "who sends to whom differs: --publishers 0 and 50, --rooms 0 and 0 (0 is all)",
		"echo": "who sends to whom differs: --publishers 0 and 0, --rooms 0 and 1 (0 is all)",
	} {
		all, err = CompareFiles(Options{}, file("a"), file(name))
		if err != nil || len(all[0].Warnings) != 1 || all[0].Warnings[0] != how {
			t.Errorf("%s: %+v %v", name, all, err)
		}
	}
	if _, err := CompareFiles(Options{}, file("a"), file("25")); err == nil ||
		!strings.Contains(err.Error(), "no level in common: they have [100] and [25]") {
		t.Error(err)
	}
}
