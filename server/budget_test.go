package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/broadcast"
)

func TestDefaultBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		memory int
		err    error
		want   int
	}{
		{512 << 20, nil, 128 << 20},
		{1 << 30, nil, 256 << 20},
		{24 << 30, nil, 256 << 20},
		{0, errors.New("unknown"), 256 << 20},
	} {
		if n := defaultBudget(tt.memory, tt.err); n != tt.want {
			t.Errorf("of %d bytes (%v) it is %d, want %d", tt.memory, tt.err, n, tt.want)
		}
	}
}

// Up to seven eighths of the budget connections and sessions are welcome; above them both are refused, and counted.
func TestNewcomersAreRefusedNearTheBudget(t *testing.T) {
	t.Parallel()
	for over, want := range map[int]int{0: http.StatusOK, 1: http.StatusServiceUnavailable} {
		b := startInside(t, Config{MemoryBytesMax: 16 << 20})
		fill := func() {
			b.here(func() {
				m := &b.loop.memory
				m.inputs.Charge(m.low() - m.budget.Used() + over)
			})
		}
		guest := b.asker()
		guest("GET", "/x/info")
		fill()
		if got := guest("POST", "/x/0/0/xhr"); got != want {
			t.Errorf("%d bytes over, a session is answered %d, want %d", over, got, want)
		}
		fill()
		if got := b.asker()("GET", "/x/info"); got != want {
			t.Errorf("%d bytes over, a connection is answered %d, want %d", over, got, want)
		}
		if st, err := b.Stats(t.Context()); err != nil || st.RefusedForMemory != uint64(2*over) {
			t.Errorf("%d are counted as refused for memory (%v)", st.RefusedForMemory, err)
		}
	}
}

// Connections and sessions that have ended cost nothing more.
func TestChargesAreGivenBack(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{Options: Options{DisconnectDelay: 50 * time.Millisecond}})
	c := b.dial("/x")
	if status := b.asker()("POST", "/x/0/0/xhr"); status != http.StatusOK {
		t.Errorf("a session is answered %d", status)
	}
	b.await(func(st Stats) bool { return st.ConnectionsBytes == 2*connBytes && st.SessionsBytes > webSocketBytes })
	_ = c.Close()
	b.await(func(st Stats) bool { return st.ConnectionsBytes == connBytes && st.SessionsBytes == 0 })
}

// What rests of frames may take is a part of the budget that is in force.
func TestRestsOfFramesFollowTheBudget(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{MemoryBytesMax: 16 << 20})
	for _, budget := range []int{32 << 20, 8 << 20} {
		if _, _, err := b.Reload(func(c *Config) { c.MemoryBytesMax = budget }); err != nil {
			t.Fatal(err)
		}
		b.here(func() {
			if n := b.loop.outflows.SkipBytesMax; n != budget/8 {
				t.Errorf("%d bytes of a budget of %d", n, budget)
			}
		})
	}
}

// When the budget is spent the largest are ended, of connections, sessions over HTTP and logs, and no more than it
// takes; each is counted as what it was.
func TestSpentBudgetEndsTheLargest(t *testing.T) {
	t.Parallel()
	const budget = 16 << 20
	b := startInside(t, Config{MemoryBytesMax: budget, OutboxBytesMax: 8 << 20})
	b.dial("/x") // it does not read
	poll, err := http.Post("http://"+b.Addr().String()+"/x/0/poller/xhr", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = poll.Body.Close()
	b.here(func() {
		l, st := b.loop, &b.loop.stats
		var poller *Session
		for _, r := range l.routes {
			if f := r.sessions["poller"]; f != nil {
				poller = f.session.(*Session)
			}
		}
		large := Text([]byte(strings.Repeat("x", 4<<20)))
		if err := poller.Send(&large); err != nil {
			t.Error(err)
		}
		spend := func(over int) { // then an eighth of the budget is to be freed
			other := budget + over - l.memory.budget.Used()
			l.memory.broker.Charge(other)
			l.shed()
			l.memory.broker.Charge(-other)
			l.endEvicted() // as the next turn does
			l.closeDead()
		}
		if spend(0); poller.state != open || st.ConnectionsClosedForMemory+st.LogsCutForMemory > 0 {
			t.Errorf("the budget is spent to the byte, and somebody is ended: %+v", *st)
		}
		spend(1)
		if poller.state == open {
			t.Error("the session that keeps 4 MB is still open")
		}
		if st.SessionsClosedForMemory != 1 || st.ConnectionsClosedForMemory != 0 || st.LogsCutForMemory != 0 {
			t.Errorf("of a session that keeps 4 MB, a log and connections that keep little were ended: %+v", *st)
		}
		for range 3 << 20 / 60_000 {
			b.publish(strings.Repeat("x", 60_000))
		}
		b.topic.seal()
		spend(1)
		if st.LogsCutForMemory != 1 || st.ConnectionsClosedForMemory != 0 {
			t.Errorf("of a log that keeps 3 MB and connections that keep little were ended: %+v", *st)
		}
	})
}

// When nobody keeps much it is many that keep little, and as many of them are ended as it takes.
func TestSpentBudgetOfManyThatKeepLittle(t *testing.T) {
	t.Parallel()
	const clients, budget = 350, 1 << 20
	b := startInside(t, Config{
		MemoryBytesMax: budget, ConnectionsMax: clients, LogBytesMax: 128 << 10, BatchBytesMax: 64 << 10,
		HandshakeTimeout: time.Minute,
	})
	var all []net.Conn
	for range clients {
		all = append(all, b.connect())
	}
	b.await(func(st Stats) bool { return st.Connections == clients })
	for _, c := range all {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 2500)) // and no more
	}
	st := b.await(func(st Stats) bool { return st.ConnectionsClosedForMemory > 0 && st.MemoryBytes <= budget })
	if st.Connections < clients/2 {
		t.Errorf("%d of %d are left: more were ended than it takes", st.Connections, clients)
	}
}

