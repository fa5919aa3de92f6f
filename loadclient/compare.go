package loadclient

import (
	"fmt"
	"math"
	"slices"
)

// Comparison is how B saturates compared with A at one level. Rates are messages a second.
type Comparison struct {
	Connections int `json:"connections"`
	// of searches, the first of A with the first of B and so on: blocks of an interleaved measurement
	Pairs int     `json:"pairs"`
	A     float64 `json:"a"` // geometric mean of the saturation rates
	B     float64 `json:"b"`
	Ratio float64 `json:"ratio"` // of B to A: the geometric mean of the pairs' ratios
	// Low and High enclose the ratio with a confidence of 95 %, if the pairs' ratios are log-normal; 0 with fewer than
	// two pairs, of which nothing can be said.
	Low      float64  `json:"low"`
	High     float64  `json:"high"`
	Warnings []string `json:"warnings,omitempty"`
}

// Slower tells whether B is surely slower than A, by more than a share.
func (c Comparison) Slower(threshold float64) bool {
	return c.High > 0 && c.High < 1 && c.Ratio < 1-threshold
}

// Compare compares two result files, level by level. A level that one of them lacks is left out; none in common is an
// error.
func Compare(a, b []Record) ([]Comparison, error) {
	inA, inB := saturations(a), saturations(b)
	var all []Comparison
	for n, as := range inA {
		bs := inB[n]
		if len(bs) == 0 {
			continue
		}
		c, err := CompareLevel(as, bs)
		if err != nil {
			return nil, err
		}
		c.Warnings = append(c.Warnings, differentMachines(a, b)...)
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the results have no level in common: they have %v and %v", levelsOf(inA), levelsOf(inB))
	}
	slices.SortFunc(all, func(x, y Comparison) int { return x.Connections - y.Connections })
	return all, nil
}

// saturations are the searches by level, in the order in which they were made.
func saturations(records []Record) map[int][]Saturation {
	by := map[int][]Saturation{}
	for _, s := range Searches(records) {
		by[s.Connections] = append(by[s.Connections], s)
	}
	return by
}

func levelsOf(by map[int][]Saturation) []int {
	levels := []int{}
	for n := range by {
		levels = append(levels, n)
	}
	slices.Sort(levels)
	return levels
}

// CompareLevel compares searches at one level.
func CompareLevel(as, bs []Saturation) (Comparison, error) {
	c := Comparison{Connections: as[0].Connections, Pairs: min(len(as), len(bs))}
	var rates [2][]float64
	for side, runs := range [][]Saturation{as, bs} {
		for _, s := range runs {
			if s.Protocol != runs[0].Protocol {
				return c, fmt.Errorf("a file has searches over %s and over %s at %d connections: keep one protocol a file", runs[0].Protocol, s.Protocol, c.Connections)
			}
			if s.Rate <= 0 {
				return c, fmt.Errorf("a search at %d connections found nothing: %s", c.Connections, s.Reason)
			}
			if s.Limit == ClientLimited {
				c.warn("some of %s's figures are lower bounds: the load client was the limit", "AB"[side:side+1])
			}
			rates[side] = append(rates[side], s.Rate)
		}
	}
	if len(as) != len(bs) {
		c.warn("A has %d searches and B %d; only the first %d of each are compared", len(as), len(bs), c.Pairs)
	}
	if as[0].Protocol != bs[0].Protocol {
		c.warn("A is over %s and B over %s", as[0].Protocol, bs[0].Protocol)
	}
	c.A, c.B = GeometricMean(rates[0][:c.Pairs]), GeometricMean(rates[1][:c.Pairs])
	ratios := make([]float64, c.Pairs)
	for i := range ratios {
		ratios[i] = rates[1][i] / rates[0][i]
	}
	c.Ratio, c.Low, c.High = interval(ratios)
	return c, nil
}

// warn adds a warning, once.
func (c *Comparison) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(c.Warnings, w) {
		c.Warnings = append(c.Warnings, w)
	}
}

func differentMachines(a, b []Record) []string {
	ma, mb := machineOf(a), machineOf(b)
	if ma == nil || mb == nil || ma.CPU == mb.CPU && ma.CPUs == mb.CPUs && ma.Kernel == mb.Kernel {
		return nil
	}
	return []string{fmt.Sprintf("the machines differ: %s, %d CPUs, Linux %s; and %s, %d CPUs, Linux %s", ma.CPU, ma.CPUs, ma.Kernel, mb.CPU, mb.CPUs, mb.Kernel)}
}

func machineOf(records []Record) *Machine {
	for _, r := range records {
		if r.Machine != nil {
			return r.Machine
		}
	}
	return nil
}

// GeometricMean is the mean for ratios and rates: what is half as large and what is twice as large balance.
func GeometricMean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(x)))
}

// interval is the geometric mean of ratios with its confidence interval of 95 %: Student's, of the logarithms.
func interval(ratios []float64) (mean, low, high float64) {
	mean = GeometricMean(ratios)
	n := len(ratios)
	if n < 2 {
		return mean, 0, 0
	}
	half := student975(n-1) * logDeviation(ratios) / math.Sqrt(float64(n))
	return mean, mean * math.Exp(-half), mean * math.Exp(half)
}

// logDeviation is the standard deviation of logarithms of a sample: of small ones, the relative deviation. 0 of fewer
// than two.
func logDeviation(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	mean, squares := GeometricMean(x), 0.0
	for _, v := range x {
		d := math.Log(v / mean)
		squares += d * d
	}
	return math.Sqrt(squares / float64(len(x)-1))
}

// student975 is the 0.975 quantile of Student's t distribution, from 30 degrees of freedom on that of 30, which is 4 %
// too large at most.
func student975(degrees int) float64 {
	table := [...]float64{
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
		2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
	}
	return table[min(degrees, len(table))-1]
}
