package server

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
)

// wasting is a protocol that takes whatever comes, and makes nothing of it.
type wasting struct{ protocol }

func (wasting) receive([]byte) []byte { return nil }
func (wasting) unfinished() bool      { return false }

// Bytes cost, whatever they are: fragments without a byte, empty lines, white space.
func TestInputThatIsOfNoUseCosts(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	share := &s.loop.share
	share.turn = turnCost
	c := &conn{loop: s.loop, protocol: wasting{}}
	c.feed(make([]byte, readBytes))
	if spent := turnCost - share.turn; spent != readBytes>>byteShift || visitCost-share.visit != spent {
		t.Errorf("a read of %d bytes cost the turn %d and the visit %d", readBytes, spent, visitCost-share.visit)
	}
}

// While a turn can send out no more, sessions that publish wait for the next one, and nobody else; beyond twice its
// bound everybody does.
func TestTurnThatCanSendNoMore(t *testing.T) {
	t.Parallel()
	s, err := New(Config{TurnBytesMax: 1000})
	if err != nil {
		t.Fatal(err)
	}
	share := &s.loop.share
	share.turn, share.fanOut, share.fanOutMax = turnCost, 1000, 1000
	publisher, other := &conn{loop: s.loop, publishes: true}, &conn{loop: s.loop}
	if share.publish(999); !publisher.mayPublish() || share.visit < 0 {
		t.Error("a publisher waits though there is room")
	}
	share.beginVisit()
	share.publish(1)
	if share.visit > 0 || publisher.mayPublish() || publisher.hold != holdTurn || len(share.publishers) != 1 {
		t.Errorf("a publisher goes on: its visit has %d left, it is held for %d", share.visit, publisher.hold)
	}
	if share.publish(999); !other.mayPublish() || share.spent() {
		t.Error("somebody who publishes nothing waits")
	}
	if share.publish(1); !share.spent() {
		t.Error("nobody waits at twice the bound")
	}
	publisher.publishes, publisher.hold = true, holdNone
	publisher.protocol = wasting{}
	if publisher.feed([]byte("half a frame")); !publisher.publishes {
		t.Error("a visit without a message made a publisher unknown")
	}
}

// What a few compressed bytes become costs like bytes that were read, beside what the message costs, and each of them
// one for being inflated.
func TestInflatedBytesCost(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Compress: true})
	if err != nil {
		t.Fatal(err)
	}
	const size = 60_000
	unmasked := s.loop.deflater.AppendFrame(nil, ws.OpText, []byte(strings.Repeat("x", size)))
	_, header, err := codec.ParseHeader(unmasked)
	if err != nil {
		t.Fatal(err)
	}
	frame := codec.AppendMaskedFrame(nil, ws.OpText, unmasked[header:], [4]byte{1, 2, 3, 4})
	frame[0] = unmasked[0]
	w := newWebSocket(&conn{loop: s.loop}, &route{service: Echo()}, true)
	w.deflate, w.reader.Inflater = true, &s.loop.inflater
	share := &s.loop.share
	share.turn = turnCost
	share.beginVisit()
	w.receive(frame)
	want := messageCost + size>>byteShift + messageOf(size) + len(unmasked) - header
	if spent := turnCost - share.turn; spent != want {
		t.Errorf("%d bytes that became %d cost %d", len(frame), size, spent)
	}
}

// A turn's bound counts what is sent: of a topic whose batches shrink, that is less than what is published.
func TestCompressedBatchesSpendWhatIsSent(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Compress: true})
	if err != nil {
		t.Fatal(err)
	}
	const size = 60_000
	topic := s.NewTopic("x")
	w := newWebSocket(&conn{loop: s.loop}, &route{service: Echo()}, false)
	w.deflate = true
	session := w.session.(*Session)
	session.state = open
	session.Subscribe(topic)
	m := Text([]byte(strings.Repeat("x", size)))
	share := &s.loop.share
	for i, most := range []int{size, size / 10} { // of the first nobody knows yet what it becomes
		before := share.fanOut
		topic.Publish(&m)
		if spent := before - share.fanOut; spent > most || i == 0 && spent < size {
			t.Errorf("message %d spent %d", i, spent)
		}
		topic.seal()
	}
}

// A request costs a turn what it takes, and a visit its part of those that it may have.
func TestRequestsCost(t *testing.T) {
	t.Parallel()
	var s share
	s.turn = turnCost
	s.beginVisit()
	if s.spendRequest(); s.turn != turnCost-requestCost || s.visit != visitCost-visitCost/visitRequests {
		t.Errorf("the turn has %d left and the visit %d", s.turn, s.visit)
	}
	if s.spend(3); s.turn != turnCost-requestCost-3 || s.visit != visitCost-visitCost/visitRequests-3 {
		t.Errorf("the turn has %d left and the visit %d", s.turn, s.visit)
	}
}

