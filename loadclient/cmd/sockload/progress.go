package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/loadclient/results"
)

// plan is how far a run is, by how long its levels are expected to take; those that are done correct the expectation.
type plan struct {
	expected []time.Duration
	level    int // the one that runs
	begun    time.Time
	done     time.Duration // expected of the levels that this run has measured
	took     time.Duration // by them
}

// begin begins a level.
func (p *plan) begin(level int, now time.Time) { p.level, p.begun = level, now }

// end ends the level that runs.
func (p *plan) end(now time.Time) {
	p.done += p.expected[p.level]
	p.took += now.Sub(p.begun)
}

// almost is how far a level that takes longer than expected seems to be.
const almost = 0.97

// state is how far the run is, 0 to 1, and how long it will take.
func (p *plan) state(now time.Time) (share float64, left time.Duration) {
	pace := 1.0
	if p.done > 0 {
		pace = p.took.Seconds() / p.done.Seconds()
	}
	var before, after, total time.Duration
	for i, d := range p.expected {
		total += d
		if i < p.level {
			before += d
		} else if i > p.level {
			after += d
		}
	}
	this := p.expected[p.level]
	in := min(time.Duration(float64(now.Sub(p.begun))/pace), time.Duration(almost*float64(this)))
	return float64(before+in) / float64(total), time.Duration(float64(this-in+after) * pace)
}

// sparkline draws the last values, each with one of eight heights between the least and the largest.
func sparkline(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	heights := []rune("▁▂▃▄▅▆▇█")
	lo, hi := slices.Min(values), slices.Max(values)
	var b strings.Builder
	for _, v := range values {
		i := 0
		if hi > lo {
			i = int((v - lo) / (hi - lo) * float64(len(heights)-1))
		}
		b.WriteRune(heights[i])
	}
	return b.String()
}

// meter makes round trips over time from a trial's counters, which begin anew with every trial.
type meter struct {
	last   loadclient.Live
	recent []float64 // mean round trips in ms
}

// sparkWidth is how many values a sparkline shows.
const sparkWidth = 16

func (m *meter) sample(v loadclient.Live) {
	n, sum := v.Returned-m.last.Returned, v.RTTSum-m.last.RTTSum
	if v.Returned < m.last.Returned {
		n, sum = v.Returned, v.RTTSum
	}
	m.last = v
	if n <= 0 {
		return
	}
	m.recent = append(m.recent, (sum/time.Duration(n)).Seconds()*1000)
	if len(m.recent) > sparkWidth {
		m.recent = m.recent[1:]
	}
}

// rtt is the last value.
func (m *meter) rtt() float64 {
	if len(m.recent) == 0 {
		return 0
	}
	return m.recent[len(m.recent)-1]
}

// live is the bar on a terminal, for the whole run: how far it is, the level and the rate, and the round trips as they
// come.
type live struct {
	bar  *progressbar.ProgressBar
	plan *plan

	changes chan func(*live) // what the run tells the display
	stop    chan struct{}
	stopped chan struct{}

	level   *loadclient.Level
	nominal float64
	meter   meter
}

const barSteps = 1000

func newLive(f *os.File, p *plan) *live {
	l := &live{
		bar: progressbar.NewOptions(barSteps, progressbar.OptionSetWriter(f), progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(20), progressbar.OptionUseANSICodes(true)),
		plan: p, changes: make(chan func(*live)), stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	go l.run()
	return l
}

const (
	refresh     = 200 * time.Millisecond
	unknownRate = "opening connections"
)

func (l *live) run() {
	defer close(l.stopped)
	tick := time.NewTicker(refresh)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			_ = l.bar.Clear()
			return
		case change := <-l.changes:
			change(l)
		case <-tick.C:
			if l.level != nil {
				l.meter.sample(l.level.Live())
			}
			share, left := l.plan.state(time.Now())
			l.bar.Describe(l.describe(left))
			_ = l.bar.Set(max(1, int(share*barSteps)))
		}
	}
}

func (l *live) describe(left time.Duration) string {
	rate := unknownRate
	if l.level != nil {
		rate = fmt.Sprintf("%s/s, round trip %.1f ms %s", results.Short(l.nominal), l.meter.rtt(),
			sparkline(l.meter.recent))
	}
	connections := 0
	if l.level != nil {
		connections = l.level.Connections
	}
	return fmt.Sprintf("%s left, level %d of %d: %d connections, %s", left.Round(time.Second), l.plan.level+1,
		len(l.plan.expected), connections, rate)
}

// do changes the display.
func (l *live) do(change func(*live)) {
	select {
	case l.changes <- change:
	case <-l.stopped:
	}
}

func (l *live) close() {
	close(l.stop)
	<-l.stopped
}
