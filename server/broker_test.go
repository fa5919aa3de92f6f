package server

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"

	"github.com/sockloop/sockloop/codec"
)

// A turn is one batch, however often its topic was sealed; local topics are nobody's business, nor is what arrived.
func TestBrokerIsHandedWhatWasPublishedHere(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	b.here(func() {
		b.publish("1", "2")
		b.topic.seal()
		b.publish(`"3"`)
	})
	b.hears(c, "1", "2", `"3"`)
	local := b.dial("/local")
	if err := wsutil.WriteClientText(local, []byte("local")); err != nil {
		t.Fatal(err)
	}
	b.hears(local, "local")
	b.arrives(`["from","another"]`, 2, nil)
	b.hears(c, "from", "another")
	b.here(func() { b.publish("4") })
	b.broker.expect(t, "open", "subscribe x", `x "1","2","\"3\""`, `x "4"`)
}

// What waits for the broker is charged as it grows, and what waits for a topic that is closed is forgotten.
func TestClosedTopicsKeepNothingForTheBroker(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.here(func() {
		r, k := b.topic.remote, b.loop.brokerSide
		m := Text([]byte(strings.Repeat("x", 60_000)))
		r.published(&m)
		if r.kept < 60_000 {
			t.Errorf("%d bytes are charged for a message of 60,000", r.kept)
		}
		r.own.Reset() // nobody is to hear it
		batch, err := readBatch([]byte(`["one","two"]`))
		if err != nil {
			t.Fatal(err)
		}
		a := arrival{"x", batch}
		k.mu.Lock()
		k.bytes += a.size()
		k.mu.Unlock()
		r.wait(a)
		b.topic.Close()
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.bytes != 0 || r.kept != 0 {
			t.Errorf("%d bytes wait for a topic that is closed, and %d are charged", k.bytes, r.kept)
		}
	})
}

// A batch of the largest messages and one of the smallest fit the queues of the process that it comes to, also where
// these are small for lack of memory.
func TestBatchesForTheBrokerFitItsQueues(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{MemoryBytesMax: 16 << 20})
	queue := b.loop.brokerSide.queueBytesMax
	b.here(func() {
		for range 4 * queue / 9 { // a number is two bytes in the batch and eight in the table of its ends
			b.publish("7")
		}
		for range 2 * queue / 60_000 {
			b.publish(strings.Repeat("x", 60_000))
		}
		b.topic.seal()
	})
	b.end()
	b.broker.mu.Lock()
	defer b.broker.mu.Unlock()
	batches := 0
	for _, told := range b.broker.told {
		elements, ok := strings.CutPrefix(told, "x ")
		if !ok {
			continue
		}
		batches++
		batch, err := readBatch([]byte("[" + elements + "]"))
		if a := (arrival{"x", batch}); err != nil || a.size() > queue/waitingShare {
			t.Errorf("%d messages take %d bytes of a queue of %d, %v", batch.Len(), a.size(), queue, err)
		}
	}
	if batches < 2*flushShare {
		t.Errorf("only %d batches, so this shows nothing", batches)
	}
}

// A batch of many bytes leaves within the turn, also if the topic is sealed all the time.
func TestBatchesForTheBrokerAreBounded(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{BatchBytesMax: 1000})
	b.here(func() {
		for range 5 {
			b.publish(strings.Repeat("x", 500))
			b.topic.seal()
		}
	})
	two := fmt.Sprintf("x %[1]q,%[1]q", strings.Repeat("x", 500))
	b.broker.expect(t, "open", two, two, fmt.Sprintf("x %q", strings.Repeat("x", 500)))
}

func TestBrokerIsToldWhetherAnybodyListens(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	one, two := b.dial("/x"), b.dial("/x")
	b.here(func() { b.publish("1") })
	b.hears(one, "1")
	b.hears(two, "1")
	_ = one.Close()
	_ = two.Close()
	b.broker.expect(t, "open", "subscribe x", `x "1"`, "unsubscribe x")
	b.here(func() { b.publish("2") }) // who listens elsewhere is to hear it
	b.broker.expect(t, "open", "subscribe x", `x "1"`, "unsubscribe x", `x "2"`)
}

