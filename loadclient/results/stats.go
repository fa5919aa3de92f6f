package results

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Median is the middle of some values, or the mean of the two in the middle (which stat.Quantile does not have); 0 of
// none.
func Median(x ...float64) float64 {
	if len(x) == 0 {
		return 0
	}
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// Interval encloses a median. It assumes nothing of the values' distribution: its ends are two of the values, and its
// confidence follows from how many there are.
type Interval struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"` // that it has the median that endless blocks would have, 0 to 1
}

// confidenceWanted is the confidence that an interval has where there are values enough: six.
const confidenceWanted = 0.95

// MedianInterval is the narrowest interval between the k-th value and the k-th from the end that has a confidence of
// 95 %; of fewer than six values, between the lowest and the highest, with the confidence that this has: 50 % of two,
// 75 % of three, 94 % of five. Of fewer than two nothing can be said, and all is 0.
func MedianInterval(x []float64) Interval {
	n := len(x)
	if n < 2 {
		return Interval{}
	}
	x = slices.Sorted(slices.Values(x))
	// The k lowest values are all above the median as often as fewer than k of n coins show heads.
	coins := distuv.Binomial{N: float64(n), P: 0.5}
	confidence := func(k int) float64 { return 1 - 2*coins.CDF(float64(k-1)) }
	k := 1
	for 2*(k+1) <= n && confidence(k+1) >= confidenceWanted {
		k++
	}
	return Interval{x[k-1], x[n-k], confidence(k)}
}

// logDeviation is the standard deviation of logarithms of a sample: of small ones, the relative deviation. 0 of fewer
// than two.
func logDeviation(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	logs := make([]float64, len(x))
	for i, v := range x {
		logs[i] = math.Log(v)
	}
	return stat.StdDev(logs, nil)
}
