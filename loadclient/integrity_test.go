package loadclient

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

const (
	testBase  = 100
	testConns = 4
	testStamp = 1_700_000_000_000
)

func payload(sender int, stamp int64) string { return fmt.Sprintf("%d:%d", testBase+sender, stamp) }

// newTestWorker is a worker whose connections have no sockets: bytes are fed by hand.
func newTestWorker(t *testing.T, p Protocol) *worker {
	t.Helper()
	return newTestWorkerOf(t, Target{Protocol: p})
}

func newTestWorkerOf(t *testing.T, to Target) *worker {
	t.Helper()
	w, err := newWorker(to, -1, testBase)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	r := w.reference(audience{0, testConns}, blockBytesMax)
	for i := range testConns {
		c := &conn{w: w, index: i, place: i, reference: r}
		r.conns = append(r.conns, c)
		c.link = newLink(c, nothingDialed)
		w.conns = append(w.conns, c)
	}
	plan := schedule{rate: 1000, connections: testConns, messages: 1, block: 1_000_000}
	w.prepare(trialPlan{schedule: plan, window: 1e9})
	return w
}

// wire frames messages as a server sends them.
func wire(p Protocol, frames ...[]string) []byte {
	var out []byte
	for _, texts := range frames {
		var b codec.Batch
		for _, s := range texts {
			m := codec.Text([]byte(s))
			b.Append(&m)
		}
		switch p {
		case SockJS:
			out = codec.AppendWebSocketArray(out, b)
		case WebSocket:
			out = codec.AppendWebSocketTexts(out, b)
		case SocketIO, SocketIO08:
			for _, text := range texts {
				d := declared(p).dialect
				out = codec.AppendFrame(out, ws.OpText, []byte(d.sendBefore+text+d.sendAfter))
			}
		case XHRStreaming:
			out = appendChunk(out, "a["+string(b.Elements())+"]\n")
		case EventSource:
			out = appendChunk(out, "data: a["+string(b.Elements())+"]\r\n\r\n")
		}
	}
	return out
}

func appendChunk(dst []byte, text string) []byte {
	dst = append(codec.AppendChunkHeader(dst, len(text)), text...)
	return append(dst, codec.ChunkEnd...)
}

// feedRaw gives a connection bytes as if its first socket had read them.
func (c *conn) feedRaw(p []byte) error {
	c.w.countRead(len(p))
	return c.link.receive(c.link.sockets()[0], p)
}

func feed(t *testing.T, c *conn, stream []byte, cuts *rand.Rand) {
	t.Helper()
	for len(stream) > 0 {
		n := len(stream)
		if cuts != nil {
			n = 1 + cuts.IntN(min(n, 40))
		}
		if err := c.feedRaw(bytes.Clone(stream[:n])); err != nil {
			t.Fatal(err)
		}
		stream = stream[n:]
	}
}

// sentAs says that the messages were sent, as a tally.
func sentAs(texts []string) []senderTally {
	t := newTally(testBase, testConns)
	for _, s := range texts {
		t.add([]byte(s))
	}
	return t.senders
}

func someMessages(n int) []string {
	var all []string
	for i := range n {
		all = append(all, payload(i%testConns, testStamp+int64(i/50)))
	}
	return all
}

// Connections that get the same messages in other frames, cut anywhere, all follow the reference.
func TestReferenceIgnoresFraming(t *testing.T) {
	t.Parallel()
	for _, p := range []Protocol{SockJS, WebSocket, XHRStreaming, EventSource, SocketIO, SocketIO08} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			w := newTestWorker(t, p)
			texts := someMessages(500)
			r := rand.New(rand.NewPCG(1, 2))
			for _, c := range w.conns {
				var frames [][]string
				for rest := texts; len(rest) > 0; {
					n := 1 + r.IntN(min(len(rest), 20))
					frames, rest = append(frames, rest[:n]), rest[n:]
				}
				feed(t, c, wire(p, frames...), r)
			}
			if w.rooms[0].strayed != 0 {
				t.Errorf("%d connections strayed", w.rooms[0].strayed)
			}
			heard := w.rooms[0].tally
			if lost, dup := heard.compare(sentAs(texts)); lost+dup+heard.reordered+heard.foreign != 0 {
				t.Errorf("%d lost, %d duplicated", lost, dup)
			}
			if got := w.delivered(); got != 500*testConns {
				t.Errorf("%d delivered", got)
			}
		})
	}
}

