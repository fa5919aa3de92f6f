package server

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// What things cost, in units of about a fifth of a microsecond: a short message takes one.
const (
	requestCost = 256 // a request of no use, such as GET /info: 7 µs, and its response one write
	openCost    = 512 // a session that opens, and what its service does for it
	pingCost    = 8   // a ping, answered by a write of its own
	messageCost = 1
	byteShift   = 5 // 32 bytes of a message cost one more
)

const (
	// visitCost is the share of one connection before others have theirs: 16 requests, or 4,096 messages, 1 ms.
	visitCost = 4096
	// turnCost is what all connections together may do before the turn's events go on: 256 requests, or 65,536 messages.
	// It bounds how long anybody waits for an answer, whoever else asks for whatever, by some 10 ms a turn.
	turnCost = 64 << 10
)

// share is what is left of the present turn and of the present connection's part of it, and who waits for the next. The
// queue is first in, first out: everybody has a visit before anybody has a second.
type share struct {
	turn, visit int
	queue       []*conn // those that have had their visit, or found the turn spent; from first on
	first       int
	fd          int // eventfd: readable while somebody waits
}

func (s *share) open() (err error) {
	s.turn = turnCost
	s.fd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return err
}

// spend charges the present visit with what has been done.
func (s *share) spend(cost int) {
	s.visit -= cost
	s.turn -= cost
}

// messageOf is the cost of a message with so many bytes.
func messageOf(bytes int) int { return messageCost + bytes>>byteShift }

func (s *share) waiting() int { return len(s.queue) - s.first }

func (s *share) push(c *conn) {
	if s.waiting() == 0 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(s.fd, one[:])
	}
	s.queue = append(s.queue, c)
}

func (s *share) pop() *conn {
	c := s.queue[s.first]
	s.queue[s.first] = nil
	if s.first++; s.first == len(s.queue) {
		s.queue, s.first = s.queue[:0], 0
		var count [8]byte
		_, _ = unix.Read(s.fd, count[:])
	}
	if s.first > 1024 && s.first > len(s.queue)/2 { // most of it is behind us
		s.queue, s.first = s.queue[:copy(s.queue, s.queue[s.first:])], 0
	}
	return c
}

// goOn gives those that wait their visits, in turn, until this turn is spent. It is an event like any other, and comes
// again while anybody waits.
func (l *loop) goOn() {
	l.share.turn = turnCost
	for l.share.waiting() > 0 && l.share.turn > 0 {
		if c := l.share.pop(); !c.dead && c.hold == holdShare {
			c.hold = holdNone
			c.goOn()
		}
	}
}