// Nothing that comes can break the loop, and everything is in the form in which we send it.
func TestArrivalsAreChecked(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	for _, bad := range []string{
		`["a"`, `{"a":1}`, `["a",1]`, `[null]`, "[\"\x01\"]", "[\"\xff\"]", `["a"]["b"]`, `["\x"]`,
	} {
		b.arrives(bad, 0, codec.ErrBrokenJSON)
	}
	b.arrives(`[]`, 0, nil)
	b.arrives("", 0, nil)
	if n, err := b.broker.receive("unknown", []byte(`["a"]`)); n != 1 || err != nil {
		t.Errorf("to nobody: %d %v", n, err)
	}
	b.arrives(`[ "\u0041" , "\/" ]`, 2, nil)
	b.hears(c, "A", "/")
	b.here(func() {
		if bytes := b.loop.brokerSide.bytes; bytes != 0 {
			t.Errorf("%d bytes are kept", bytes)
		}
	})
}

// While the loop is at work, what arrives is kept up to a bound; one post is enough for all of it.
func TestArrivalsAreBounded(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{MailboxMax: 2})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	begun, goOn := make(chan struct{}), make(chan struct{})
	if err := b.Post(func() { close(begun); <-goOn }); err != nil {
		t.Fatal(err)
	}
	<-begun
	payload := `["` + strings.Repeat("x", 1<<20) + `"]`
	for range 7 {
		b.arrives(payload, 1, nil)
	}
	b.arrives(payload, 0, ErrTooMuch)
	b.arrives(`["fits"]`, 1, nil)
	close(goOn)
	for range 7 {
		b.hears(c, payload[2:len(payload)-2])
	}
	b.hears(c, "fits")
	b.arrives(`["`+strings.Repeat("x", b.cfg.LogBytesMax/2)+`"]`, 0, ErrTooMuch) // it would evict all readers
	b.arrives(payload, 1, nil)
}

// Batches come on a goroutine of the broker, whatever else happens to the configuration.
func TestReloadWhileBatchesArrive(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 100 {
			if _, err := b.broker.receive("x", []byte(`["x"]`)); err != nil {
				t.Error(err)
			}
		}
	}()
	for n := range 20 {
		if _, _, err := b.Reload(func(c *Config) { c.SessionsMax = 100 + n }); err != nil {
			t.Error(err)
		}
	}
	<-ended
}

// What arrives may use half of what a turn can send out; the rest waits for the next.
func TestArrivalsWaitForTheNextTurn(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{TurnBytesMax: 2000})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	text := strings.Repeat("x", 600)
	var before uint64
	b.here(func() {
		before = b.loop.stats.Turns
		for range 20 { // a burst: all are there before the loop takes the first
			b.arrives(`["`+text+`"]`, 1, nil)
		}
	})
	for range 20 {
		b.hears(c, text)
	}
	st, err := b.Stats(t.Context())
	if err != nil || st.Turns-before < 10 {
		t.Errorf("20 messages of 600 bytes left in %d turns of 2,000 %v", st.Turns-before, err)
	}
}

// Many small arrivals are as much as they take: they are bounded, and few of them are published in one turn.
func TestSmallArrivalsCountWithAllTheyTake(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{MailboxMax: 2})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	before, kept := uint64(0), 0
	b.here(func() {
		before = b.loop.stats.Turns
		for err := error(nil); err == nil; kept++ { // they take turns, and are not joined
			_, err = b.broker.receive([]string{"x", "nobody"}[kept%2], []byte(`[""]`))
		}
		kept--
	})
	if kept < brokerQueueBytesMax/(2*arrivalBytes) || kept > brokerQueueBytesMax/arrivalBytes {
		t.Errorf("%d are kept", kept)
	}
	for range kept / 2 {
		b.hears(c, "")
	}
	turns, least := uint64(0), uint64(kept*arrivalCost/turnCost)
	b.here(func() { turns = b.loop.stats.Turns - before })
	if turns < least {
		t.Errorf("%d were published in %d turns, want %d", kept, turns, least)
	}
}

// Small arrivals of one topic are joined while they wait, in their order.
func TestSmallArrivalsAreJoined(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	b.here(func() {
		for range 10 {
			b.arrives(`["a"]`, 1, nil)
			b.arrives(`["b","c"]`, 2, nil)
		}
		k := b.loop.brokerSide
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.arrived) != 1 || k.arrived[0].size() != k.bytes {
			t.Errorf("%d arrivals, %d bytes", len(k.arrived), k.bytes)
		}
	})
	for range 10 {
		b.hears(c, "a", "b", "c")
	}
	b.here(func() {
		if bytes := b.loop.brokerSide.bytes; bytes != 0 {
			t.Errorf("%d bytes are kept", bytes)
		}
	})
}

// What arrives with much white space is kept with all of it, and counted so.
func TestArrivalsCountTheirMemory(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	payload := "[" + strings.Repeat(" ", 1<<20) + `"a"]`
	b.here(func() {
		for range 100 {
			if _, err := b.broker.receive("x", []byte(payload)); err != nil {
				return
			}
		}
		t.Error("100 MiB are kept")
	})
}

