package server

import (
	"testing"
	"time"
)

// The garbage collector runs the more often the more is kept, and is not told of small changes.
func TestPaceOfTheCollector(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	told := 0
	g := collector{set: func(percent int) int { told = percent; return 0 }}
	for _, step := range []struct{ used, percent int }{
		{2 * mib, 30}, {64 * mib, 30}, {93 * mib, 17}, {128 * mib, 17}, {200 * mib, 8}, {2 << 30, 5}, {0, 30},
	} {
		if g.adjust(step.used); g.percent != step.percent || told != step.percent {
			t.Errorf("%d %% with %d bytes in use, want %d", g.percent, step.used, step.percent)
		}
	}
	if g.peak != 2<<30 {
		t.Errorf("the peak is %d", g.peak)
	}
	for _, tt := range []struct {
		adjusted, percent, used   int
		wantAdjusted, wantPercent int
	}{
		{64 * mib, 25, 68*mib - 1, 64 * mib, 25}, // less than 4 MiB more or less than when it was told
		{64 * mib, 25, 60*mib + 1, 64 * mib, 25},
		{64 * mib, 90, 68 * mib, 68 * mib, 23},
		{64 * mib, 90, 60 * mib, 60 * mib, 26},
		{64 * mib, 25, 88 * mib, 88 * mib, 25}, // within three quarters and four thirds of what it was told
		{64 * mib, 25, 93 * mib, 93 * mib, 17},
		{128 * mib, 12, 100 * mib, 100 * mib, 12},
		{128 * mib, 12, 94 * mib, 94 * mib, 17},
		{64 * mib, 25, 32 * mib, 32 * mib, 30}, // and back to the most
		{64 * mib, 30, 50 * mib, 50 * mib, 30},
		{64 * mib, 25, 0, 0, 30},
	} {
		g.adjusted, g.percent = tt.adjusted, tt.percent
		if g.adjust(tt.used); g.adjusted != tt.wantAdjusted || g.percent != tt.wantPercent {
			t.Errorf("%+v: told %d %% at %d bytes", tt, g.percent, g.adjusted)
		}
	}
}

// Every ten seconds the loop gives memory back, unless it is busy and little has died.
func TestMemoryIsGivenBackWhenQuiet(t *testing.T) {
	t.Parallel()
	const interval = giveBackInterval
	l := idle(t, Config{})
	g := &l.memory.collector
	used := func() int { return l.memory.budget.Used() }
	look := func(now int64, moved uint64, died int) (looked, gave bool) {
		t.Helper()
		l.now = now
		l.stats.BytesSent, l.stats.BytesReceived = l.stats.BytesSent+moved-moved/3, l.stats.BytesReceived+moved/3
		g.peak = used() + died
		before := g.moved
		l.giveBack()
		g.busy <- struct{}{} // it has ended, if it was one
		<-g.busy
		if looked = g.at == now; looked && g.moved != before+moved {
			t.Errorf("%d bytes have moved, want %d", g.moved, before+moved)
		}
		return looked, died > 0 && g.peak == used()
	}
	for i, tt := range []struct {
		now    int64
		moved  uint64
		died   int
		looked bool
		gave   bool
	}{
		{1, 300, 1, true, true}, // the first time
		{interval, 0, 1, false, false},
		{interval + 1, 0, 1, true, true},
		{2*interval + 1, quietBytes, 1, true, true},
		{3*interval + 1, quietBytes + 1, garbageBytes - 1, true, false},
		{4*interval + 1, quietBytes + 1, garbageBytes, true, true},
	} {
		if looked, gave := look(tt.now, tt.moved, tt.died); looked != tt.looked || gave != tt.gave {
			t.Errorf("step %d: it looked %v and gave back %v", i, looked, gave)
		}
	}
	g.busy <- struct{}{} // memory is on its way back: nobody waits for that
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.now = 6 * interval
		l.giveBack()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the loop waits")
	}
	<-g.busy
}
