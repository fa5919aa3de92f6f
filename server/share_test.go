package server

import (
	"strings"
	"testing"

	"github.com/gobwas/ws"

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
	share.begin()
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
