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
		P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)), P99: ms(h.ValueAtQuantile(99)), P999: ms(h.ValueAtQuantile(99.9)),
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
	clientBusyMax    = 0.85
	notSentMax       = 0.005
	lagShareMax      = 0.05
	lagMax           = 20.0 // ms
	lagNegligible    = 2.0  // ms: below it a share of a tiny round trip says nothing
	serverBusyAtKnee = 0.90
	stolenMax        = 0.03
	othersMax        = 0.10

	drainTime     = 5 * time.Second
	settleTime    = 20 * time.Millisecond
	saturationRTT = 200.0 // ms, the threshold of 2011
)

// judge gives the verdict. That a worker was busy says nothing by itself: with time to spare it reads in smaller
// pieces. But if the round trips were long and the server idle, then it was not the server.
func judge(t *Trial, threshold float64) {
	if threshold == 0 {
		threshold = saturationRTT
	}
	over := t.RTT.Mean >= threshold || t.NotCompleted > 0
	t.Verdict, t.Reason = OK, ""
	if over {
		t.Verdict = Overloaded
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
	switch {
	case t.Noise == nil:
	case t.Noise.Stolen > stolenMax:
		return Noisy, fmt.Sprintf("the hypervisor took %.0f %% of the CPUs' time", 100*t.Noise.Stolen)
	case t.Noise.Others > othersMax:
		return Noisy, fmt.Sprintf("other processes took %.0f %% of the CPUs' time", 100*t.Noise.Others)
	}
	return "", ""
}

func clientLimited(t *Trial, over bool) (Verdict, string) {
	busiest, late, reason := t.Busiest(), t.LagP99-t.Rest, ""
	switch {
	case float64(t.SentLate) > notSentMax*float64(t.Sent):
		reason = fmt.Sprintf("%.1f %% of the messages were sent after the window", 100*float64(t.SentLate)/float64(t.Sent))
	case t.LagP99 > lagMax || late > lagNegligible && late > lagShareMax*t.RTT.Mean:
		reason = fmt.Sprintf("the schedule lagged %.1f ms at p99", t.LagP99)
	case over && busiest > clientBusyMax && t.Server == nil:
		reason = fmt.Sprintf("a worker was busy %.0f %% of the time, and of the server's CPU nothing is known (--server-pid)", 100*busiest)
	case over && t.Server != nil && t.Server.CPU < serverBusyAtKnee:
		reason = fmt.Sprintf("the server's CPU was only %.0f %% busy, a worker of the client %.0f %%", 100*t.Server.CPU, 100*busiest)
	default:
		return "", ""
	}
	return ClientLimited, reason
}

// gather makes one result of what the workers measured.
func (l *Level) gather(p trialPlan, ends []windowEnd, seen observation) Trial {
	t := Trial{
		Time: p.start.UTC(), Target: l.Target.String(), Protocol: l.Target.Protocol, Connections: l.Connections, Read: l.Read,
		Window: p.window.Seconds(), SendRate: p.schedule.rate, Nominal: p.schedule.rate * float64(l.Connections), Server: seen.usage, Noise: seen.noise,
	}
	all := newRecording()
	all.reset(p.window)
	sent := make([]senderTally, l.Connections)
	delivered, returned, bytes, frames, reads := 0.0, 0, 0, 0, 0
	for i, w := range l.workers {
		all.add(w.results)
		for s, n := range w.sentTally {
			sent[s].count += n.count
			sent[s].sum += n.sum
		}
		t.Sent += w.sent()
		t.SentLate += w.sent() - ends[i].sent
		returned += ends[i].returned
		delivered += float64(ends[i].delivered) / ends[i].at.Seconds()
		bytes, frames, reads = bytes+w.bytes, frames+w.frames, reads+w.reads
		t.ClientBusy = append(t.ClientBusy, 1-ends[i].idle.Seconds()/ends[i].at.Seconds())
		t.Received += w.delivered()
	}
	t.Delivered = delivered
	t.Expected = t.Sent * l.Connections
	l.integrity(&t, sent)
	t.RTT, t.RTTActual = newLatency(all.intended), newLatency(all.actual)
	t.LagP99, t.Rest = float64(all.lag.ValueAtQuantile(99))/1000, float64(all.rest.Microseconds())/1000
	t.Spectrum, t.OverTime = spectrum(all.intended), overTime(all.buckets)
	t.OwnMissing = t.Sent - int(all.intended.TotalCount())
	t.Slope = slope(all.buckets, p.schedule.rate*bucketTime.Seconds())
	if t.Received > 0 {
		n := float64(t.Received)
		t.BytesPerMessage = float64(bytes) / n
		t.MessagesPerFrame, t.MessagesPerRead = n/float64(max(frames, 1)), n/float64(max(reads, 1))
	}
	if judge(&t, l.Threshold); t.Verdict == Overloaded {
		t.Capacity = &Capacity{Delivered: t.Delivered, Slope: t.Nominal / (1 + max(t.Slope, 0)), Backlog: t.Nominal * float64(returned) / float64(p.schedule.messages)}
	}
	return t
}

// integrity compares what each connection received with what was sent. A connection that has not finished is not
// compared: what it misses may still come.
func (l *Level) integrity(t *Trial, sent []senderTally) {
	for _, w := range l.workers {
		follow := 0
		for _, c := range w.conns {
			switch {
			case c.alone != nil:
				t.Stragglers++
				compare(t, c.alone.tally, sent, 1)
			case c.pos == w.reference.end:
				follow++
			default:
				t.NotCompleted += t.Sent - w.reference.countAt(c.pos)
			}
		}
		compare(t, w.reference.tally, sent, follow)
	}
}

// compare adds the difference between a tally, which the given number of connections share, and what was sent.
func compare(t *Trial, got *tally, sent []senderTally, connections int) {
	if connections == 0 {
		return
	}
	lost, duplicated := got.compare(sent)
	t.Duplicated += duplicated * connections
	t.Reordered += got.reordered * connections
	t.Foreign += got.foreign * connections
	if t.Received < t.Expected && duplicated == 0 {
		t.NotCompleted += lost * connections // cut off by the end of the drain, or lost: only the next trial can tell
		return
	}
	t.Lost += lost * connections
}

func (r *recording) add(o *recording) {
	r.intended.Merge(o.intended)
	r.actual.Merge(o.actual)
	r.lag.Merge(o.lag)
	r.rest = max(r.rest, o.rest)
	for i := range r.buckets {
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
