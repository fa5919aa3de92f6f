package loadclient

import (
	"fmt"
	"time"

	"github.com/sockloop/sockloop/loadclient/results"
)

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
	slowedMax = 1 - results.SlowCPU

	drainTime     = 5 * time.Second
	settleTime    = 20 * time.Millisecond
	saturationRTT = 200.0 // ms, the threshold of 2011
)

// judge gives the verdict, and counts as lost what is missing and cannot come any more. Whose fault long round trips
// are is read off the queues: what lay unread in the client's own sockets was the client's, everything else the
// server's, whatever the CPUs of both did.
func judge(t *Trial, threshold float64) {
	if threshold == 0 {
		threshold = saturationRTT
	}
	if t.NotCompleted > 0 && t.Queues.Silent() {
		t.Lost, t.NotCompleted = t.Lost+t.NotCompleted, 0
	}
	over := 0. // how long messages took, in ms, if that was too long: those that are missing took longer than any
	if t.RTT.Mean >= threshold || t.NotCompleted > 0 {
		over = max(t.RTT.Mean, threshold)
	}
	t.Verdict, t.Reason = OK, ""
	if over > 0 {
		t.Verdict, t.Reason = Overloaded, t.Queues.Where(t)
	}
	for _, rule := range []func(*Trial, float64) (Verdict, string){failed, noisy, clientLimited} {
		if v, reason := rule(t, over); v != "" {
			t.Verdict, t.Reason = v, reason
			return
		}
	}
}

func failed(t *Trial, _ float64) (Verdict, string) {
	switch {
	case t.Sent > 0 && t.Received == 0:
		return TargetFailed, "nothing came back"
	case t.Lost+t.Duplicated+t.Reordered > 0:
		return TargetFailed, fmt.Sprintf("%d lost, %d duplicated, %d reordered", t.Lost, t.Duplicated, t.Reordered)
	}
	return "", ""
}

func noisy(t *Trial, _ float64) (Verdict, string) {
	if reason := tooMuch(t.Noise); reason != "" {
		return Noisy, reason
	}
	return "", ""
}

func clientLimited(t *Trial, over float64) (Verdict, string) {
	late, reason := t.LagP99-t.Rest, ""
	switch {
	case float64(t.SentLate) > notSentMax*float64(t.Sent):
		reason = fmt.Sprintf("%.1f %% of the messages were sent after the window",
			100*float64(t.SentLate)/float64(t.Sent))
	case t.LagP99 > lagMax || late > lagNegligible && late > lagShareMax*t.RTT.Mean:
		reason = fmt.Sprintf("the schedule lagged %.1f ms at p99", t.LagP99)
	case over > 0 && t.Queues != nil && t.Queues.Pressed && t.Queues.Unread >= t.Queues.Unsent: // not the server's
		reason = "the kernel was short of memory for sockets, and dropped segments: raise net.ipv4.tcp_mem"
	case over > 0 && t.Busiest() > busyMax && t.Queues.UnreadTime(t) > unreadMin*over:
		reason = fmt.Sprintf("the client never caught up with its sockets, in which %.1f MB lay unread",
			float64(t.Queues.Unread)/1e6)
	case over > 0 && t.Queues.UnreadTime(t) > unreadMax*over:
		reason = fmt.Sprintf("%.1f MB lay unread in the client's sockets, %.0f ms of what it received",
			float64(t.Queues.Unread)/1e6, t.Queues.UnreadTime(t))
	default:
		return "", ""
	}
	return ClientLimited, reason
}
