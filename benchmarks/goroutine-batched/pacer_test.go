package main

import (
	"testing"
	"time"
)

// A pacer spends what its capacity says, exactly, however the deliveries are cut into batches; it saves nothing up.
func TestPacer(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	p := pacer{perSecond: 100e6}
	p.begin(at)
	for i, batch := range []struct {
		messages, connections int
		after                 time.Duration // since the beginning
	}{
		{50_000, 2000, time.Second},
		{1, 2000, time.Second + 20*time.Microsecond},
		{3, 25, time.Second + 20*time.Microsecond + 750*time.Nanosecond},
		{0, 25, time.Second + 20*time.Microsecond + 750*time.Nanosecond},
		{1_000_000, 0, time.Second + 20*time.Microsecond + 750*time.Nanosecond},
	} {
		if got := p.serve(batch.messages, batch.connections).Sub(at); got != batch.after {
			t.Errorf("batch %d ends after %v, want %v", i, got, batch.after)
		}
	}
	p.begin(at) // it is not free before the others are over
	if got := p.serve(1_000_000, 100).Sub(at); got != 2*time.Second+20*time.Microsecond+750*time.Nanosecond {
		t.Error(got)
	}
	p.begin(at.Add(10 * time.Second))
	for range 3277 { // frames of 61 messages: what is rounded is less than a nanosecond a frame
		p.serve(61, 500)
	}
	if got := p.serve(0, 0).Sub(at.Add(10 * time.Second)); (999485*time.Microsecond - got).Abs() > 4*time.Microsecond {
		t.Error(got)
	}
}
