package results

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What the library reads of a log is what went into it, in nanoseconds.
func TestHDR(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h, err := NewHDR(&log, false)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now().Truncate(time.Second)
	x := Trial{
		Time: begun, Connections: 25, Window: 2.5, Nominal: 2500.4, Verdict: OK,
		RoundTrips: hdrhistogram.New(1, 60_000_000, 3),
	}
	for i := range int64(5000) {
		if err := x.RoundTrips.RecordValue(1 + i*i); err != nil {
			t.Fatal(err)
		}
	}
	longest := x
	longest.Phase, longest.Verdict, longest.RoundTrips = PhaseCurve, Overloaded, hdrhistogram.New(1, 60_000_000, 3)
	if err := longest.RoundTrips.RecordValues(60_000_000, 7); err != nil {
		t.Fatal(err)
	}
	silent := x
	silent.RoundTrips = hdrhistogram.New(1, 60_000_000, 3)
	h2, err := NewHDR(&log, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{h.Write(x), h.Write(silent), h.Write(Trial{}), h2.Write(longest)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "[Histogram log format version 1.3]"); n != 1 {
		t.Errorf("%d heads", n)
	}
	r := hdrhistogram.NewHistogramLogReader(&log)
	for _, want := range []struct {
		tag   string
		trips *hdrhistogram.Histogram
	}{{"25@2500/OK", x.RoundTrips}, {"25@2500/curve/OVERLOADED", longest.RoundTrips}} {
		got, err := r.NextIntervalHistogram()
		if err != nil || got == nil {
			t.Fatalf("%v %v", got, err)
		}
		if got.Tag() != want.tag || got.StartTimeMs() != begun.UnixMilli() ||
			got.EndTimeMs() != begun.UnixMilli()+2500 {
			t.Errorf("%s, %d to %d", got.Tag(), got.StartTimeMs(), got.EndTimeMs())
		}
		if got.TotalCount() != want.trips.TotalCount() {
			t.Errorf("%d round trips, want %d", got.TotalCount(), want.trips.TotalCount())
		}
		for _, q := range []float64{0, 1, 50, 90, 99, 99.9, 100} {
			ns, us := float64(got.ValueAtQuantile(q)), float64(want.trips.ValueAtQuantile(q))
			if math.Abs(ns-1000*us) > us {
				t.Errorf("%s: %v %% are %v ns, want %v µs", want.tag, q, ns, us)
			}
		}
	}
	if more, err := r.NextIntervalHistogram(); more != nil || err != nil {
		t.Errorf("behind the last: %v %v", more, err)
	}
}
