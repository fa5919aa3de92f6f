package server

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/logging"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/panjf2000/gnet/v2/pkg/queue"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/broadcast"
	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/tuning"
)

// endsMax is how many connections and sessions a turn closes, or ends for memory: some 9 ms of it.
const endsMax = 1024

// readBytes is the size of the buffer into which every connection is read: the most that one read brings.
const readBytes = 64 << 10

// loop is the reactor: gnet's poller and everything that its events lead to. Its fields belong to the loop's goroutine,
// except for the mailbox, which is how every other goroutine comes in.
type loop struct {
	cfg    Config
	logger *slog.Logger
	routes routes
	pages  map[string]*page // by path
	stats  Stats

	poller      *netpoll.Poller
	listener    listener
	wake        eventFD       // raised when something was posted, or a flush has armed the next
	timer       eventFD       // of the tick
	pacer       eventFD       // runs while somebody waits for less than a tick
	pacing      bool          // it runs
	tid         atomic.Int64  // thread of the loop
	readerClock int64         // the clock by which readers are judged, in milliseconds, see readClock
	elapsed     time.Duration // since start, when the clock was read last, see readClock
	time        time.Duration // loop time: the same without stalls
	now         int64         // loop time, in milliseconds
	start       time.Time

	conns          []*conn
	byFD           []*conn // index is the descriptor
	topics         []*Topic
	dirty          []*Topic                // whose messages leave at the end of this turn
	gathering      gathering               // those whose messages wait for longer
	fullTopics     []*Topic                // whose publishers wait for room
	owing          []*Session              // sent to in this turn
	dead           []*conn                 // killed in this turn
	evicted        []*Session              // fell off a log in this turn
	endings        []*fallback             // sessions over HTTP that have ended, whose services must be told
	heldPublishers []publisher             // over their rate, or waiting for their own client
	multiTopic     int                     // sessions that subscribe to several topics
	timingOut      bool                    // more sessions have timed out than a turn could end
	httpSessions   int                     // sessions over HTTP, and those of them that are over and not forgotten
	departure      departure               // of everybody, while the server drains
	seq            uint64                  // orders batches and direct messages
	armed          bool                    // a flush is on its way
	flushing       bool                    // it is under way
	rearmed        bool                    // while it was, another was asked for
	lastPublished  *Topic                  // the last one published to
	share          share                   // what may still be done in this turn
	memory         memory                  // what is kept for clients, and its bound
	saturation     saturation              // how near the loop is to what it can do
	sessionID      uint64                  // of the last session that was opened
	outflows       broadcast.OutflowConfig // of every session

	published *Topic // the last that the message being handed on was published to
	foundFull *Topic // the last whose log was full when the message being handed on was published to it

	deflater *codec.Deflater // of everybody; nil unless Config.Compress
	inflater codec.Inflater  // likewise

	buffer       []byte // into which connections are read
	array        codec.Array
	message      Message // the one that a raw WebSocket is delivering
	scratch      []byte
	scratchAfter []byte // for what stands behind a frame

	mailbox    mailbox
	brokerSide *brokerSide // nil without a broker
}

func newLoop(cfg Config) *loop {
	l := &loop{
		cfg: cfg, logger: cfg.Logger, start: time.Now(),
		pages:  map[string]*page{},
		buffer: make([]byte, readBytes),
	}
	l.listener.accept4 = accept4
	l.listener.fd = -1
	l.wake, l.timer, l.pacer, l.gathering.timer, l.share.ready = -1, -1, -1, -1, -1
	l.departure.done = make(chan struct{})
	l.memory.init(cfg.MemoryBytesMax)
	l.outflows = broadcast.OutflowConfig{
		FrameBytesMax: cfg.FrameBytesMax, OutboxBytesMax: cfg.OutboxBytesMax,
		Skip: cfg.SlowConsumer == SlowConsumerSkip, Outboxes: l.memory.outboxes,
		Subscriptions: l.memory.sessions,
		SkipBytesMax:  cfg.MemoryBytesMax / skipShare,
	}
	if cfg.Compress {
		l.deflater, _ = codec.NewDeflater(cfg.CompressLevel, cfg.CompressBytesMin) // the level has been checked
	}
	l.mailbox = mailbox{max: cfg.MailboxMax, loop: l}
	l.brokerSide = newBrokerSide(l)
	return l
}

