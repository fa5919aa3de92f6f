package loadclient

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/gonum/stat"

	"github.com/sockloop/sockloop/loadclient/results"
)

// recording is what a worker measured in one trial.
type recording struct {
	arrival  *hdrhistogram.Histogram // µs, from when a message was due until a receiver had it, whoever sent it
	intended *hdrhistogram.Histogram // µs, from when the message was due: what a user feels
	actual   *hdrhistogram.Histogram // µs, from when it was sent: 2011's definition
	lag      *hdrhistogram.Histogram // µs, between the two: the client's own fault
	buckets  []bucket                // round trips from due, by when due
	rest     time.Duration           // the schedule's longest
}

type bucket struct {
	count int
	sum   float64 // ms
}

const (
	bucketTime = results.OverTimeStep
	// rttMax is the longest round trip told apart, in µs.
	rttMax = 60_000_000
)

func newRecording() *recording {
	h := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, rttMax, 3) }
	return &recording{intended: h(), actual: h(), lag: h(), arrival: h()}
}

func (r *recording) reset(d time.Duration) {
	r.intended.Reset()
	r.actual.Reset()
	r.lag.Reset()
	r.arrival.Reset()
	r.rest = 0
	r.buckets = append(r.buckets[:0], make([]bucket, d/bucketTime+1)...)
}

func (r *recording) add(o *recording) {
	r.intended.Merge(o.intended)
	r.actual.Merge(o.actual)
	r.lag.Merge(o.lag)
	r.arrival.Merge(o.arrival)
	r.rest = max(r.rest, o.rest)
	for i := range min(len(r.buckets), len(o.buckets)) {
		r.buckets[i].count += o.buckets[i].count
		r.buckets[i].sum += o.buckets[i].sum
	}
}

func newLatency(h *hdrhistogram.Histogram) Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	l := Latency{
		Count: h.TotalCount(), Mean: h.Mean() / 1000, StdDev: h.StdDev() / 1000, Min: ms(h.Min()), Max: ms(h.Max()),
		P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)),
		P99: ms(h.ValueAtQuantile(99)), P999: ms(h.ValueAtQuantile(99.9)),
	}
	if n := float64(l.Count); n > 1 { // the sample's deviation, as in 2011
		l.StdDev *= math.Sqrt(n / (n - 1))
	}
	return l
}

func spectrum(h *hdrhistogram.Histogram) []float64 {
	if h.TotalCount() == 0 {
		return nil
	}
	all := make([]float64, len(results.Quantiles))
	for i, q := range results.Quantiles {
		all[i] = float64(h.ValueAtQuantile(q)) / 1000
	}
	return all
}

func overTime(buckets []bucket) []float64 {
	all := make([]float64, len(buckets))
	for i, b := range buckets {
		all[i] = -1
		if b.count > 0 {
			all[i] = math.Round(1000*b.sum/float64(b.count)) / 1000
		}
	}
	return all
}

// slope is the growth of the mean round trip with the time at which messages were due, by least squares. due is how
// many were in a bucket: from the first on of which some never came back, those that did are the quick ones, and say
// nothing.
func slope(buckets []bucket, due float64) float64 {
	var at, mean []float64
	for i, b := range buckets {
		if due > 1 && float64(b.count) < 0.9*due-1 && i < len(buckets)-1 {
			break
		}
		if b.count > 0 {
			at = append(at, (float64(i)+0.5)*bucketTime.Seconds())
			mean = append(mean, b.sum/float64(b.count)/1000)
		}
	}
	if len(at) < 3 {
		return 0
	}
	_, growth := stat.LinearRegression(at, mean, nil, false)
	return growth
}

// recorded is a recording on its way from an agent.
type recorded struct {
	Arrival, Intended, Actual, Lag *hdrhistogram.Snapshot
	Counts                         []int     // of the buckets
	Sums                           []float64 // ms
	Rest                           time.Duration
}

// MarshalJSON writes the histograms with all their counts: quantiles of several agents are those of the merged ones.
func (r *recording) MarshalJSON() ([]byte, error) {
	x := recorded{Arrival: r.arrival.Export(), Intended: r.intended.Export(), Actual: r.actual.Export(),
		Lag: r.lag.Export(), Rest: r.rest}
	for _, b := range r.buckets {
		x.Counts, x.Sums = append(x.Counts, b.count), append(x.Sums, b.sum)
	}
	return json.Marshal(x)
}

// UnmarshalJSON reads them.
func (r *recording) UnmarshalJSON(text []byte) error {
	var x recorded
	if err := json.Unmarshal(text, &x); err != nil {
		return err
	}
	for to, from := range map[**hdrhistogram.Histogram]*hdrhistogram.Snapshot{
		&r.arrival: x.Arrival, &r.intended: x.Intended, &r.actual: x.Actual, &r.lag: x.Lag,
	} {
		if from == nil {
			return fmt.Errorf("a histogram is missing")
		}
		if err := from.Validate(); err != nil {
			return err
		}
		*to = hdrhistogram.Import(from)
	}
	if len(x.Counts) != len(x.Sums) {
		return fmt.Errorf("%d counts and %d sums", len(x.Counts), len(x.Sums))
	}
	r.rest = x.Rest
	for i, n := range x.Counts {
		r.buckets = append(r.buckets, bucket{n, x.Sums[i]})
	}
	return nil
}