// Who waits is served in order, and the memory of those who have left is used again.
func TestConnectionsQueue(t *testing.T) {
	t.Parallel()
	var q connQueue
	all := make([]*conn, 9)
	for i := range all {
		all[i] = &conn{}
		q.push(all[i])
	}
	for i, c := range all {
		if q.len() != len(all)-i {
			t.Errorf("%d wait, want %d", q.len(), len(all)-i)
		}
		if q.pop() != c {
			t.Errorf("not number %d", i)
		}
		if q.first > len(q.list)/2 {
			t.Errorf("%d of %d have left", q.first, len(q.list))
		}
		if i == 3 && q.first != 4 {
			t.Error("those who wait are copied each time")
		}
	}
}

// Those who found the turn spent come before those who want another visit, until a quarter of the turn is left: that
// is for the others.
func TestWhoComesNext(t *testing.T) {
	t.Parallel()
	fresh, again := &conn{}, &conn{}
	for _, tt := range []struct {
		turn         int
		fresh, again bool
		want         *conn
	}{
		{turnCost, true, true, fresh}, {againTurn + 1, true, true, fresh}, {againTurn, true, true, again},
		{againTurn, true, false, fresh}, {turnCost, false, true, again},
	} {
		var s share
		var err error
		if s.ready, err = newEventFD(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.ready.close)
		if tt.fresh {
			s.push(fresh, &s.fresh)
		}
		if tt.again {
			s.push(again, &s.again)
		}
		if s.turn = tt.turn; s.pop() != tt.want {
			t.Errorf("%+v: the other one came", tt)
		}
		_, err = unix.Read(int(s.ready), make([]byte, 8))
		if waits := s.waiting(); waits != (err == nil) {
			t.Errorf("%+v: somebody waits: %v, and the loop hears of it: %v", tt, waits, err == nil)
		}
	}
}

// Whoever takes much in one visit comes behind the others for a while that grows with it.
func TestMuchAtOnceComesBehind(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ spent, behind int64 }{
		{2 * visitCost, 0}, {2*visitCost + 1<<behindShift - 1, 0}, {2*visitCost + 1<<behindShift, 1},
		{2*visitCost + 10<<behindShift, 10},
	} {
		l := idle(t, Config{})
		l.now = 1000
		c := &conn{loop: l}
		c.protocol = spending{c, int(tt.spent)}
		c.feed([]byte("x"))
		if got := max(c.behindUntil-l.now, 0); got != tt.behind {
			t.Errorf("%d units: behind for %d ms, want %d", tt.spent, got, tt.behind)
		}
	}
}

// spending is a protocol that spends so much on whatever comes.
type spending struct {
	c    *conn
	cost int
}

func (s spending) receive([]byte) []byte { s.c.loop.share.spend(s.cost); return nil }
func (s spending) unfinished() bool      { return false }
func (s spending) writable()             {}
func (s spending) tick()                 {}
func (s spending) goAway()               {}
func (s spending) kept() int             { return 0 }
func (s spending) outbox() int           { return 0 }
func (s spending) closed()               {}

// A visit ends when its share is spent: what has come then waits.
func TestVisitsEnd(t *testing.T) {
	t.Parallel()
	for spent, waits := range map[int]bool{visitCost - 1: false, visitCost: true} {
		l := idle(t, Config{})
		c := &conn{loop: l}
		first := true
		c.protocol = visiting{spending{c, 0}, func(data []byte) []byte {
			if !first {
				return nil
			}
			first = false
			l.share.visit -= spent
			return data
		}}
		c.feed([]byte("x"))
		if got := c.hold == holdShare; got != waits {
			t.Errorf("after %d units the rest waits: %v", spent, got)
		}
	}
}

type visiting struct {
	spending
	take func([]byte) []byte
}

func (v visiting) receive(p []byte) []byte { return v.take(p) }

// A response costs the visit and the turn by its length.
func TestResponsesCost(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.connect()
	b.await(func(st Stats) bool { return st.Connections == 1 })
	b.here(func() {
		s := &b.loop.share
		s.beginVisit()
		turn := s.turn
		b.only().send(make([]byte, 8192))
		if s.visit != visitCost-8192>>sendVisitShift || s.turn != turn-8192>>sendTurnShift {
			t.Errorf("8 KiB cost the visit %d and the turn %d", visitCost-s.visit, turn-s.turn)
		}
	})
}
