package results

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Comparison is how B saturates compared with A at one level. Rates are nominal, in messages a second.
type Comparison struct {
	Connections int     `json:"connections"`
	Pairs       []Pair  `json:"pairs"`
	A           float64 `json:"a"` // median of the pairs' saturation rates
	B           float64 `json:"b"`
	Ratio       float64 `json:"ratio"` // of B to A: the median of the pairs' ratios
	// Bound says that the ratio is a bound, because one side's rates are lower bounds.
	Bound Bound `json:"bound,omitempty"`
	// Interval encloses the ratio.
	Interval
	Warnings []string `json:"warnings,omitempty"`
}

// Pair has two searches that were made in one block, within minutes of each other.
type Pair struct {
	Block int     `json:"block"`
	A     float64 `json:"a"`
	B     float64 `json:"b"`
	Ratio float64 `json:"ratio"`
}

// Bound says what a figure may be beside what it is.
type Bound string

const (
	Exact   Bound = ""
	AtLeast Bound = "≥"
	AtMost  Bound = "≤"
	NoBound Bound = "–" // both sides of a ratio are lower bounds: it may be anything
)

// regressionPairs is how many pairs can show a regression: of five, all slower by chance is one case in 32.
const regressionPairs = 5

// Slower tells whether B is surely slower than A, by more than a share: its interval is below 1, and so narrow a case
// that chance makes it once in 20 times at most.
func (c *Comparison) Slower(threshold float64) bool {
	return c.looksSlower(threshold) && len(c.Pairs) >= regressionPairs
}

// LooksSlower tells whether B would be slower than A if there were pairs enough to say so.
func (c *Comparison) LooksSlower(threshold float64) bool {
	return c.looksSlower(threshold) && len(c.Pairs) < regressionPairs
}

func (c *Comparison) looksSlower(threshold float64) bool {
	certain := c.Bound == Exact || c.Bound == AtMost
	high := c.Ratio
	if len(c.Pairs) > 1 {
		high = c.High
	}
	return certain && high < 1 && c.Ratio < 1-threshold
}

// RegressionPairs is how many pairs can show a regression.
func RegressionPairs() int { return regressionPairs }

// CompareFiles compares two result files, level by level. A level that one of them lacks is left out; none in common is
// an error.
func CompareFiles(o Options, pathA, pathB string) ([]Comparison, error) {
	a, err := Load(o, pathA)
	if err != nil {
		return nil, err
	}
	b, err := Load(o, pathB)
	if err != nil {
		return nil, err
	}
	inA, inB := a.byLevel(), b.byLevel()
	var all []Comparison
	for n, as := range inA {
		if bs := inB[n]; len(bs) > 0 {
			c, err := CompareLevel(as, bs)
			if err != nil {
				return nil, err
			}
			if as[0].Protocol != bs[0].Protocol {
				c.warn("A is over %s and B over %s", as[0].Protocol, bs[0].Protocol)
			}
			if as[0].Publishers != bs[0].Publishers || as[0].Room != bs[0].Room {
				c.warn("who sends to whom differs: --publishers %d and %d, --rooms %d and %d (0 is all)",
					as[0].Publishers, bs[0].Publishers, as[0].Room, bs[0].Room)
			}
			c.Warnings = append(c.Warnings, differentMachines(&a.Manifest.Machine, &b.Manifest.Machine)...)
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the results have no level in common: they have %v and %v",
			sortedKeys(inA), sortedKeys(inB))
	}
	slices.SortFunc(all, func(x, y Comparison) int { return x.Connections - y.Connections })
	return all, nil
}

// byLevel are the searches of all servers.
func (m *Measurement) byLevel() map[int][]Saturation {
	by := map[int][]Saturation{}
	for _, s := range m.Servers {
		for _, f := range s.Searches {
			by[f.Connections] = append(by[f.Connections], f)
		}
	}
	return by
}

