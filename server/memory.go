package server

import (
	"cmp"
	"runtime/debug"
	"runtime/metrics"
	"slices"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/internal/budget"
	"github.com/sockloop/sockloop/tuning"
)

// What a connection costs, and a session beside its connection, without what they keep of what was sent; in bytes of
// heap (TestFixedCosts measures them).
const (
	connBytes      = 1 << 10
	webSocketBytes = 288 // a session on a WebSocket, and broadcast.SubscriptionBytes for each topic of any
	fallbackBytes  = 608 // one over HTTP
)

// skipShare is the part of the budget up to which outboxes grow by the rests of frames that slow consumers stopped in.
const skipShare = 8

// memory is the account of everything that is kept on behalf of clients, and what is done when it is too much.
type memory struct {
	budget      budget.Budget
	connections *budget.Account // as such
	sessions    *budget.Account // as such
	inputs      *budget.Account // partial requests and frames, what waits for its turn, responses; spare buffers
	outboxes    *budget.Account // what is meant for one session alone
	logs        *budget.Account // of topics, with their tables and spare segments
	broker      *budget.Account // what waits on its way to other processes and from them

	spare     spareInputs
	shedding  bool // the last turn ended many, and not enough
	collector collector
}

func (m *memory) init(bytesMax int) {
	m.budget.BytesMax = bytesMax
	m.connections, m.sessions = m.budget.Account(), m.budget.Account()
	m.inputs, m.outboxes = m.budget.Account(), m.budget.Account()
	m.logs, m.broker = m.budget.Account(), m.budget.Account()
	m.spare.memory = m
	m.collector = collector{busy: make(chan struct{}, 1), set: debug.SetGCPercent}
}

// low is the part of the budget below which everybody is welcome.
func (m *memory) low() int { return m.budget.BytesMax / 8 * 7 }

// nearlyFull tells that newcomers have to be refused.
func (m *memory) nearlyFull() bool { return m.budget.Used() > m.low() }

func (m *memory) report(st *Stats) {
	st.MemoryBytes = m.budget.Used()
	st.MemoryBytesMax = m.budget.BytesMax
	st.ConnectionsBytes = m.connections.Bytes()
	st.SessionsBytes = m.sessions.Bytes()
	st.InputBytes = m.inputs.Bytes()
	st.OutboxesBytes = m.outboxes.Bytes()
	st.LogsBytes = m.logs.Bytes()
	st.BrokerBytes = m.broker.Bytes()
}

// holder is something that can be ended or cut for what it keeps.
type holder struct {
	bytes int
	end   func(excess int) (freed int) // some of it when the next turn ends
}

// largeBytes is from what on somebody is ended before those who keep less.
const largeBytes = 4 << 10

// shed ends the largest holders when the budget is spent, until newcomers are welcome again. If they do not keep
// enough, it is many that keep little each, and it ends as many of those as it takes, some in each turn: first sessions
// without a receiver, those that have been without for longest, and then connections, in no order.
func (l *loop) shed() {
	if l.memory.budget.Used() <= l.memory.budget.BytesMax && !l.memory.shedding {
		return
	}
	l.memory.spare.drop()
	excess, ended := l.memory.budget.Used()-l.memory.low(), 0
	if !l.memory.shedding { // else they were ended in the turn before
		large := l.large()
		slices.SortFunc(large, func(a, b holder) int { return cmp.Compare(b.bytes, a.bytes) })
		for i := 0; i < len(large) && excess > 0; i++ {
			excess -= large[i].end(excess)
		}
	}
	for _, r := range l.routes {
		for first := r.detached.Front(); first != nil && excess > 0 && ended < endsMax; first = r.detached.Front() {
			excess -= first.Value.(*fallback).drop()
			ended++
		}
	}
	for i := 0; i < len(l.conns) && excess > 0 && ended < endsMax; i++ {
		excess -= l.conns[i].holder().end(excess)
		ended++
	}
	if l.memory.shedding = excess > 0 && ended == endsMax; l.memory.shedding {
		l.arm()
	}
}

// large lists who keeps much: logs, connections, and sessions over HTTP, whose outbox outlives their connections.
func (l *loop) large() []holder {
	var all []holder
	add := func(h holder) {
		if h.bytes >= largeBytes {
			all = append(all, h)
		}
	}
	for _, t := range l.topics {
		add(t.holder())
	}
	for _, c := range l.conns {
		add(c.holder())
	}
	for _, r := range l.routes {
		for _, f := range r.sessions {
			add(f.holder())
		}
	}
	return all
}

