package server

import (
	"fmt"
	"math"
	"sort"
)

// Histogram counts values in buckets that grow by an eighth of an octave: what Prometheus calls a native histogram of
// schema HistogramSchema. The zero value is empty. Values of 2^-20 or less, a microsecond where they are seconds, are
// in the first bucket, those beyond 2^24 in the last.
type Histogram struct {
	Count uint64
	Sum   float64

	counts [histogramBuckets]uint64
}

// HistogramSchema is the resolution of all histograms: 2^(2^-HistogramSchema) is from one bucket to the next.
const HistogramSchema = 3

const (
	perOctave        = 1 << HistogramSchema
	lowestExponent   = -20
	highestExponent  = 24
	histogramBuckets = (highestExponent-lowestExponent)*perOctave + 1
)

// fractions are the upper bounds of the buckets of an octave, from a half to one.
var fractions = func() (f [perOctave]float64) {
	for i := range f {
		f[i] = math.Exp2(float64(i)/perOctave - 1)
	}
	return f
}()

func (h *Histogram) observe(v float64) {
	h.Count++
	h.Sum += v
	i := 0
	if v > 0 {
		fraction, exponent := math.Frexp(v)
		i = (exponent-1-lowestExponent)*perOctave + sort.SearchFloat64s(fractions[:], fraction)
	}
	h.counts[min(max(i, 0), histogramBuckets-1)]++
}

// Buckets are the counts of the buckets that are not empty, by their index in Prometheus' schema: bucket i is of the
// values up to 2^(i/8).
func (h *Histogram) Buckets() map[int]int64 {
	all := map[int]int64{}
	for i, n := range h.counts {
		if n > 0 {
			all[i+lowestExponent*perOctave] = int64(n)
		}
	}
	return all
}

// Mean is the mean of all values, 0 of none.
func (h *Histogram) Mean() float64 {
	if h.Count == 0 {
		return 0
	}
	return h.Sum / float64(h.Count)
}

// Quantile is the upper bound of the bucket in which the quantile lies, 0 without values.
func (h *Histogram) Quantile(q float64) float64 {
	left := uint64(math.Ceil(q * float64(h.Count)))
	for i, n := range h.counts {
		if left <= n && n > 0 {
			return math.Exp2(float64(i)/perOctave + lowestExponent)
		}
		left -= min(n, left)
	}
	return 0
}

// longest is a value such that those above it, of what was observed since h was before, are a share of the sum at most.
func (h *Histogram) longest(before *Histogram, share float64) float64 {
	left := share * (h.Sum - before.Sum)
	for i := histogramBuckets - 1; i >= 0; i-- {
		bound := math.Exp2(float64(i)/perOctave + lowestExponent)
		if left -= bound * float64(h.counts[i]-before.counts[i]); left < 0 {
			return bound
		}
	}
	return 0
}

// String is for logs.
func (h Histogram) String() string {
	return fmt.Sprintf("{count:%d mean:%.3g p99:%.3g}", h.Count, h.Mean(), h.Quantile(0.99))
}
