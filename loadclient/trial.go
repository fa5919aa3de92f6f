package loadclient

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Verdict says what a trial is good for. Only OK and OVERLOADED measure the server.
type Verdict string

const (
	OK            Verdict = "OK"
	Overloaded    Verdict = "OVERLOADED"     // the server fell behind
	ClientLimited Verdict = "CLIENT-LIMITED" // we fell behind, so nothing is known of the server
	Noisy         Verdict = "NOISY"          // the machine was busy with something else
	TargetFailed  Verdict = "TARGET-FAILED"  // a connection broke, or messages were lost, repeated or out of order
)

// Latency is a distribution of round trips in milliseconds.
type Latency struct {
	Count  int64   `json:"count"`
	Mean   float64 `json:"mean"`
	StdDev float64 `json:"stdev"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	P50    float64 `json:"p50"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	P999   float64 `json:"p999"`
}

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

// Quantiles are those of a trial's spectrum, in percent.
var Quantiles = []float64{0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100}

func spectrum(h *hdrhistogram.Histogram) []float64 {
	if h.TotalCount() == 0 {
		return nil
	}
	all := make([]float64, len(Quantiles))
	for i, q := range Quantiles {
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

// Trial is the result of one fixed rate at one level. Rates are messages a second.
type Trial struct {
	Time        time.Time  `json:"time"`
	Target      string     `json:"target"`
	Protocol    Protocol   `json:"protocol"`
	Insecure    bool       `json:"certificate_unchecked,omitempty"`
	Connections int        `json:"connections"`
	Phase       Phase      `json:"phase,omitempty"`
	Read        ReadPolicy `json:"read_policy,omitempty"`
	Window      float64    `json:"window_s"`
	SendRate    float64    `json:"send_rate"`      // over all connections
	Nominal     float64    `json:"nominal_rate"`   // send rate × connections: what 2011 called received
	Delivered   float64    `json:"delivered_rate"` // really received in the window
	Verdict     Verdict    `json:"verdict"`
	Reason      string     `json:"reason,omitempty"`

	RTT       Latency `json:"rtt_ms"`           // from when a message was due
	RTTActual Latency `json:"rtt_from_send_ms"` // from when it was sent: 2011's definition
	LagP99    float64 `json:"schedule_lag_p99_ms"`
	// Rest is the longest that the schedule rested between two looks at it, so that messages may share a write. It is
	// in the lag.
	Rest float64 `json:"schedule_rest_ms,omitempty"`
	// Spectrum has the round trips from when messages were due at Quantiles, OverTime their means by when they were
	// due, each a tenth of a second; -1 where none came back. Both are in ms.
	Spectrum []float64 `json:"rtt_spectrum_ms,omitempty"`
	OverTime []float64 `json:"rtt_over_time_ms,omitempty"`

	Sent         int `json:"sent"`
	SentLate     int `json:"sent_after_window"`
	Expected     int `json:"expected"` // sent × connections
	Received     int `json:"received"`
	Lost         int `json:"lost"`
	Duplicated   int `json:"duplicated"`
	Reordered    int `json:"reordered"`
	Foreign      int `json:"foreign"`             // messages that are not of this run
	Greetings    int `json:"greetings,omitempty"` // the same, but expected
	Stragglers   int `json:"own_order"`           // connections that received another order than the first
	NotCompleted int `json:"not_completed"`       // messages missing when the drain ended: lost, or later than that
	OwnMissing   int `json:"own_missing"`         // of these, those that their sender misses

	MessagesPerFrame float64   `json:"messages_per_frame"`
	MessagesPerRead  float64   `json:"messages_per_read"`
	BytesPerMessage  float64   `json:"bytes_per_message"`
	ClientBusy       []float64 `json:"client_busy"` // of each worker, 0 to 1
	// growth of the round trip a second of schedule: load/capacity − 1 when overloaded
	Slope    float64   `json:"rtt_slope"`
	Capacity *Capacity `json:"capacity,omitempty"`
	Server   *Usage    `json:"server,omitempty"`
	Noise    *Noise    `json:"noise,omitempty"`

	threshold float64 // mean round trip in ms that is too long
}

// Capacity is what an overloaded trial says of the rate that the server can carry, in three ways that know nothing of
// each other. Of a server that serves first in, first out at a constant rate they say the same. Rates are received
// messages a second, over all connections.
type Capacity struct {
	Delivered float64 `json:"from_deliveries"` // what arrived in the window
	Slope     float64 `json:"from_slope"`      // round trips grow by load/capacity − 1 a second
	Backlog   float64 `json:"from_backlog"`    // from the own messages that were still out at the end of the window
}

// Middle is the median of the estimates.
func (c Capacity) Middle() float64 { return median(c.Delivered, c.Slope, c.Backlog) }

// spread is how far the estimates are apart, as a share.
func (c Capacity) spread() float64 {
	lo, hi := min(c.Delivered, c.Slope, c.Backlog), max(c.Delivered, c.Slope, c.Backlog)
	if lo <= 0 {
		return math.Inf(1)
	}
	return hi/lo - 1
}

// Phase is why a trial was made.
type Phase string

const (
	PhaseProbe   Phase = "probe"   // for the order of magnitude, too short to count
	PhaseBracket Phase = "bracket" // around the saturation point
	PhaseConfirm Phase = "confirm" // that a rate can be sustained
	PhaseCurve   Phase = "curve"   // a point of the curve
	PhaseRamp    Phase = "ramp"    // a step of the ramp of 2011

	// Of a benchmark, around the search.
	PhaseIdle      Phase = "idle"      // connections without messages
	PhaseWarm      Phase = "warm-up"   // before anything counts
	PhaseLight     Phase = "light"     // a light load before the search
	PhaseRecovered Phase = "recovered" // the same a minute after its overloads
)

// Busiest is how busy the busiest worker of the client was, 0 to 1.
func (t *Trial) Busiest() float64 { return busiest(t.ClientBusy) }

func busiest(workers []float64) float64 {
	if len(workers) == 0 {
		return 0
	}
	return slices.Max(workers)
}

// Valid tells whether the trial says something of the server.
func (t *Trial) Valid() bool { return t.Verdict == OK || t.Verdict == Overloaded }

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
func (t *Trial) judge() {
	if t.threshold == 0 {
		t.threshold = saturationRTT
	}
	over := t.RTT.Mean >= t.threshold || t.NotCompleted > 0
	t.Verdict, t.Reason = OK, ""
	if over {
		t.Verdict = Overloaded
	}
	for _, rule := range []func(bool) (Verdict, string){t.failed, t.noisy, t.clientLimited} {
		if v, reason := rule(over); v != "" {
			t.Verdict, t.Reason = v, reason
			return
		}
	}
}

func (t *Trial) failed(bool) (Verdict, string) {
	switch {
	case t.Sent > 0 && t.Received == 0:
		return TargetFailed, "nothing came back"
	case t.Lost+t.Duplicated+t.Reordered > 0:
		return TargetFailed, fmt.Sprintf("%d lost, %d duplicated, %d reordered", t.Lost, t.Duplicated, t.Reordered)
	}
	return "", ""
}

func (t *Trial) noisy(bool) (Verdict, string) {
	switch {
	case t.Noise == nil:
	case t.Noise.Stolen > stolenMax:
		return Noisy, fmt.Sprintf("the hypervisor took %.0f %% of the CPUs' time", 100*t.Noise.Stolen)
	case t.Noise.Others > othersMax:
		return Noisy, fmt.Sprintf("other processes took %.0f %% of the CPUs' time", 100*t.Noise.Others)
	}
	return "", ""
}

func (t *Trial) clientLimited(over bool) (Verdict, string) {
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
		threshold: l.Threshold, Insecure: l.Target.Insecure(),
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
	if t.judge(); t.Verdict == Overloaded {
		t.Capacity = &Capacity{t.Delivered, t.Nominal / (1 + max(t.Slope, 0)), t.Nominal * float64(returned) / float64(p.schedule.messages)}
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
				t.compare(c.alone.tally, sent, 1)
			case c.pos == w.reference.end:
				follow++
			default:
				t.NotCompleted += t.Sent - w.reference.countAt(c.pos)
			}
		}
		t.compare(w.reference.tally, sent, follow)
	}
}

// compare adds the difference between a tally, which the given number of connections share, and what was sent.
func (t *Trial) compare(got *tally, sent []senderTally, connections int) {
	if connections == 0 {
		return
	}
	lost, duplicated := got.compare(sent)
	t.Duplicated += duplicated * connections
	t.Reordered += got.reordered * connections
	t.Foreign += got.foreign * connections
	t.Greetings += got.greetings * connections
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
