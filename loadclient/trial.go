package loadclient

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sockloop/sockloop/loadclient/results"
)

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

// Limits of validity: beyond them the trial measured something else than the server.
const (
	notSentMax    = 0.005
	lagShareMax   = 0.05
	lagMax        = 20.0 // ms
	lagNegligible = 2.0  // ms: below it a share of a tiny round trip says nothing
	// unreadMax is the share of a round trip that was too long which may have been spent in the client's own sockets. A
	// client that keeps up leaves next to nothing there; and when they are full, what waits behind them waits in the
	// server's.
	unreadMax = 0.25
	// busyMax is the share of the time in which the client may have had something to receive, where more than
	// unreadMin of the round trip was unread: one that never caught up with its sockets cannot say what the server
	// can do.
	busyMax   = 0.985
	unreadMin = 0.05
	waitedMax = 0.10 // of the client's time, what its threads may have waited for their CPU
	stolenMax = 0.03
	othersMax = 0.10

	drainTime     = 5 * time.Second
	settleTime    = 20 * time.Millisecond
	saturationRTT = 200.0 // ms, the threshold of 2011
)

// judge gives the verdict. Whose fault long round trips are is read off the queues: what lay unread in the client's own
// sockets was the client's, everything else the server's, whatever the CPUs of both did.
func judge(t *Trial, threshold float64) {
	if threshold == 0 {
		threshold = saturationRTT
	}
	over := t.RTT.Mean >= threshold || t.NotCompleted > 0
	t.Verdict, t.Reason = OK, ""
	if over {
		t.Verdict, t.Reason = Overloaded, t.Queues.Where(t)
	}
	for _, rule := range []func(*Trial, bool) (Verdict, string){failed, noisy, clientLimited} {
		if v, reason := rule(t, over); v != "" {
			t.Verdict, t.Reason = v, reason
			return
		}
	}
}

func failed(t *Trial, _ bool) (Verdict, string) {
	switch {
	case t.Sent > 0 && t.Received == 0:
		return TargetFailed, "nothing came back"
	case t.Lost+t.Duplicated+t.Reordered > 0:
		return TargetFailed, fmt.Sprintf("%d lost, %d duplicated, %d reordered", t.Lost, t.Duplicated, t.Reordered)
	}
	return "", ""
}

func noisy(t *Trial, _ bool) (Verdict, string) {
	if reason := tooMuch(t.Noise); reason != "" {
		return Noisy, reason
	}
	return "", ""
}

// tooMuch says what noise is too much for a measurement; empty is that it is not, or that nothing was heard.
func tooMuch(n *Noise) string {
	switch {
	case n == nil:
	case n.Stolen > stolenMax:
		return fmt.Sprintf("the hypervisor took %.0f %% of the CPUs' time", 100*n.Stolen)
	case n.Others > othersMax:
		return fmt.Sprintf("other processes took %.0f %% of the CPUs' time", 100*n.Others)
	case n.Waited > waitedMax:
		return fmt.Sprintf("the client waited for its CPU %.0f %% of the time", 100*n.Waited)
	}
	return ""
}

func clientLimited(t *Trial, over bool) (Verdict, string) {
	late, reason := t.LagP99-t.Rest, ""
	switch {
	case float64(t.SentLate) > notSentMax*float64(t.Sent):
		reason = fmt.Sprintf("%.1f %% of the messages were sent after the window",
			100*float64(t.SentLate)/float64(t.Sent))
	case t.LagP99 > lagMax || late > lagNegligible && late > lagShareMax*t.RTT.Mean:
		reason = fmt.Sprintf("the schedule lagged %.1f ms at p99", t.LagP99)
	case over && t.Busiest() > busyMax && t.Queues.UnreadTime(t) > unreadMin*t.RTT.Mean:
		reason = fmt.Sprintf("the client never caught up with its sockets, in which %.1f MB lay unread",
			float64(t.Queues.Unread)/1e6)
	case over && t.Queues != nil && t.Queues.UnreadTime(t) > unreadMax*t.RTT.Mean:
		reason = fmt.Sprintf("%.1f MB lay unread in the client's sockets, %.0f ms of what it received",
			float64(t.Queues.Unread)/1e6, t.Queues.UnreadTime(t))
	default:
		return "", ""
	}
	return ClientLimited, reason
}

// compare adds the difference between a tally, which the given number of connections share, and what was sent. short
// tells that less has come than was to, over all connections.
func (t *integrity) compare(got *tally, sent []senderTally, connections int, short bool) {
	if connections == 0 {
		return
	}
	lost, duplicated := got.compare(sent)
	t.Duplicated += duplicated * connections
	t.Reordered += got.reordered * connections
	t.Foreign += got.foreign * connections
	t.Greetings += got.greetings * connections
	if short && duplicated == 0 {
		t.NotCompleted += lost * connections // cut off by the end of the drain, or lost: what is on its way tells
		return
	}
	t.Lost += lost * connections
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

// slope is the growth of the mean round trip with the time at which messages were due, by least squares. due is how
// many were in a bucket: from the first on of which some never came back, those that did are the quick ones, and say
// nothing.
func slope(buckets []bucket, due float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for i, b := range buckets {
		if due > 1 && float64(b.count) < 0.9*due-1 && i < len(buckets)-1 {
			break
		}
		if b.count == 0 {
			continue
		}
		x, y := (float64(i)+0.5)*bucketTime.Seconds(), b.sum/float64(b.count)/1000
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; n > 2 && d > 0 {
		return (n*sxy - sx*sy) / d
	}
	return 0
}