// The counters say what is kept, by whom, and of how much.
func TestCountersOfTheBudget(t *testing.T) {
	t.Parallel()
	l := idle(t, Config{MemoryBytesMax: 1 << 30})
	m := &l.memory
	m.connections.Charge(1)
	m.sessions.Charge(20)
	m.inputs.Charge(300)
	m.outboxes.Charge(4000)
	m.logs.Charge(50_000)
	m.broker.Charge(600_000)
	st := l.snapshot()
	got := []int{
		st.ConnectionsBytes, st.SessionsBytes, st.InputBytes, st.OutboxesBytes, st.LogsBytes, st.BrokerBytes,
		st.MemoryBytes, st.MemoryBytesMax,
	}
	if want := []int{1, 20, 300, 4000, 50_000, 600_000, 654_321, 1 << 30}; !slices.Equal(got, want) {
		t.Errorf("%d, want %d", got, want)
	}
}

// Sessions that nobody asks for go before connections when many keep little: those first that nobody has asked for
// since longest.
func TestSpentBudgetOfManySessions(t *testing.T) {
	t.Parallel()
	const sessions, budget = 300, 1 << 20
	b := startInside(t, Config{
		MemoryBytesMax: budget, LogBytesMax: 128 << 10, BatchBytesMax: 64 << 10, SessionsMax: 2 * sessions,
	})
	ask := b.asker()
	for i := range sessions {
		if status := ask("POST", fmt.Sprintf("/local/0/s%d/xhr", i)); status != http.StatusOK {
			t.Fatal(i, status)
		}
	}
	b.here(func() {
		l := b.loop
		other := budget + 1 - l.memory.budget.Used()
		l.memory.broker.Charge(other)
		l.shed()
		l.memory.broker.Charge(-other)
		st := &l.stats
		ended := int(st.SessionsClosedForMemory)
		if ended == 0 || ended > budget/8/fallbackBytes+1 || st.Sessions != sessions-ended ||
			l.httpSessions != st.Sessions {
			t.Errorf("%d were ended, %d are left", ended, st.Sessions)
		}
		if st.ConnectionsClosedForMemory != 0 {
			t.Errorf("%d connections were ended", st.ConnectionsClosedForMemory)
		}
		if b.fallback(fmt.Sprintf("s%d", ended)) == nil || b.fallback(fmt.Sprintf("s%d", ended-1)) != nil {
			t.Error("not the oldest were ended")
		}
	})
}

// Whoever is ended both as a session and as its connection is counted once.
func TestHoldersAreEndedOnce(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][2]int{"the session first": {0, 1}, "the connection first": {1, 0}} {
		b := startInside(t, Config{})
		c := b.connect()
		_, _ = io.WriteString(c, "POST /local/0/s/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		b.await(func(st Stats) bool { return st.Sessions == 1 })
		b.here(func() {
			of, f := b.only(), b.fallback("s")
			of.blocked = true
			both := []holder{f.holder(), of.holder()}
			both[order[0]].end(1)
			if freed := both[order[1]].end(1); freed != 0 {
				t.Errorf("%s: %d bytes are freed twice", name, freed)
			}
			if st := &b.loop.stats; st.SessionsClosedForMemory+st.ConnectionsClosedForMemory != 1 {
				t.Errorf("%s: %d sessions and %d connections are counted", name, st.SessionsClosedForMemory,
					st.ConnectionsClosedForMemory)
			}
		})
	}
}

