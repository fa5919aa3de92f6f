package main

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/loadclient"
)

// How far a run is follows the levels' expected times, corrected by how long those took that are done.
func TestPlan(t *testing.T) {
	t.Parallel()
	p := plan{expected: []time.Duration{10 * time.Second, 10 * time.Second, 20 * time.Second}}
	start := time.Now()
	check := func(at time.Duration, share float64, left time.Duration) {
		t.Helper()
		if s, l := p.state(start.Add(at)); math.Abs(s-share) > 1e-9 || (l-left).Abs() > time.Millisecond {
			t.Errorf("after %v: %.3f, %v left, want %.3f, %v", at, s, l, share, left)
		}
	}
	p.begin(0, start)
	check(0, 0, 40*time.Second)
	check(5*time.Second, 0.125, 35*time.Second)
	check(time.Minute, 0.2425, 30300*time.Millisecond) // longer than expected
	p.end(start.Add(20 * time.Second))
	p.begin(1, start.Add(20*time.Second))
	check(20*time.Second, 0.25, time.Minute) // all takes twice as long
	check(30*time.Second, 0.375, 50*time.Second)
	resumed := plan{expected: p.expected}
	resumed.begin(2, start)
	if s, l := resumed.state(start); s != 0.5 || l != 20*time.Second {
		t.Errorf("resumed: %v, %v left", s, l)
	}
}

func TestSparkline(t *testing.T) {
	t.Parallel()
	for want, values := range map[string][]float64{"": nil, "▁": {5}, "▁▁": {2, 2}, "▁▄█▁": {1, 2, 3, 1}} {
		if got := sparkline(values); got != want {
			t.Errorf("%v: %s, want %s", values, got, want)
		}
	}
}

// The counters of a trial grow, and begin anew with the next.
func TestMeter(t *testing.T) {
	t.Parallel()
	var m meter
	for _, v := range []loadclient.Live{{}, {Returned: 10, RTTSum: 100 * time.Millisecond},
		{Returned: 10, RTTSum: 100 * time.Millisecond}, {Returned: 30, RTTSum: 500 * time.Millisecond},
		{Returned: 5, RTTSum: 10 * time.Millisecond}} {
		m.sample(v)
	}
	if len(m.recent) != 3 || m.recent[0] != 10 || m.recent[1] != 20 || m.rtt() != 2 {
		t.Errorf("%v", m.recent)
	}
	for i := range 100 {
		m.sample(loadclient.Live{Returned: int64(i + 6), RTTSum: time.Duration(i) * time.Second})
	}
	if len(m.recent) != sparkWidth {
		t.Errorf("%d values", len(m.recent))
	}
}

// The bar on a terminal: it moves while nothing is printed, lines go above it, and it is gone in the end.
func TestBar(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // the test has read it
	c := console{out: f, err: f, plan: &plan{expected: []time.Duration{time.Minute}}}
	c.plan.begin(0, time.Now())
	c.live = newLive(f, c.plan)
	c.level(0, 25)
	c.line("a line\n")
	c.levelDone()
	c.done()
	c.line("the end\n")
	text, err := os.ReadFile(f.Name())
	if err != nil || !strings.Contains(string(text), "a line\n") || !strings.HasSuffix(string(text), "the end\n") {
		t.Errorf("%q %v", text, err)
	}
	l := live{plan: &plan{expected: []time.Duration{time.Minute, time.Minute}, level: 1},
		level: &loadclient.Level{LevelConfig: loadclient.LevelConfig{Connections: 25}}, nominal: 2e6,
		meter: meter{recent: []float64{1, 3, 2}}}
	got := l.describe(90 * time.Second)
	if got != "1m30s left, level 2 of 2: 25 connections, 2M/s, round trip 2.0 ms ▁█▄" {
		t.Errorf("%q", got)
	}
}