// CompareLevel compares searches at one level: those of a block of A with those of the same block of B. Each side is of
// one version, and both are measured by one.
func CompareLevel(as, bs []Saturation) (Comparison, error) {
	c := Comparison{Connections: as[0].Connections}
	for side, searches := range [][]Saturation{as, bs} {
		if err := c.comparable("AB"[side:side+1], searches, as[0].ClientVersion); err != nil {
			return c, err
		}
	}
	c.pair(as, bs)
	if len(c.Pairs) == 0 {
		return c, fmt.Errorf("at %d connections no block has a rate of both: A has %s, B %s; "+
			"measure them in turn, with the same --block", c.Connections, blocksOf(as), blocksOf(bs))
	}
	if left := len(as) + len(bs) - 2*len(c.Pairs); left > 0 {
		c.warn("A has %s and B %s: %d searches have no partner", blocksOf(as), blocksOf(bs), left)
	}
	var rates [2][]float64
	var ratios []float64
	for _, p := range c.Pairs {
		rates[0], rates[1], ratios = append(rates[0], p.A), append(rates[1], p.B), append(ratios, p.Ratio)
	}
	c.A, c.B, c.Ratio, c.Interval = Median(rates[0]...), Median(rates[1]...), Median(ratios...), MedianInterval(ratios)
	for _, i := range strays(ratios) {
		c.warn("block %d stands apart: its ratio is %.3g, the median %.3g", c.Pairs[i].Block, ratios[i], c.Ratio)
	}
	return c, nil
}

// comparable is an error when a side has searches that cannot be compared with each other, or with the other side.
func (c *Comparison) comparable(side string, searches []Saturation, client string) error {
	first := searches[0]
	for _, s := range searches {
		switch {
		case s.Protocol != first.Protocol:
			return fmt.Errorf("%s has searches over %s and over %s at %d connections: keep one protocol a file",
				side, first.Protocol, s.Protocol, c.Connections)
		case s.ServerVersion != first.ServerVersion:
			return fmt.Errorf("%s has searches of server %s and of %s at %d connections: keep one version a file",
				side, orOld(first.ServerVersion), orOld(s.ServerVersion), c.Connections)
		case s.ClientVersion != client:
			return fmt.Errorf("sockload %s and sockload %s have measured at %d connections: measure A and B with one",
				orOld(client), orOld(s.ClientVersion), c.Connections)
		}
	}
	return nil
}

// pair makes the pairs, by block.
func (c *Comparison) pair(as, bs []Saturation) {
	inA, lowA, lowB := map[int]Saturation{}, false, false
	for _, a := range as {
		inA[a.Block] = a
	}
	for _, b := range bs {
		a, ok := inA[b.Block]
		switch {
		case !ok:
			continue
		case a.Rate <= 0 || b.Rate <= 0:
			c.warn("block %d is left out: a search found nothing (A: %s; B: %s)", b.Block, a.outcome(), b.outcome())
			continue
		}
		lowA, lowB = lowA || a.LowerBound(), lowB || b.LowerBound()
		c.Pairs = append(c.Pairs, Pair{b.Block, a.Rate, b.Rate, b.Rate / a.Rate})
	}
	slices.SortFunc(c.Pairs, func(x, y Pair) int { return x.Block - y.Block })
	switch {
	case lowA && lowB:
		c.Bound = NoBound
		c.warn("some of A's and of B's figures are lower bounds: the ratio may be anything")
	case lowA:
		c.Bound = AtMost
		c.warn("some of A's figures are lower bounds: the ratio is an upper bound")
	case lowB:
		c.Bound = AtLeast
		c.warn("some of B's figures are lower bounds: the ratio is a lower bound")
	}
}

// warn adds a warning, once.
func (c *Comparison) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(c.Warnings, w) {
		c.Warnings = append(c.Warnings, w)
	}
}

func blocksOf(searches []Saturation) string {
	var blocks []int
	for _, s := range searches {
		blocks = append(blocks, s.Block)
	}
	return blockNumbers(blocks)
}

// strayShare is how far a block may be from the median before that is said: servers that were compared with themselves
// differed by 5 % from block to block, and a stall of the machine costs a quarter and more.
const strayShare = 0.2

// strays are the places of values that are far from their median. Of two nobody knows which is the odd one.
func strays(values []float64) (at []int) {
	if len(values) < 3 {
		return nil
	}
	middle := Median(values...)
	for i, v := range values {
		if math.Abs(v-middle) > strayShare*middle {
			at = append(at, i)
		}
	}
	return at
}

func differentMachines(a, b *Machine) []string {
	if a.Time.IsZero() || b.Time.IsZero() {
		return nil
	}
	setting, is, other := a.Difference(b.Machine)
	if setting == "" {
		return nil
	}
	return []string{fmt.Sprintf("the machines differ: %s is %s, and %s", setting, is, other)}
}

func sortedKeys[K int | string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