// What the broker itself keeps counts against the budget too, and neither side may keep more than a part of it.
func TestBrokerQueuesAreOfTheBudget(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{PongTimeout: 50 * time.Millisecond, MemoryBytesMax: 16 << 20})
	b.broker.queued.Store(15 << 20)
	b.await(func(st Stats) bool { return st.BrokerBytes == 15<<20 && st.MemoryBytes >= st.BrokerBytes })
	res, err := http.ReadResponse(bufio.NewReader(b.connect()), nil) // which need not ask to be refused
	if err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a newcomer is welcome: %v %v", res, err)
	}
	if st, err := b.Stats(t.Context()); err != nil || st.RefusedForMemory != 1 || st.ConnectionsRefused != 1 {
		t.Errorf("a newcomer was refused, and %d for memory of %d are counted (%v)", st.RefusedForMemory,
			st.ConnectionsRefused, err)
	}
	b.broker.queued.Store(0)
	b.here(func() {
		kept := 0
		for err := error(nil); err == nil; kept++ {
			_, err = b.broker.receive([]string{"x", "nobody"}[kept%2], []byte(`[""]`))
		}
		if most := (16 << 20) / brokerQueueShare / arrivalBytes; kept > most+1 || kept < most/2 {
			t.Errorf("%d arrivals are kept, of at most %d", kept, most)
		}
	})
}

// What arrives for a topic whose log is full waits as a publisher would, and nobody is cut off; what is too much is
// counted.
func TestArrivalsWaitForRoomInTheLog(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{LogBytesMax: 2 << 20, ReaderBytesPerSecond: 1, UnsentBytesMax: 16 << 10})
	slow := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	text := strings.Repeat("x", 60_000)
	sent, dropped := 0, uint64(0)
	hurry := make(chan struct{}) // closed when the reader may be fast
	heard := make(chan int, 1)
	go func() {
		n := 0
		defer func() { heard <- n }()
		for p := []byte(nil); ; n++ {
			select {
			case <-hurry:
			case <-time.After(20 * time.Millisecond):
			}
			var err error
			if p, err = wsutil.ReadServerText(slow); err != nil || len(p) < len(text) {
				return
			}
		}
	}()
	for dropped == 0 {
		if _, err := b.broker.receive("x", []byte(`["`+text+`"]`)); err == nil {
			sent++
		}
		st, _ := b.BrokerStats()
		dropped = st.BatchesDropped - 1 // which the broker itself says
		if sent > 10_000 {
			t.Fatal("the log is never full")
		}
	}
	b.here(func() {
		r := b.topic.remote
		if len(r.waiting) == 0 || r.bytes > brokerQueueBytesMax/waitingShare {
			t.Errorf("%d arrivals wait, with %d bytes", len(r.waiting), r.bytes)
		}
		b.loop.brokerSide.charge() // as the next flush does
		if charged := b.loop.memory.broker.Bytes(); charged < r.bytes {
			t.Errorf("%d bytes wait, and the budget knows of %d", r.bytes, charged)
		}
	})
	close(hurry)
	b.here(func() {}) // what was received is taken
	for end := `["end"]`; ; time.Sleep(time.Millisecond) {
		idle := false
		b.here(func() { idle = b.loop.brokerSide.bytes == 0 })
		if idle {
			b.arrives(end, 1, nil)
			break
		}
	}
	st, _ := b.BrokerStats()
	if n, want := <-heard, sent-int(st.BatchesDropped-1); n != want {
		t.Errorf("heard %d messages of %d", n, want)
	}
	if stats, err := b.Stats(t.Context()); err != nil || stats.SlowConsumersClosed+stats.SlowConsumersSkipped > 0 {
		t.Errorf("%+v %v", stats, err)
	}
}

// What waited for room comes before what waited for the next turn: that arrived later.
func TestArrivalsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	b.here(func() {
		k := b.loop.brokerSide
		arrivals := make([]arrival, 2)
		for i := range arrivals {
			m := Text([]byte{'1' + byte(i)})
			arrivals[i].topic = "x"
			arrivals[i].batch.Append(&m)
			k.bytes += arrivals[i].size()
		}
		b.topic.remote.wait(arrivals[0])
		k.later = append(k.later, arrivals[1]) // another topic has spent the turn
		b.topic.release()
	})
	b.hears(c, "1", "2")
}