// What differs from the others is counted exactly: for each kind of damage, one connection has it.
func TestDamageIsCounted(t *testing.T) {
	t.Parallel()
	texts := someMessages(300)
	swap := func(i, j int) []string {
		x := append([]string(nil), texts...)
		x[i], x[j] = x[j], x[i]
		return x
	}
	for _, tt := range []struct {
		name                               string
		got                                []string
		lost, duplicated, reordered, alien int
	}{
		{"lost", append(append([]string(nil), texts[:100]...), texts[101:]...), 1, 0, 0, 0},
		{"lost at the end", texts[:299], 1, 0, 0, 0},
		{"duplicated", append(append(append([]string(nil), texts[:100]...), texts[99]), texts[100:]...), 0, 1, 0, 0},
		{"one lost and another twice", append(append(append([]string(nil), texts[:100]...), texts[0]), texts[101:]...),
			1, 1, 1, 0},
		{"senders interleaved otherwise", swap(100, 101), 0, 0, 0, 0},
		{"one sender's order", swap(0, 100), 0, 0, 2, 0}, // behind each of the two, time runs backwards
		{"garbled", append(append(append([]string(nil), texts[:100]...), "garbage"), texts[101:]...), 1, 0, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newTestWorker(t, SockJS)
			feed(t, w.conns[0], wire(SockJS, texts), nil)
			feed(t, w.conns[1], wire(SockJS, tt.got[:50], tt.got[50:]), rand.New(rand.NewPCG(3, 4)))
			c := w.conns[1]
			if c.alone == nil {
				if c.pos == w.rooms[0].end {
					t.Fatal("nothing was noticed")
				}
				if missing := w.rooms[0].tally.messages - w.rooms[0].countAt(c.pos); missing != tt.lost {
					t.Errorf("%d missing", missing)
				}
				return
			}
			lost, duplicated := c.alone.tally.compare(sentAs(texts))
			if lost != tt.lost || duplicated != tt.duplicated || c.alone.tally.reordered != tt.reordered ||
				c.alone.tally.foreign != tt.alien {
				t.Errorf("%d lost, %d duplicated, %d reordered, %d foreign", lost, duplicated, c.alone.tally.reordered,
					c.alone.tally.foreign)
			}
		})
	}
}

// Messages that span two blocks of the reference are read all the same. Blocks that all have passed are used again, and
// a connection that strays behind them is counted exactly none the less.
func TestReferenceAcrossBlocks(t *testing.T) {
	t.Parallel()
	w := newTestWorker(t, SockJS)
	texts := someMessages(5*blockBytesMax/16 + 1000)
	damaged := len(texts) * 9 / 10
	good := wire(SockJS, texts)
	bad := wire(SockJS, append(append([]string(nil), texts[:damaged]...), texts[damaged+1:]...))
	w.conns[3].alone = &straggler{tally: newTally(testBase, testConns)} // nobody waits for it
	blocks := map[*block]bool{}
	for len(good) > 0 {
		for i, stream := range []*[]byte{&good, &good, &bad} {
			n := min(len(*stream), 100_003)
			feed(t, w.conns[i], (*stream)[:n], nil)
			if i > 0 {
				*stream = (*stream)[n:]
			}
		}
		for _, b := range w.rooms[0].blocks[w.rooms[0].passed:] {
			blocks[b] = true
		}
	}
	strayed := w.conns[2].alone
	if w.rooms[0].tally.messages != len(texts) || w.rooms[0].strayed != 1 || strayed == nil ||
		w.delivered() != 3*len(texts)-1 {
		t.Fatalf("%d of %d messages, %d strayed, %d delivered", w.rooms[0].tally.messages, len(texts),
			w.rooms[0].strayed, w.delivered())
	}
	if lost, duplicated := strayed.tally.compare(sentAs(texts)); lost != 1 ||
		duplicated+strayed.tally.reordered+strayed.tally.foreign != 0 {
		t.Errorf("%d lost, %d duplicated, %d reordered, %d foreign", lost, duplicated, strayed.tally.reordered,
			strayed.tally.foreign)
	}
	if len(blocks) > 3 {
		t.Errorf("%d blocks for connections that were never apart", len(blocks))
	}
}

