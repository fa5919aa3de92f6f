package server

import (
	"math"
	"testing"
)

// Each value is in the bucket of Prometheus' schema: above 2^((i-1)/8), and 2^(i/8) at most.
func TestHistogram(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]int{
		1: 0, 1.0001: 1, 2: 8, 0.5: -8, 0.75: -3, 1000: 80, 1e-3: -79, // inside
		0: lowestExponent * 8, 1e-9: lowestExponent * 8, 1e12: highestExponent * 8, // beyond
	} {
		var h Histogram
		h.observe(value)
		got := h.Buckets()
		if got[want] != 1 || len(got) != 1 {
			t.Errorf("%v is in %v, want bucket %d", value, got, want)
		}
		if inside := value > 1e-6 && value < 1e6; inside &&
			(value > math.Exp2(float64(want)/8)*(1+1e-12) || value <= math.Exp2(float64(want-1)/8)) {
			t.Errorf("bucket %d is none for %v", want, value)
		}
	}
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Mean() != 0 {
		t.Errorf("%v", h)
	}
	for range 98 {
		h.observe(1)
	}
	h.observe(4)
	h.observe(8)
	if h.Quantile(0.5) != 1 || h.Quantile(0.99) != 4 || h.Quantile(1) != 8 || h.Mean() != 1.1 || h.Count != 100 {
		t.Errorf("%v", h)
	}
}

// What lasts long counts by how long it lasts.
func TestHistogramLongest(t *testing.T) {
	t.Parallel()
	var before, h Histogram
	if h.longest(&before, 0.01) != 0 {
		t.Errorf("of nothing: %v", h.longest(&before, 0.01))
	}
	h.observe(1024) // long ago
	before = h
	for range 1000 {
		h.observe(1)
	}
	h.observe(8)
	if got := h.longest(&before, 0.01); got != 1 {
		t.Errorf("8 of 1008 are under a hundredth: %v", got)
	}
	h.observe(8)
	if got := h.longest(&before, 0.01); got != 8 {
		t.Errorf("16 of 1016 are more than a hundredth: %v", got)
	}
}
