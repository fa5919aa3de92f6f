package server

// What things cost, in units: a short message is one, a fifth of a microsecond.
const (
	requestCost = 256 // a request, whose response is a write: 51 µs, seven times what one of no use takes
	openCost    = 512 // a session that opens, and what its service does for it
	endCost     = 128 // one that ends since nobody has asked for it
	pingCost    = 64  // a ping, answered by a write of its own
	messageCost = 1
	byteShift   = 5 // 32 bytes that are read cost one, whatever they are, and 32 bytes of a message one more

	// 16 bytes of a response cost one of the visit, so that whoever asks for pages has one at a time; 128 bytes cost
	// one of the turn, which is what they take.
	sendVisitShift, sendTurnShift = 4, 7

	// Whoever has done something in a visit that cannot be divided, and took more than two, comes behind the others for
	// a millisecond for each 64 units more: some eighty times as long as it took.
	behindShift = 6

	// A KiB of broadcasts, counted for each subscriber, costs one of the visit: about what sending it takes.
	fanOutShift = 10
)

const (
	// visitCost is the share of one connection before others have theirs: 4,096 messages, 1 ms. It is also spent after
	// visitRequests: a client whose requests come one at a time is not to wait for all that others have sent ahead.
	visitCost     = 4096
	visitRequests = 4
	// turnCost is what all connections together may do before the turn's events go on: 256 requests, or 65,536
	// messages. It bounds how long anybody waits for an answer, whoever else asks for whatever, by some 10 ms a turn.
	turnCost = 64 << 10
)

// share is what is left of the present turn and of the present connection's part of it, and who waits for the next.
// Those who found the turn spent come before those who have had a visit and want another, or took much more than one a
// short while ago, so a client whose requests come one at a time does not wait for all that others have sent ahead.
// Each queue is first in, first out.
type share struct {
	turn, visit  int
	fanOut       int  // bytes, of fanOutMax
	fanOutMax    int  // Config.TurnBytesMax
	handed       bool // a message was handed on, in this visit
	published    bool // and something was published
	fresh, again connQueue
	ready        eventFD // raised while somebody waits

	publishers []*conn // who wait for the next turn, since what this one can send out is spent
	released   int     // of them, since a turn began, who have not had their visit yet
	spentSince int64   // loop time since which there have always been some; 0 is that there are none
}

// againTurn is the part of a turn that is kept for those who want another visit.
const againTurn = turnCost / 4

// init begins the first turn.
func (s *share) init(fanOut int) { s.turn, s.fanOut, s.fanOutMax = turnCost, fanOut, fanOut }

// spent tells that the turn is over for everybody: what may be done in it is, or more is published than two turns can
// send, by sessions that were not known to publish.
func (s *share) spent() bool { return s.turn <= 0 || s.fanOut <= -s.fanOutMax }

// beginVisit begins a visit.
func (s *share) beginVisit() { s.visit, s.handed, s.published = visitCost, false, false }

// publish charges a broadcast of so many bytes, counted for each subscriber. When the turn can send out no more, this
// message was the visit's last.
func (s *share) publish(bytes int) {
	s.published = true
	s.fanOut -= bytes
	if s.visit -= bytes >> fanOutShift; s.fanOut <= 0 {
		s.visit = min(s.visit, 0)
	}
}

// spend charges the present visit with what has been done.
func (s *share) spend(cost int) {
	s.visit -= cost
	s.turn -= cost
}

// spendRequest charges a request.
func (s *share) spendRequest() {
	s.visit -= visitCost / visitRequests
	s.turn -= requestCost
}

// messageOf is the cost of a message with so many bytes.
func messageOf(bytes int) int { return messageCost + bytes>>byteShift }

func (s *share) waiting() bool { return s.fresh.len()+s.again.len() > 0 }

// push has a connection wait for a visit.
func (s *share) push(c *conn, to *connQueue) {
	if !s.waiting() {
		s.ready.raise()
	}
	to.push(c)
}

// pop is whose turn it is.
func (s *share) pop() *conn {
	from := &s.fresh
	if from.len() == 0 || s.again.len() > 0 && s.turn <= againTurn {
		from = &s.again
	}
	c := from.pop()
	if !s.waiting() {
		s.ready.clear()
	}
	return c
}

// connQueue is a queue of connections.
type connQueue struct {
	list  []*conn
	first int // of list; those before it have left
}

func (q *connQueue) len() int { return len(q.list) - q.first }

func (q *connQueue) push(c *conn) { q.list = append(q.list, c) }

func (q *connQueue) pop() *conn {
	c := q.list[q.first]
	q.list[q.first] = nil
	q.first++
	if q.first > len(q.list)/2 { // most of it has left
		n := copy(q.list, q.list[q.first:])
		clear(q.list[n:])
		q.list, q.first = q.list[:n], 0
	}
	return c
}

// grantVisits gives those that wait their visits until this turn is spent. It is an event like any other, and comes
// again while anybody waits.
func (l *loop) grantVisits() {
	l.share.turn = turnCost
	for l.share.waiting() && !l.share.spent() {
		c := l.share.pop()
		if c.publishes && l.share.released > 0 {
			l.share.released--
		}
		if !c.dead && c.hold == holdShare {
			if c.hold = holdNone; c.mayPublish() {
				c.resume()
			}
		}
	}
}

// mayPublish tells whether the turn can send out what the connection's session may publish, and else has it wait for
// the next: a session that published in its last visit is taken to do so again.
func (c *conn) mayPublish() bool {
	if c.publishes && c.loop.share.fanOut <= 0 {
		c.wait(holdTurn)
		return false
	}
	return true
}

// nextTurn begins another turn.
func (l *loop) nextTurn() {
	s := &l.share
	tooMuch := len(s.publishers) > 0 || s.fanOut <= 0 && s.waiting() || l.brokerSide.behind()
	switch {
	case tooMuch && s.spentSince == 0:
		s.spentSince = max(l.now, 1)
	case !tooMuch && s.released == 0:
		s.spentSince = 0
	}
	s.turn, s.fanOut = turnCost, s.fanOutMax
	for _, c := range s.publishers {
		if !c.dead && c.hold == holdTurn {
			s.released++
			c.release(holdTurn)
		}
	}
	clear(s.publishers)
	s.publishers = s.publishers[:0]
	if l.timingOut {
		l.timeOut()
	}
	l.brokerSide.nextTurn()
}
