package loadclient

import "time"

// schedule is the open loop: message i is due at i/rate after the start, on connection i mod connections, whatever became
// of the messages before it. It is arithmetic; it reads no clock.
type schedule struct {
	rate        float64 // messages a second over all connections
	connections int
	messages    int // in all
}

func newSchedule(rate float64, connections int, d time.Duration) schedule {
	return schedule{rate, connections, max(1, int(rate*d.Seconds()+0.5))}
}

// due is when message i is to be sent, from the start.
func (s schedule) due(i int) time.Duration {
	return time.Duration(float64(i) / s.rate * float64(time.Second))
}

// dueBy is how many messages are due at or before a time.
func (s schedule) dueBy(t time.Duration) int {
	if t < 0 {
		return 0
	}
	return min(s.messages, int(t.Seconds()*s.rate)+1)
}

// dueOf is how many messages of connection c are among the first n.
func (s schedule) dueOf(c, n int) int {
	if n <= c {
		return 0
	}
	return (n - c - 1 + s.connections) / s.connections
}

// index is the number of connection c's k-th message.
func (s schedule) index(c, k int) int { return c + k*s.connections }