func TestRoundTripsAreMatchedBySend(t *testing.T) {
	t.Parallel()
	w := newTestWorker(t, SockJS)
	c := w.conns[2]
	// Two bursts with one time, then one with the next; the second message of the first time is lost.
	c.bursts.push(burst{end: 1, at: 10, stamp: testStamp})
	c.bursts.push(burst{end: 2, at: 20, stamp: testStamp})
	c.bursts.push(burst{end: 3, at: 30, stamp: testStamp + 1})
	feed(t, c, wire(SockJS, []string{payload(2, testStamp), payload(2, testStamp+1), payload(2, testStamp+1)}), nil)
	if c.own != 3 || c.bursts.len() > 1 || w.results.actual.TotalCount() != 2 {
		t.Errorf("own %d, %d bursts left, %d round trips", c.own, c.bursts.len(), w.results.actual.TotalCount())
	}
}

// While a trial runs the collector is off, so receiving must not allocate.
func TestReceivingDoesNotAllocate(t *testing.T) {
	for _, p := range []Protocol{SockJS, WebSocket, XHRStreaming, EventSource, SocketIO, SocketIO08} {
		w := newTestWorker(t, p)
		stream := wire(p, someMessages(50))
		c := w.conns[0]
		for range 100 { // what it keeps has its size, and the reference has room
			feed(t, c, stream, nil)
		}
		socket := c.link.sockets()[0]
		if n := testing.AllocsPerRun(50, func() {
			if err := c.link.receive(socket, stream); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations for 50 messages", p, n)
		}
	}
}

func TestControlFramesBetweenAndFragments(t *testing.T) {
	t.Parallel()
	w := newTestWorker(t, SockJS)
	whole := wire(SockJS, []string{payload(0, testStamp), payload(1, testStamp)})
	feed(t, w.conns[0], whole, nil)
	body := string(whole[2:])
	part := func(op ws.OpCode, fin bool, p string) []byte {
		f := codec.AppendFrame(nil, op, []byte(p))
		if !fin {
			f[0] &^= 0x80
		}
		return f
	}
	stream := bytes.Join([][]byte{part(ws.OpText, false, body[:9]), part(ws.OpPong, true, "x"),
		part(ws.OpContinuation, true, body[9:]), part(ws.OpText, true, "h")}, nil)
	feed(t, w.conns[1], stream, rand.New(rand.NewPCG(5, 6)))
	if w.rooms[0].strayed != 0 || w.delivered() != 4 {
		t.Errorf("%d strayed, %d delivered", w.rooms[0].strayed, w.delivered())
	}
}

func TestTargetsThatSpeakSomethingElse(t *testing.T) {
	t.Parallel()
	for _, stream := range [][]byte{
		codec.AppendFrame(nil, ws.OpText, []byte("a{}")),
		codec.AppendFrame(nil, ws.OpText, []byte("a[")),
		codec.AppendFrame(nil, ws.OpText, []byte(`a["x"`)),
		codec.AppendFrame(nil, ws.OpText, []byte(`c[3000,"Go away!"]`)),
		codec.AppendFrame(nil, ws.OpText, []byte(`hello there`)),
		codec.AppendCloseFrame(nil, 1001, "bye"),
		codec.AppendMaskedFrame(nil, ws.OpText, []byte("o"), [4]byte{1}),
		{0xf1, 0},
	} {
		if err := newTestWorker(t, SockJS).conns[0].feedRaw(stream); err == nil {
			t.Errorf("% x was taken", stream)
		}
	}
}

// What is no message is answered, or ends the trial, as each protocol wants it.
func TestOtherFrames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		protocol Protocol
		frame    string
		answer   string
		ends     bool
	}{
		{SockJS, "o", "", false}, {SockJS, "h", "", false}, {SockJS, `c[3000,"Go away!"]`, "", true},
		{SockJS, "hello", "", true}, {SockJS, `a"x"`, "", true},
		{SocketIO, "2", "3", false}, {SocketIO, `0{"sid":"x"}`, "", false}, {SocketIO, `40{"sid":"x"}`, "", false},
		{SocketIO, "41", "", true}, {SocketIO, "1", "", true},
		{SocketIO, `44{"message":"no"}`, "", true}, {SocketIO, `42["another","x"]`, "", true},
		{SocketIO08, "2::", "2::", false}, {SocketIO08, "1::", "", false}, {SocketIO08, "0::", "", true},
		{SocketIO08, "7:::error", "", true}, {SocketIO08, "4:::{}", "", true},
	} {
		answer, err := declared(tt.protocol).dialect.other(tt.frame)
		if answer != tt.answer || (err != nil) != tt.ends {
			t.Errorf("%s %s: %q %v", tt.protocol, tt.frame, answer, err)
		}
		c := newTestWorker(t, tt.protocol).conns[0]
		if tt.answer == "" && (c.feedRaw(codec.AppendFrame(nil, ws.OpText, []byte(tt.frame))) != nil) != tt.ends {
			t.Errorf("%s: a connection takes %s otherwise", tt.protocol, tt.frame)
		}
	}
}