// open makes what the loop waits for: the poller, the timer of the tick, and the listening socket.
func (l *loop) open() error {
	logging.SetDefaultLoggerAndFlusher(gnetLogger{l.logger}, nil)
	var err error
	if l.poller, err = netpoll.OpenPoller(); err != nil {
		return err
	}
	for of, made := range map[*eventFD]func() (eventFD, error){
		&l.timer: newTimerFD, &l.pacer: newTimerFD, &l.gathering.timer: newTimerFD,
		&l.wake: newEventFD, &l.share.ready: newEventFD,
	} {
		if *of, err = made(); err == nil {
			err = l.poller.AddRead(&netpoll.PollAttachment{FD: int(*of)}, false)
		}
		if err != nil {
			return err
		}
	}
	l.timer.set(l.tickInterval())
	l.share.init(l.cfg.TurnBytesMax)
	return l.listen()
}

// close gives back what open made.
func (l *loop) close() {
	for _, e := range []eventFD{eventFD(l.listener.fd), l.wake, l.timer, l.pacer, l.gathering.timer, l.share.ready} {
		e.close()
	}
	if l.poller != nil {
		_ = l.poller.Close()
	}
}

// run waits for events until the mailbox's stop, and then ends whatever is left: every service is told of the end of
// each of its sessions. ready is called when the loop can be entered.
func (l *loop) run(ready func()) error {
	// It is never unlocked: the thread ends with the goroutine, and how it is scheduled with it.
	runtime.LockOSThread()
	if err := tuning.Foreground(); err != nil { // then it is interrupted more often
		l.logger.Warn("scheduling the loop", "error", err)
	}
	l.tid.Store(int64(unix.Gettid()))
	l.saturation.open(time.Since(l.start))
	defer l.saturation.close()
	l.mailbox.begin()
	ready()
	err := l.poller.Polling(l.event)
	l.mailbox.close()
	l.endAll()
	l.tid.Store(0)
	if err == errors.ErrEngineShutdown {
		err = nil
	}
	return err
}

// isHere tells whether the caller is on the loop: it alone has the loop's thread.
func (l *loop) isHere() bool { return l.tid.Load() == int64(unix.Gettid()) }

// endAll ends every connection and every session over HTTP, at once.
func (l *loop) endAll() {
	for _, c := range l.conns {
		c.kill()
	}
	for _, r := range l.routes {
		r.breakOff()
	}
	for l.closeDead(); len(l.dead) > 0; {
		l.closeDead()
	}
	for len(l.topics) > 0 {
		l.topics[0].Close()
	}
}

// event is one event of the poller. A turn is the events of one or two waits, and the flush that they lead to.
func (l *loop) event(fd int, ev netpoll.IOEvent, _ netpoll.IOFlags) error {
	l.turnMayBegin()
	switch eventFD(fd) {
	case eventFD(l.listener.fd):
		l.accept()
	case l.wake:
		return l.woken()
	case l.timer:
		l.tick()
	case l.pacer:
		l.pacerTick()
	case l.gathering.timer:
		l.gatherTick()
	case l.share.ready:
		l.grantVisits()
	default:
		if c := l.connOf(fd); c != nil && !c.dead {
			c.event(ev)
		}
	}
	return nil
}

// woken runs what was posted, and lets the flush come that another has asked for.
func (l *loop) woken() error {
	l.wake.clear()
	if l.rearmed {
		l.rearmed = false
		l.trigger()
	}
	return l.mailbox.read()
}