// A loop that cannot send out what arrives refuses newcomers, as it does for its own publishers.
func TestArrivalsCountAsLoad(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{TurnBytesMax: 1000})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	text := strings.Repeat("x", 600)
	behind := false
	b.here(func() {
		for range 3 {
			b.arrives(`["`+text+`"]`, 1, nil)
		}
		b.loop.brokerSide.takeArrived()
		b.loop.nextTurn()
		behind = b.loop.share.spentSince > 0
	})
	b.hears(c, text, text, text)
	if !behind {
		t.Error("arrivals wait for the next turn, and the loop is not behind")
	}
}

// What was accepted before the end is sent, also what was gathered, and then the broker is closed.
func TestBrokerHasEverythingAtTheEnd(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{Gather: time.Minute})
	b.here(func() { b.publish("1") })
	b.broker.expect(t, "open", `x "1"`)
	b.here(func() { b.publish("2", "3") })
	b.end()
	b.broker.expect(t, "open", `x "1"`, `x "2","3"`, "close")
	if _, ok := b.BrokerStats(); !ok {
		t.Error("the broker's counters are gone")
	}
}

// What was published to a topic before it was closed is sent; its name is free then.
func TestClosedTopicsLeaveTheBroker(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/x")
	b.broker.expect(t, "open", "subscribe x")
	b.here(func() {
		b.publish("1")
		b.topic.Close()
		again := b.NewTopic("x")
		m := Text([]byte("2"))
		again.Publish(&m)
	})
	_ = c.Close()
	b.broker.expect(t, "open", "subscribe x", `x "1"`, "unsubscribe x", `x "2"`)
}

func TestTopicsOfABrokerHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Broker: &noted{}})
	if err != nil {
		t.Fatal(err)
	}
	s.NewTopic("x")
	s.NewTopic("x", func(o *TopicOptions) { o.Local = true })
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, `topic "x" already`) {
			t.Errorf("got %v", p)
		}
	}()
	s.NewTopic("x")
}

