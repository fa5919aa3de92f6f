package loadclient

import (
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Verdict says what a trial is good for. Only OK and OVERLOADED measure the server.
type Verdict string

const (
	OK            Verdict = "OK"
	Overloaded    Verdict = "OVERLOADED"     // the server fell behind
	ClientLimited Verdict = "CLIENT-LIMITED" // we fell behind, so nothing is known of the server
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

// Trial is the result of one fixed rate at one level. Rates are messages a second.
type Trial struct {
	Time        time.Time `json:"time"`
	Target      string    `json:"target"`
	Protocol    Protocol  `json:"protocol"`
	Connections int       `json:"connections"`
	Window      float64   `json:"window_s"`
	SendRate    float64   `json:"send_rate"`      // over all connections
	Nominal     float64   `json:"nominal_rate"`   // send rate × connections: what 2011 called received
	Delivered   float64   `json:"delivered_rate"` // really received in the window
	Verdict     Verdict   `json:"verdict"`
	Reason      string    `json:"reason,omitempty"`

	RTT       Latency `json:"rtt_ms"`           // from when a message was due
	RTTActual Latency `json:"rtt_from_send_ms"` // from when it was sent: 2011's definition
	LagP99    float64 `json:"schedule_lag_p99_ms"`

	Sent         int `json:"sent"`
	SentLate     int `json:"sent_after_window"`
	Expected     int `json:"expected"` // sent × connections
	Received     int `json:"received"`
	Lost         int `json:"lost"`
	Duplicated   int `json:"duplicated"`
	Reordered    int `json:"reordered"`
	Foreign      int `json:"foreign"`       // messages that are not of this run
	Stragglers   int `json:"own_order"`     // connections that received another order than the first
	NotCompleted int `json:"not_completed"` // messages missing when the drain ended: lost, or later than that

	MessagesPerFrame float64   `json:"messages_per_frame"`
	MessagesPerRead  float64   `json:"messages_per_read"`
	BytesPerMessage  float64   `json:"bytes_per_message"`
	ClientBusy       []float64 `json:"client_busy"` // of each worker, 0 to 1
	Slope            float64   `json:"rtt_slope"`   // growth of the round trip a second of schedule: load/capacity − 1 when overloaded
	Server           *Usage    `json:"server,omitempty"`
}

// Limits of validity: beyond them the trial measured the client.
const (
	clientBusyMax    = 0.85
	notSentMax       = 0.005
	lagShareMax      = 0.05
	lagMax           = 20.0 // ms
	lagNegligible    = 2.0  // ms: below it a share of a tiny round trip says nothing
	drainTime        = 5 * time.Second
	settleTime       = 20 * time.Millisecond
	saturationRTT    = 200.0 // ms, the threshold of 2011
	serverBusyAtKnee = 0.90
)

// judge gives the verdict. That a worker was busy says nothing by itself: with time to spare it reads in smaller pieces.
// But if the round trips were long, the server idle, and a worker busy, then it was the worker.
func (t *Trial) judge() {
	busiest := 0.0
	for _, b := range t.ClientBusy {
		busiest = max(busiest, b)
	}
	over := t.RTT.Mean >= saturationRTT || t.NotCompleted > 0
	switch {
	case t.Sent > 0 && t.Received == 0:
		t.Verdict, t.Reason = TargetFailed, "nothing came back"
	case t.Lost+t.Duplicated+t.Reordered > 0:
		t.Verdict, t.Reason = TargetFailed, fmt.Sprintf("%d lost, %d duplicated, %d reordered", t.Lost, t.Duplicated, t.Reordered)
	case float64(t.SentLate) > notSentMax*float64(t.Sent):
		t.Verdict, t.Reason = ClientLimited, fmt.Sprintf("%.1f %% of the messages were sent after the window", 100*float64(t.SentLate)/float64(t.Sent))
	case t.LagP99 > lagMax || t.LagP99 > lagNegligible && t.LagP99 > lagShareMax*t.RTT.Mean:
		t.Verdict, t.Reason = ClientLimited, fmt.Sprintf("the schedule lagged %.1f ms at p99", t.LagP99)
	case over && busiest > clientBusyMax && t.Server == nil:
		t.Verdict, t.Reason = ClientLimited, fmt.Sprintf("a worker was busy %.0f %% of the time, and of the server's CPU nothing is known (--server-pid)", 100*busiest)
	case over && busiest > clientBusyMax && t.Server.CPU < serverBusyAtKnee:
		t.Verdict, t.Reason = ClientLimited, fmt.Sprintf("a worker was busy %.0f %% of the time, and the server's CPU only %.0f %%", 100*busiest, 100*t.Server.CPU)
	case over:
		t.Verdict = Overloaded
		if t.Server != nil && t.Server.CPU < serverBusyAtKnee {
			t.Reason = fmt.Sprintf("the server's CPU was only %.0f %% busy", 100*t.Server.CPU)
		}
	default:
		t.Verdict = OK
	}
}

// gather makes one result of what the workers measured.
func (l *Level) gather(p trialPlan, ends []windowEnd, usage *Usage) Trial {
	t := Trial{
		Time: p.start.UTC(), Target: l.Target.String(), Protocol: l.Target.Protocol, Connections: l.Connections,
		Window: p.window.Seconds(), SendRate: p.schedule.rate, Nominal: p.schedule.rate * float64(l.Connections), Server: usage,
	}
	all := newRecording()
	all.reset(p.window)
	sent := make([]senderTally, l.Connections)
	delivered, bytes, frames, reads := 0.0, 0, 0, 0
	for i, w := range l.workers {
		all.add(w.results)
		for s, n := range w.sentTally {
			sent[s].count += n.count
			sent[s].sum += n.sum
		}
		t.Sent += w.sent()
		t.SentLate += w.sent() - ends[i].sent
		delivered += float64(ends[i].delivered) / ends[i].at.Seconds()
		bytes, frames, reads = bytes+w.bytes, frames+w.frames, reads+w.reads
		t.ClientBusy = append(t.ClientBusy, 1-ends[i].idle.Seconds()/ends[i].at.Seconds())
		t.Received += w.delivered()
	}
	t.Delivered = delivered
	t.Expected = t.Sent * l.Connections
	l.integrity(&t, sent)
	t.RTT, t.RTTActual = newLatency(all.intended), newLatency(all.actual)
	t.LagP99 = float64(all.lag.ValueAtQuantile(99)) / 1000
	t.Slope = slope(all.buckets)
	if t.Received > 0 {
		n := float64(t.Received)
		t.BytesPerMessage = float64(bytes) / n
		t.MessagesPerFrame, t.MessagesPerRead = n/float64(max(frames, 1)), n/float64(max(reads, 1))
	}
	t.judge()
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
	for i := range r.buckets {
		r.buckets[i].count += o.buckets[i].count
		r.buckets[i].sum += o.buckets[i].sum
	}
}

// slope is the growth of the mean round trip with the time at which messages were due, by least squares.
func slope(buckets []bucket) float64 {
	var n, sx, sy, sxx, sxy float64
	for i, b := range buckets {
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
