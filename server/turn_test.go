package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/server"
)

// With a turn that one message fills, a session publishes one message a turn. Everybody's arrive all the same.
func TestPublishersWaitForTheNextTurn(t *testing.T) {
	t.Parallel()
	const publishers, each = 3, 50
	r := start(t, server.Config{TurnBytesMax: 1})
	var all []*client
	for range publishers {
		all = append(all, r.join(t, "/broadcast"))
	}
	payload := "[" + strings.TrimSuffix(strings.Repeat(`"x",`, each), ",") + "]"
	before := r.stats(t).Turns
	for _, c := range all {
		c.send(payload)
	}
	for _, c := range all {
		c.messages(publishers * each)
	}
	if turns := r.stats(t).Turns - before; turns < each {
		t.Errorf("%d messages of each publisher left in %d turns", each, turns)
	}
}

// While more is published than turns can send, for OverloadAfter, newcomers are refused; whoever publishes nothing is
// served, and afterwards everybody is welcome.
func TestNewcomersAreRefusedUnderOverload(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{TurnBytesMax: 1, OverloadAfter: time.Millisecond})
	const each = 15_000 // takes 15,000 turns
	calm, reader := r.join(t, "/echo"), r.join(t, "/broadcast")
	publishers := []*client{r.join(t, "/broadcast"), r.join(t, "/broadcast")}
	payload := "[" + strings.TrimSuffix(strings.Repeat(`"x",`, each), ",") + "]"
	refused, sent := false, 0
	for end := time.Now().Add(10 * time.Second); !refused && time.Now().Before(end); sent += each * len(publishers) {
		for _, c := range publishers {
			c.send(payload)
		}
		calm.send(`["still here"]`)
		calm.expect(`a["still here"]`)
		status, _ := r.dial(t).answer("POST", fmt.Sprintf("/echo/0/%d/xhr", sent), "")
		refused = status == http.StatusServiceUnavailable
		for _, c := range append(publishers, reader) {
			c.messages(each * len(publishers))
		}
	}
	if st := r.stats(t); !refused || st.RefusedForLoad == 0 {
		t.Fatalf("nobody was refused under %d messages: %+v", sent, st)
	}
	for n := 0; ; n++ {
		if status, _ := r.dial(t).answer("POST", fmt.Sprintf("/echo/0/again%d/xhr", n), ""); status == http.StatusOK {
			return
		}
	}
}

// With a batch that one message fills, each leaves in a frame of its own, which is what --gather=off is.
func TestMessagesThatAreNotGathered(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{BatchBytesMax: 1})
	c := r.join(t, "/broadcast")
	c.send(`["a","b"]`)
	c.expect(`a["a"]`)
	c.expect(`a["b"]`)
}

// An overload is over when what was published too much has been, though others keep the loop busy.
func TestOverloadEndsThoughOthersAreBusy(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{TurnBytesMax: 1, OverloadAfter: time.Millisecond})
	const each = 3_000
	publishers := []*client{r.join(t, "/broadcast"), r.join(t, "/broadcast")}
	payload := "[" + strings.TrimSuffix(strings.Repeat(`"x",`, each), ",") + "]"
	pings := strings.Repeat(frame(ws.OpPing, ""), 20_000)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 3 {
		c := r.join(t, "/echo")
		_ = c.SetDeadline(time.Time{})
		go func() { _, _ = io.Copy(io.Discard, c) }()
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c.say(pings)
				}
			}
		})
	}
	for _, c := range publishers {
		c.send(payload)
	}
	for _, c := range publishers {
		c.messages(each * len(publishers))
	}
	admitted := false
	for n := 0; n < 50 && !admitted; n++ {
		status, _ := r.dial(t).answer("POST", fmt.Sprintf("/echo/0/after%d/xhr", n), "")
		admitted = status == http.StatusOK
	}
	close(stop)
	busy.Wait()
	if !admitted {
		t.Errorf("nobody was admitted after the overload: %+v", r.stats(t))
	}
}

// metering publishes what it is sent, and knows how much one turn published, counted for each subscriber.
type metering struct {
	r         *running
	topic     *server.Topic
	turn      uint64
	sum, most int
	largest   int           // log
	published chan struct{} // a place for each message
}

func (m *metering) OnOpen(*server.Session)                      {}
func (m *metering) OnClose(*server.Session, server.CloseReason) {}

