package loadclient

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// found makes a result file of the rates of searches at one level.
func found(rates ...float64) []Record {
	var all []Record
	for _, r := range rates {
		all = append(all, Record{Saturation: &Saturation{Connections: 100, Protocol: SockJS, Rate: r, Limit: Overloaded}})
	}
	return all
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name             string
		a, b             []float64
		ratio, low, high float64 // the interval by hand
		slower           bool
	}{
		{"twice", []float64{1, 2, 3}, []float64{2, 4, 6}, 2, 2, 2, false},
		{"half", []float64{1, 2, 3}, []float64{.5, 1, 1.5}, .5, .5, .5, true},
		{"one pair", []float64{100}, []float64{50}, .5, 0, 0, false},
		// Logarithms ±0.1: deviation 0.14142, half width 12.706 × 0.1.
		{"two pairs, far apart", []float64{1, 1}, []float64{math.Exp(.1), math.Exp(-.1)}, 1, math.Exp(-1.2706), math.Exp(1.2706), false},
		{"slower, but not by enough", []float64{100, 100, 100}, []float64{98, 98, 98}, .98, .98, .98, false},
		{"more searches in A", []float64{1, 2, 3, 4}, []float64{2, 4}, 2, 2, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all, err := Compare(found(tt.a...), found(tt.b...))
			if err != nil || len(all) != 1 {
				t.Fatalf("%v %v", all, err)
			}
			c := all[0]
			for what, v := range map[string][2]float64{"ratio": {c.Ratio, tt.ratio}, "low": {c.Low, tt.low}, "high": {c.High, tt.high}} {
				if math.Abs(v[0]-v[1]) > 1e-3*max(v[1], 1) {
					t.Errorf("%s is %v, want %v", what, v[0], v[1])
				}
			}
			if c.Slower(.05) != tt.slower || c.Pairs != min(len(tt.a), len(tt.b)) || (len(c.Warnings) > 0) != (len(tt.a) != len(tt.b)) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// A search that was made again does not count.
func TestDiscarded(t *testing.T) {
	t.Parallel()
	a, again := found(1, 7), found(2)
	a = append(append(a, Record{Discarded: &Discarded{Connections: 25}}, Record{Discarded: &Discarded{Connections: 100, Reason: "noise"}}), again...)
	all, err := Compare(a, found(2, 4))
	if err != nil || len(all) != 1 || math.Abs(all[0].Ratio-2) > 1e-9 || all[0].Pairs != 2 {
		t.Errorf("%+v %v", all, err)
	}
}

// Of a server compared with itself, 95 in 100 intervals contain 1, however noisy the machine is from block to block.
func TestIntervalsContainTheTruth(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const experiments, blocks = 2000, 4
	inside, within := 0, 0
	for range experiments {
		var a, b []float64
		for range blocks {
			hour := math.Exp(r.NormFloat64() * .3) // what both of a block share
			a = append(a, hour*math.Exp(r.NormFloat64()*.05))
			b = append(b, hour*.9*math.Exp(r.NormFloat64()*.05))
		}
		c, err := Compare(found(a...), found(b...))
		if err != nil {
			t.Fatal(err)
		}
		if c[0].Low <= .9 && c[0].High >= .9 {
			inside++
		}
		if c[0].High-c[0].Low < .3 {
			within++
		}
	}
	if share := float64(inside) / experiments; share < .93 || share > .97 {
		t.Errorf("%.3f of the intervals contain the truth, want 0.95", share)
	}
	if within < experiments/2 {
		t.Errorf("only %d of %d intervals are narrow: the pairing does not help", within, experiments)
	}
}

func TestCompareWarnsAndRefuses(t *testing.T) {
	t.Parallel()
	limited := found(1, 2)
	limited[1].Saturation.Limit = ClientLimited
	here, there := Record{Machine: &Machine{CPU: "one"}}, Record{Machine: &Machine{CPU: "another"}}
	all, err := Compare(append(limited, here), append(found(1, 2), there))
	if err != nil || len(all[0].Warnings) != 2 || !strings.Contains(strings.Join(all[0].Warnings, "\n"), "some of A's figures are lower bounds") {
		t.Errorf("%+v %v", all, err)
	}
	mixed := found(1, 2)
	mixed[1].Saturation.Protocol = WebSocket
	elsewhere := found(1)
	elsewhere[0].Saturation.Connections = 25
	for want, pair := range map[string][2][]Record{
		"keep one protocol": {mixed, found(1, 2)}, "no level in common: they have [100] and [25]": {found(1), elsewhere}, "[] and [100]": {nil, found(1)}, "found nothing": {found(0), found(1)},
	} {
		if _, err := Compare(pair[0], pair[1]); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
