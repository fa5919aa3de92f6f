package results

import (
	"math"
	"testing"
)

func TestMedianInterval(t *testing.T) {
	t.Parallel()
	// 1 - 2 × (how often fewer than k of n coins show heads), by hand.
	for _, tt := range []struct {
		n          int
		low, high  float64
		confidence float64
	}{
		{0, 0, 0, 0}, {1, 0, 0, 0}, {2, 1, 2, 0.5}, {3, 1, 3, 0.75}, {5, 1, 5, 0.9375}, {6, 1, 6, 0.96875},
		{8, 1, 8, 1 - 2./256}, {9, 2, 8, 1 - 2*10./512}, {12, 3, 10, 1 - 2*79./4096},
	} {
		var x []float64
		for i := range tt.n {
			x = append(x, float64(tt.n-i))
		}
		got := MedianInterval(x)
		if got.Low != tt.low || got.High != tt.high || math.Abs(got.Confidence-tt.confidence) > 1e-9 {
			t.Errorf("of %d: %+v, want %v", tt.n, got, tt)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 3}, 3}, {[]float64{9, 0, 0, 3}, 1.5}} {
		if got := Median(tt.of...); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.of, got, tt.want)
		}
	}
}
