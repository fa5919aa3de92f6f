package main

import (
	"runtime"
	"time"
)

// pacer makes a server of known capacity: it reckons when so many deliveries are over.
type pacer struct {
	perSecond float64   // deliveries; 0 is as fast as it goes
	free      time.Time // when all deliveries so far are over
}

// begin begins to serve what came after a pause, in which no capacity is saved up. It is not called when messages
// waited: a moment in which the server lacked the CPU is made up for.
func (p *pacer) begin(now time.Time) {
	if p.free.Before(now) {
		p.free = now
	}
}

// serve adds messages to be delivered to so many connections, and returns when that is over.
func (p *pacer) serve(messages, connections int) time.Time {
	p.free = p.free.Add(time.Duration(float64(messages) * float64(connections) / p.perSecond * float64(time.Second)))
	return p.free
}

// spin keeps the CPU busy until then, as serving would, and lets the other goroutines read and write.
func spin(until time.Time) {
	for time.Now().Before(until) {
		runtime.Gosched()
	}
}