func (m *metering) OnMessage(_ *server.Session, text *server.Message) {
	st, err := m.r.Stats(context.Background())
	if err == nil && st.Turns != m.turn {
		m.turn, m.sum = st.Turns, 0
	}
	m.topic.Publish(text)
	m.sum += text.Len() * m.topic.Len()
	m.most, m.largest = max(m.most, m.sum), max(m.largest, st.LogsBytes)
	select {
	case m.published <- struct{}{}:
	default:
	}
}

// hearing subscribes everybody.
type hearing struct{ m *metering }

func (h hearing) OnOpen(s *server.Session)                    { s.Subscribe(h.m.topic) }
func (h hearing) OnClose(*server.Session, server.CloseReason) {}
func (h hearing) OnMessage(*server.Session, *server.Message)  {}

func startMetering(t *testing.T, c server.Config, messages int) *metering {
	t.Helper()
	m := &metering{published: make(chan struct{}, messages)}
	m.r = start(t, c, "/publish", m, "/hear", hearing{m})
	done := make(chan struct{})
	if err := m.r.Post(func() { m.topic = m.r.NewTopic("x"); close(done) }); err != nil {
		t.Fatal(err)
	}
	<-done
	return m
}

// flood has many publishers send large messages, each in pieces, until so many are published. With known, each has
// published one before the next one comes; then known is called.
func (m *metering) flood(t *testing.T, publishers, pieces int, known func()) {
	t.Helper()
	text := frame(ws.OpText, strings.Repeat("x", 60_000))
	stop := make(chan struct{})
	var sending sync.WaitGroup
	all := make([]*client, publishers)
	for i := range all {
		all[i] = m.r.open(t, "/publish/websocket")
		_ = all[i].SetDeadline(time.Time{})
		if known != nil {
			all[i].say(text)
			<-m.published
		}
	}
	if known != nil {
		known()
	}
	for _, c := range all {
		sending.Go(func() {
			go func() { <-stop; _ = c.Close() }()
			for size := len(text) / pieces; ; {
				for at := 0; at < len(text); at += size {
					if _, err := c.Write([]byte(text[at:min(at+size, len(text))])); err != nil {
						return
					}
				}
			}
		})
	}
	deadline := time.After(2 * patience)
	for range cap(m.published) {
		select {
		case <-m.published:
		case <-deadline:
			t.Error("they were not published")
			close(stop)
			sending.Wait()
			return
		}
	}
	close(stop)
	sending.Wait()
}

// Whoever publishes, known for it or not, and however a frame is cut: no turn publishes more than twice its bound, and
// a message.
func TestTurnPublishesTwiceItsBoundAtMost(t *testing.T) {
	t.Parallel()
	for _, pieces := range []int{1, 3} {
		const bound = 2 << 20
		m := startMetering(t, server.Config{TurnBytesMax: bound, OverloadAfter: time.Hour}, 600)
		for range 10 {
			c := m.r.open(t, "/hear/websocket")
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
		m.flood(t, 100, pieces, nil)
		most := make(chan int, 1)
		if err := m.r.Post(func() { most <- m.most }); err != nil {
			t.Fatal(err)
		}
		if n := <-most; n > 2*bound+10*60_002 {
			t.Errorf("in %d pieces: %d bytes in a turn of %d", pieces, n, bound)
		}
	}
}

// As long as a log is full, nobody who is known to publish adds to it, however many there are: it grows by one batch
// beyond that and not by a message of each.
func TestManyPublishersWaitForAFullLog(t *testing.T) {
	t.Parallel()
	const batch, log = 128 << 10, 256 << 10
	m := startMetering(t, server.Config{
		BatchBytesMax: batch, LogBytesMax: log, MemoryBytesMax: 64 << 20, OverloadAfter: time.Hour,
	}, 600)
	m.flood(t, 100, 1, func() { // a reader that stalls; it is cut off after a while
		c := m.r.dialSmall(t)
		c.say("GET /hear/websocket HTTP/1.1\r\n" + handshakeHeaders + "\r\n")
		c.response()
	})
	largest := make(chan int, 1)
	if err := m.r.Post(func() { largest <- m.largest }); err != nil {
		t.Fatal(err)
	}
	if n := <-largest; n > 4*log+8*batch {
		t.Errorf("%d bytes in a log of %d", n, 4*log)
	}
	if st := m.r.stats(t); st.PublishersHeld == 0 {
		t.Errorf("nobody waited: %+v", st)
	}
}