// connOf is the connection with a descriptor, nil if it has been closed since the event came.
func (l *loop) connOf(fd int) *conn {
	if fd >= len(l.byFD) {
		return nil
	}
	return l.byFD[fd]
}

// arm makes sure that a flush follows. It is a task of the poller's, which runs after the I/O of the next batch of
// events, so under load a turn gathers by itself whatever has arrived, and without load it ends at once. The poller
// runs tasks until there are none, so one that a flush asks for comes by an event: the sockets have their turn between.
func (l *loop) arm() {
	switch {
	case l.armed || l.poller == nil:
	case l.flushing:
		l.armed, l.rearmed = true, true
		l.wake.raise()
	default:
		l.armed = true
		l.trigger()
	}
}

func (l *loop) trigger() {
	if err := l.poller.Trigger(queue.HighPriority, func(any) error { l.flush(); return nil }, nil); err != nil {
		l.armed = false
		l.logger.Error("waking the loop", "error", err)
	}
}

// flush ends a turn: what was published and sent leaves, and who died is closed.
func (l *loop) flush() {
	l.armed, l.flushing = false, true
	l.readClock(time.Since(l.start))
	l.stats.Turns++
	l.deliver()
	l.closeDead()
	l.brokerSide.charge()
	l.shed()
	l.memory.collector.adjust(l.memory.budget.Used())
	l.makeRoom()
	l.checkDrained()
	l.turnEnded()
	l.nextTurn()
	l.flushing = false
}

// deliver seals what was published and hands it to the subscribers. No callback of a service runs from here, and no
// connection leaves a topic.
func (l *loop) deliver() {
	l.gather()
	for _, t := range l.dirty {
		t.seal()
		t.sent()
	}
	l.endEvicted()
	for _, t := range l.dirty {
		t.dirty = false
		t.log.Deliver()
	}
	l.dirty = l.dirty[:0]
	for i := 0; i < len(l.owing); i++ {
		s := l.owing[i]
		s.owing = false
		s.transport.pump()
	}
	clear(l.owing)
	l.owing = l.owing[:0]
}

// endEvicted ends the sessions that have fallen off a log.
func (l *loop) endEvicted() {
	for i := 0; i < len(l.evicted); i++ {
		if s := l.evicted[i]; s.state != closed {
			s.transport.slow()
		}
	}
	clear(l.evicted)
	l.evicted = l.evicted[:0]
}

// closeDead closes the connections that were killed and tells their services, and those of sessions over HTTP that are
// over. They may go on to publish or to kill others. When many die at once the next turns close the others.
func (l *loop) closeDead() {
	for i := 0; i < len(l.endings); i++ {
		f := l.endings[i]
		l.guarded(func() { f.session.ended(f.farewell) })
	}
	clear(l.endings)
	l.endings = l.endings[:0]
	n := 0
	for ; n < len(l.dead) && n < endsMax; n++ {
		l.dead[n].close()
	}
	if l.dead = slices.Delete(l.dead, 0, n); len(l.dead) > 0 {
		l.arm()
	}
}

// snapshot copies the counters.
func (l *loop) snapshot() Stats {
	st := l.stats
	st.Connections = len(l.conns)
	for _, c := range l.conns {
		if c.blocked {
			st.ConnectionsBlocked++
		}
	}
	l.memory.report(&st)
	l.reportSaturation(&st)
	return st
}

// nextSeq numbers a batch or a direct message.
func (l *loop) nextSeq() uint64 {
	l.seq++
	return l.seq
}

// owes asks for a pump of the session at the end of the turn.
func (l *loop) owes(s *Session) {
	if !s.owing {
		s.owing = true
		l.owing = append(l.owing, s)
		l.arm()
	}
}

func (l *loop) panicked(p any) {
	l.stats.HandlerPanics++
	l.logger.Error("a handler panicked; if it had a connection, that is closed",
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// guarded runs a function that may panic as a handler may.
func (l *loop) guarded(f func()) {
	defer func() {
		if p := recover(); p != nil {
			l.panicked(p)
		}
	}()
	f()
}