// Each subscription is charged, as long as there is one.
func TestSubscriptionsAreCharged(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.dial("/local")
	b.here(func() {
		s, before := b.session(), b.loop.memory.sessions.Bytes()
		want := func(n int, when string) {
			t.Helper()
			if grown := b.loop.memory.sessions.Bytes() - before; grown != n*broadcast.SubscriptionBytes {
				t.Errorf("%s %d bytes more are charged", when, grown)
			}
		}
		s.Subscribe(b.topic)
		s.Subscribe(b.topic)
		want(1, "with another")
		s.Unsubscribe(b.topic)
		want(0, "without it")
		s.Subscribe(b.topic)
		b.topic.Close()
		want(0, "when it is closed")
		s.ended(CloseReason{})
		want(-1, "at the end")
	})
}

// Holders are worth ending for all that they keep.
func TestWhatHoldersKeep(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	b.dial("/x")
	b.here(func() {
		c := b.only()
		c.input, c.output = make([]byte, 100, 3000), make([]byte, 0, 5000)
		c.charge()
		w := c.protocol.(*webSocket)
		large := Text(make([]byte, 10_000))
		if err := w.session.(*Session).Send(&large); err != nil {
			t.Error(err)
		}
		c.input, c.output = nil, nil // which nobody sent
		h := c.holder()
		if want := connBytes + 8000 + w.outflow.Memory(); h.bytes != want || w.outflow.Memory() < 10_000 {
			t.Errorf("it keeps %d bytes, want %d", h.bytes, want)
		}
		if freed := h.end(1); freed != h.bytes || b.loop.stats.ConnectionsClosedForMemory != 1 || !c.dead {
			t.Errorf("%d bytes of %d are free", freed, h.bytes)
		}
	})
}

// Logs may take half of the budget, and wait for readers up to a quarter of it.
func TestLogsWithinTheBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ budget, log, grown int }{
		{64 << 20, 1 << 20, logGrowth << 20}, {64 << 20, 16 << 20, 16 << 20},
	} {
		l := idle(t, Config{MemoryBytesMax: tt.budget, LogBytesMax: tt.log, BatchBytesMax: 1 << 10})
		if limit, grown := l.logBytesLimit(), l.pace().BytesMax; limit != tt.budget/2 || grown != tt.grown {
			t.Errorf("%+v: at most %d, waits for readers up to %d", tt, limit, grown)
		}
	}
}

// When many small holders are to be ended, each turn ends some, until it is enough.
func TestSheddingGoesOnInTheNextTurn(t *testing.T) {
	t.Parallel()
	const sessions, budget = 2*endsMax + 100, 8 << 20
	b := startInside(t, Config{
		MemoryBytesMax: budget, LogBytesMax: 128 << 10, BatchBytesMax: 64 << 10, SessionsMax: 2 * sessions,
		Options: Options{DisconnectDelay: time.Hour},
	})
	ask := b.asker()
	for i := range sessions {
		ask("POST", fmt.Sprintf("/local/0/s%d/xhr", i))
	}
	b.here(func() {
		l := b.loop
		other := budget + 1 - l.memory.budget.Used()
		l.memory.broker.Charge(other)
		for turn := 1; turn <= 2; turn++ {
			l.armed = false
			l.shed()
			if n := int(l.stats.SessionsClosedForMemory); n != min(turn*endsMax, n) || turn == 1 && n != endsMax {
				t.Errorf("turn %d: %d were ended", turn, n)
			}
			if enough := l.memory.budget.Used() <= l.memory.low(); l.memory.shedding == enough || l.armed == enough {
				t.Errorf("turn %d: it goes on %v, a turn follows %v, and it is enough: %v", turn, l.memory.shedding,
					l.armed, enough)
			}
		}
		l.memory.broker.Charge(-other)
		if n := l.stats.ConnectionsClosedForMemory; n != 0 {
			t.Errorf("%d connections were ended", n)
		}
	})
}

// A service that panics when a session ends does not keep what the session was charged.
func TestChargesAreGivenBackWhateverServicesDo(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{})
	c := b.dial("/local")
	ask := b.asker()
	ask("POST", "/local/0/s/xhr")
	b.here(func() {
		for _, r := range b.loop.routes {
			r.service = panickingAtTheEnd{}
		}
		b.loop.guarded(b.fallback("s").breakOff)
	})
	_ = c.Close()
	st := b.await(func(st Stats) bool { return st.Connections == 1 })
	if st.SessionsBytes != 0 || st.ConnectionsBytes != connBytes || st.Sessions != 0 || st.HandlerPanics != 2 {
		t.Errorf("%d bytes of %d sessions, %d of connections are charged; %d panics", st.SessionsBytes, st.Sessions,
			st.ConnectionsBytes, st.HandlerPanics)
	}
}

type panickingAtTheEnd struct{}

func (panickingAtTheEnd) OnOpen(*Session)               {}
func (panickingAtTheEnd) OnClose(*Session, CloseReason) { panic("as the test wants it") }
func (panickingAtTheEnd) OnMessage(*Session, *Message)  {}