// A stream has more on its lines than messages; what is none of it is an error.
func TestStreamLines(t *testing.T) {
	t.Parallel()
	legal := map[Protocol]string{XHRStreaming: strings.Repeat("h", 2048) + "\no\nh\na[]\n",
		EventSource: "\r\ndata: o\r\n\r\ndata: h\r\n\r\ndata: a[]\r\n\r\n"}
	for p, lines := range legal {
		c := newTestWorker(t, p).conns[0]
		feed(t, c, appendChunk(nil, lines), rand.New(rand.NewPCG(3, 4)))
		for _, line := range []string{"a[\"x\"\n", "data: a[\"x\"\r\n", `c[3000,"Go away!"]` + "\n",
			`data: c[3000,"Go away!"]` + "\r\n"} {
			c := newTestWorker(t, p).conns[0]
			if strings.HasPrefix(line, "data") == (p == EventSource) && c.feedRaw(appendChunk(nil, line)) == nil {
				t.Errorf("%s takes %q", p, line)
			}
		}
		if err := newTestWorker(t, p).conns[0].feedRaw([]byte("not chunks\r\n")); err == nil {
			t.Errorf("%s takes what is no chunk", p)
		}
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	for p, want := range map[Protocol]string{
		SockJS: `["107:1700000000123"]`, WebSocket: `107:1700000000123`, SocketIO: `42["message","107:1700000000123"]`,
		SocketIO08: `3:::107:1700000000123`,
	} {
		tpl := newStencils(Target{Protocol: p}).template(107)
		stream := tpl.append(nil, 1_600_000_000_000, 1)
		stream = tpl.append(stream[:0], 1_700_000_000_123, 2)
		r := codec.MessageReader{Role: ws.StateServerSide, BytesMax: 100}
		for range 2 {
			_, payload, rest, err := r.Next(stream)
			if err != nil || string(payload) != want {
				t.Fatalf("%s: %q %v", p, payload, err)
			}
			stream = rest
		}
	}
}

func TestParsePayload(t *testing.T) {
	t.Parallel()
	if m := parsePayload([]byte("103:1700000000000"), testBase, testConns); m.sender != 3 || m.stamp != testStamp {
		t.Errorf("%+v", m)
	}
	for _, s := range []string{"", ":", "104:1700000000000", "99:1700000000000", "103:170000000000",
		"103:17000000000000", "1x3:1700000000000", "103:170000000000x", strings.Repeat("1", 30) + ":1700000000000"} {
		if m := parsePayload([]byte(s), testBase, testConns); m.sender != -1 {
			t.Errorf("%q: %+v", s, m)
		}
	}
}

// A connection that had another number of bytes while nobody looked is read from a place where the reference is inside
// a message. What it receives from there on is counted as what it is.
func TestStrayWhoseBytesWereOnlyCounted(t *testing.T) {
	t.Parallel()
	w := newTestWorker(t, SockJS)
	first, second := w.conns[0], w.conns[1]
	seen, rest := someMessages(40), someMessages(80)[40:]
	feed(t, first, wire(SockJS, seen, rest), nil)
	second.skims = true
	feed(t, second, wire(SockJS, append([]string{payload(1, 5)}, seen...)), nil)
	second.skims, second.since = false, second.pos
	feed(t, second, wire(SockJS, rest), nil)
	if second.alone == nil {
		t.Fatal("it is taken for one that has received the same")
	}
	if got := second.alone.tally; got.foreign > 0 || got.messages < len(seen)+len(rest) {
		t.Errorf("%d messages, %d foreign", got.messages, got.foreign)
	}
	got := integrity{}
	got.compareRoom(first.reference, account{Senders: sentAs(append(seen, rest...))})
	if got.Foreign > 0 || got.Duplicated == 0 {
		t.Errorf("%+v", got)
	}
}

// A connection that the server keeps ahead of the one that is read waits for that one when its own turn goes by,
// between two frames and not for long, and is read then; who never is read is counted.
func TestWhoMissesItsTurnWaits(t *testing.T) {
	t.Parallel()
	w := newTestWorker(t, SockJS)
	w.plan.sample = true
	first, second := w.conns[0], w.conns[1]
	for _, c := range w.conns[1:] {
		c.skims = true
	}
	first.reference.readers = 1
	at := func(share float64) { // of its turns
		w.start = time.Now().Add(-time.Duration(share * float64(w.window) / turns))
	}
	frame := func(i int) []byte { return wire(SockJS, someMessages(40)[10*i:10*i+10]) }

	at(1.1) // its turn has begun
	feed(t, second, frame(0), nil)
	if second.missed != 0 || second.waits() {
		t.Error("it waits though there is time left")
	}
	at(1.6)
	feed(t, second, frame(1), nil)
	if !second.waits() {
		t.Fatal("ahead of who is read, it goes on unseen")
	}
	check := func(want int) {
		t.Helper()
		var got integrity
		got.compareRoom(first.reference, account{Senders: make([]senderTally, testConns)})
		if got.NeverCompared != want {
			t.Errorf("%d connections were never compared, want %d", got.NeverCompared, want)
		}
	}
	check(1)
	feed(t, first, frame(0), nil)
	if !second.waits() {
		t.Error("it goes on before the other has come to where it is")
	}
	half := frame(2)
	feed(t, second, half[:5], nil)
	if second.waits() {
		t.Error("it waits inside a frame")
	}
	feed(t, second, half[5:], nil)
	feed(t, first, frame(1), nil)
	feed(t, first, frame(2), nil)
	if second.waits() || second.skims {
		t.Fatal("where the other is, it is not read")
	}
	feed(t, second, frame(3), nil)
	check(0)

	third := w.conns[2]
	third.pos = first.reference.end
	at(2.6)
	feed(t, third, frame(0), nil)
	if err := w.receive(third.link.sockets()[0]); !third.waits() || err != nil {
		t.Errorf("its socket is read: %v", err) // which is none
	}
	w.start = w.start.Add(-time.Duration(waitMax) - time.Millisecond)
	if third.waits() {
		t.Error("it waits for a server that says nothing more")
	}
}