func TestServerWithoutItsBroker(t *testing.T) {
	t.Parallel()
	failed := errors.New("no such credentials")
	s, err := New(Config{Addr: "127.0.0.1:0", Broker: &noted{fails: failed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, failed) {
		t.Errorf("Run: %v", err)
	}
	s, err = New(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := s.BrokerStats(); ok || st != (BrokerStats{}) {
		t.Errorf("there is a broker: %+v", st)
	}
}

// arrived is an arrival of so many messages in a batch of so many bytes.
func arrived(topic string, messages, bytes int) arrival {
	return arrival{topic, codec.Batch{JSON: make([]byte, bytes), Ends: make([]int, messages)}}
}

// An arrival takes what it keeps, tables included, and costs what publishing it does.
func TestWhatArrivalsTake(t *testing.T) {
	t.Parallel()
	a := arrived("x", 10, 3200)
	if size := a.size(); size != arrivalBytes+3200+80 {
		t.Errorf("it takes %d bytes", size)
	}
	if cost := a.cost(); cost != arrivalCost+10*messageCost+100 {
		t.Errorf("it costs %d", cost)
	}
}

// Arrivals of one topic are joined as long as they are small together.
func TestWhichArrivalsAreJoined(t *testing.T) {
	t.Parallel()
	const each = joinedBytesMax / 2
	for _, tt := range []struct {
		topic string
		bytes int
		want  bool
	}{
		{"x", each - arrivalBytes, true}, {"x", each - arrivalBytes + 1, false}, {"y", each - arrivalBytes, false},
	} {
		a, next := arrived("x", 0, each-arrivalBytes), arrived(tt.topic, 0, tt.bytes)
		if got := a.join(&next); got != tt.want {
			t.Errorf("%+v: joined %v", tt, got)
		}
	}
}

// As much arrives as the queue and half of a log hold, to the byte.
func TestArrivalsFitToTheByte(t *testing.T) {
	t.Parallel()
	for over, want := range map[int]error{0: nil, 1: ErrTooMuch} {
		b := startInside(t, Config{LogBytesMax: 8 << 10, BatchBytesMax: 4 << 10})
		b.here(func() {
			k := b.loop.brokerSide
			payload := func(bytes int) []byte { return []byte(`["` + strings.Repeat("x", bytes-2) + `"]`) }
			if _, err := k.receive("x", payload(4<<10+over)); !errors.Is(err, want) {
				t.Errorf("%d bytes over half of a log: %v", over, err)
			}
			batch, err := readBatch(payload(100))
			if err != nil {
				t.Error(err)
			}
			a := arrival{"x", batch}
			other := k.queueBytesMax - a.size() - k.bytes + over
			k.bytes += other
			if _, err := k.receive("y", payload(100)); !errors.Is(err, want) {
				t.Errorf("%d bytes over the queue: %v", over, err)
			}
			k.bytes -= other
		})
	}
}

// A quarter of the queue may wait for the readers of one topic; what is more is dropped, counted, and kept no longer.
func TestWhatWaitsForOneTopic(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.here(func() {
		k, r := b.loop.brokerSide, b.topic.remote
		large := arrived("x", 0, k.queueBytesMax/waitingShare-2*arrivalBytes-100)
		k.bytes = large.size()
		r.wait(large)
		if r.gone() || !b.topic.awaited || len(b.topic.waiting) != 1 {
			t.Error("nobody waits")
		}
		fits, over := arrived("x", 0, 100), arrived("x", 0, 0)
		k.bytes += fits.size() + over.size()
		r.wait(fits)
		r.wait(over)
		if len(r.waiting) != 2 || r.bytes != k.queueBytesMax/waitingShare || k.bytes != r.bytes || k.dropped != 1 ||
			len(b.topic.waiting) != 1 {
			t.Errorf("%d wait with %d bytes, of %d in all; %d dropped", len(r.waiting), r.bytes, k.bytes, k.dropped)
		}
		b.topic.Close()
		if k.bytes != 0 || !r.gone() || r.bytes != 0 || k.topics["x"] != nil {
			t.Errorf("of a closed topic %d bytes are kept", k.bytes)
		}
	})
}

// Half of a turn is for what arrives.
func TestArrivalsLeaveHalfOfATurn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		turn, fanOut int
		want         int // published
	}{
		{turnCost, 1000, 2}, {turnCost/2 + 1, 1000, 1}, {turnCost / 2, 1000, 0}, {turnCost, 501, 2}, {turnCost, 500, 0},
	} {
		b := startInside(t, Config{})
		b.here(func() {
			k, s := b.loop.brokerSide, &b.loop.share
			k.later = []arrival{arrived("nobody's", 1, 3), arrived("nobody's", 1, 3)}
			k.bytes = k.later[0].size() + k.later[1].size()
			s.turn, s.fanOut, s.fanOutMax = tt.turn, tt.fanOut, 1000
			if k.publishLater(); len(k.later) != 2-tt.want || k.behind() != (tt.want < 2) {
				t.Errorf("%+v: %d are left", tt, len(k.later))
			}
			if left := k.bytes; left != (2-tt.want)*(arrivalBytes+3+8) {
				t.Errorf("%+v: %d bytes are kept", tt, left)
			}
			s.fanOutMax = b.loop.cfg.TurnBytesMax
		})
	}
}

// The broker is handed a batch as soon as that is as large as one may be.
func TestBatchesForTheBrokerAreHandedOverInTime(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{BatchBytesMax: 1000})
	b.here(func() {
		r := b.topic.remote
		b.publish(strings.Repeat("x", 1000-8-2-1)) // a quoted message, and its place in the table
		if r.own.Len() != 1 || b.loop.memory.logs.Bytes() < cap(r.own.JSON)+8*cap(r.own.Ends) {
			t.Errorf("%d messages wait", r.own.Len())
		}
		r.flush()
		b.publish(strings.Repeat("x", 1000-8-2))
		if r.own.Len() != 0 {
			t.Errorf("%d messages wait", r.own.Len())
		}
	})
}

// However much waits for the next turns, and whoever posts without end: those who are here have their turn in between.
func TestOthersHaveTheirTurnBesideArrivals(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]func(b *inside) (waits func() bool){
		"arrivals": func(b *inside) func() bool {
			text := `["` + strings.Repeat("x", 600) + `"]`
			for range 50 {
				b.arrives(text, 1, nil)
			}
			return b.loop.brokerSide.behind
		},
		"posts": func(b *inside) func() bool {
			left := 1000
			var post func()
			post = func() {
				if left--; left > 0 {
					b.publish("x")
					_ = b.Post(post)
				}
			}
			post()
			return func() bool { return left > 0 }
		},
		"slow posts": func(b *inside) func() bool {
			left := 50
			for range left {
				_ = b.Post(func() { time.Sleep(time.Millisecond); left-- })
			}
			return func() bool { return left > 0 }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startInside(t, Config{TurnBytesMax: 2000})
			b.dial("/x")
			c := b.dial("/local")
			b.broker.expect(t, "open", "subscribe x")
			heard := make(chan bool, 1)
			b.here(func() {
				waits := busy(b)
				b.room.heard = func() { heard <- waits() }
				if err := wsutil.WriteClientText(c, []byte("hello")); err != nil {
					t.Error(err)
				}
			})
			b.hears(c, "hello")
			if !<-heard {
				t.Error("it was heard when nothing waited any more")
			}
		})
	}
}
