package loadclient

import "time"

// schedule is the open loop: message i is due at i/rate after the start, on the next connection in turn, whatever
// became of the messages before it. It is arithmetic; it reads no clock.
type schedule struct {
	rate        float64 // messages a second over all connections
	connections int
	messages    int // in all
	// messages after which the turn begins again with the first connection: all, or a second's as in 2011
	block int
}

// newSchedule is a schedule for a time. With restart the turn begins again each second, so that no more connections
// send than there are messages a second.
func newSchedule(rate float64, connections int, d time.Duration, restart bool) schedule {
	s := schedule{rate: rate, connections: connections, messages: max(1, int(rate*d.Seconds()+0.5))}
	s.block = s.messages
	if restart {
		s.block = max(1, int(rate+0.5))
	}
	return s
}

// due is when message i is to be sent, from the start.
func (s schedule) due(i int) time.Duration {
	return time.Duration(float64(i) / s.rate * float64(time.Second))
}

// rounding is less than any message, and more than the error of a product.
const rounding = 1e-6

// dueBy is how many messages are due at or before a time.
func (s schedule) dueBy(t time.Duration) int {
	if t < 0 {
		return 0
	}
	return min(s.messages, int(t.Seconds()*s.rate+rounding)+1)
}

// connection is the one that sends message i.
func (s schedule) connection(i int) int { return i % s.block % s.connections }

// turns is how often it is connection c's turn among the first n messages of a block.
func (s schedule) turns(c, n int) int {
	if n <= c {
		return 0
	}
	return (n - c - 1 + s.connections) / s.connections
}

// dueOf is how many messages of connection c are among the first n.
func (s schedule) dueOf(c, n int) int {
	return n/s.block*s.turns(c, s.block) + s.turns(c, n%s.block)
}

// index is the number of connection c's k-th message.
func (s schedule) index(c, k int) int {
	turns := s.turns(c, s.block)
	return k/turns*s.block + c + k%turns*s.connections
}