func (t *Topic) holder() holder {
	return holder{t.log.LogBytes(), func(excess int) int {
		freed := t.log.Shrink(excess)
		if freed > 0 {
			t.loop.stats.LogsCutForMemory++
		}
		return freed
	}}
}

func (c *conn) holder() holder {
	bytes := connBytes + c.charged + c.protocol.outbox()
	return holder{bytes, func(int) int {
		if c.dead { // it has been ended with its session
			return 0
		}
		c.loop.stats.ConnectionsClosedForMemory++
		c.drop()
		return bytes
	}}
}

func (f *fallback) holder() holder {
	bytes := f.outflow.Memory()
	return holder{bytes, func(int) int {
		if !f.cutShort() { // it has been ended with its connection
			return 0
		}
		f.loop.stats.SessionsClosedForMemory++
		return bytes
	}}
}

// drop ends a session without a receiver and forgets its id. It returns how many bytes that frees.
func (f *fallback) drop() (freed int) {
	freed = f.cost() + f.outflow.Len()*broadcast.SubscriptionBytes
	if !f.told { // else it has been ended, counted, and gives its outbox back when the turn ends
		f.loop.stats.SessionsClosedForMemory++
		freed += f.outflow.Memory()
	}
	f.loop.guarded(func() { f.end(slowReason) })
	return freed
}

// drop kills a connection and gives up what it keeps at once.
func (c *conn) drop() {
	c.input, c.taken, c.output, c.sent = nil, 0, nil, 0
	c.abort()
}

const (
	// giveBackInterval is how often the loop looks for memory to give back, in milliseconds.
	giveBackInterval = 10_000
	// quietBytes is the traffic of such an interval below which the loop can afford to: a busy loop would only take the
	// memory again.
	quietBytes = 256 << 20
	// slackBytes is how much memory the process may hold for nothing.
	slackBytes = 1 << 20
	// garbageBytes is about how much garbage may lie between two collections.
	garbageBytes = 16 << 20
	// percentMin and percentMax bound GOGC. With Go's own, 100, the garbage of 2000 handshakes made the process 0.6 MB
	// larger; and a server that does not allocate has no use for a slow collector.
	percentMin, percentMax = 5, 30
	// paceStep is by how much what is in use changes before the pace is looked at again, in bytes.
	paceStep = 4 << 20
)

// collector keeps the process's memory near what the budget says: it has garbage collected before there is much of it,
// and gives memory back to the system once an overload is over. Go alone would let garbage grow to the size of what is
// in use, and a server that does not allocate never collects.
type collector struct {
	at       int64         // loop time of the last look
	moved    uint64        // bytes that had been sent and received by then
	peak     int           // of what was kept since memory was last given back
	adjusted int           // what was kept when percent was last looked at
	percent  int           // GOGC as it was set last; 0 is not yet
	busy     chan struct{} // holds a token while memory is on its way back

	set func(percent int) (before int) // debug.SetGCPercent
}

// adjust sets the garbage collector's pace for so many bytes in use.
func (g *collector) adjust(used int) {
	g.peak = max(g.peak, used)
	if g.percent > 0 && used > g.adjusted-paceStep && used < g.adjusted+paceStep {
		return
	}
	g.adjusted = used
	percent := min(max(100*garbageBytes/max(used, 1), percentMin), percentMax)
	if percent < g.percent*3/4 || percent > g.percent*4/3 || percent == percentMax && g.percent != percentMax {
		g.percent = percent
		g.set(percent)
	}
}

// giveBack gives spare memory back if the loop is quiet.
func (l *loop) giveBack() {
	g := &l.memory.collector
	if l.now-g.at < giveBackInterval && g.at > 0 {
		return
	}
	moved := l.stats.BytesSent + l.stats.BytesReceived - g.moved
	g.at, g.moved = l.now, g.moved+moved
	died := g.peak - l.memory.budget.Used()
	if moved > quietBytes && died < garbageBytes {
		return
	}
	g.peak = l.memory.budget.Used()
	for _, t := range l.topics {
		t.log.Trim()
	}
	l.memory.spare.drop()
	select {
	case g.busy <- struct{}{}:
		go func() {
			defer func() { <-g.busy }()
			if died > slackBytes || slack() > slackBytes {
				debug.FreeOSMemory()
			}
			_ = tuning.ReleaseStartupPages() // what remains resident is harmless
		}()
	default:
	}
}

// slack is the memory that the heap has from the system and does not need: free spans, and objects that have died or
// may have since the last collection.
func slack() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	free, objects, live := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
	return free + objects - min(objects, live)
}
