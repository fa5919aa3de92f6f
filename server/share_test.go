package server

import "testing"

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
	share.begin()
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
