package server

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/panjf2000/gnet/v2"
	gneterrors "github.com/panjf2000/gnet/v2/pkg/errors"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
)

// loop is the reactor: gnet's callbacks and everything they own. Its fields belong to the loop's goroutine, except for
// the mailbox, which is how every other goroutine comes in.
type loop struct {
	gnet.BuiltinEventEngine
	cfg    Config
	log    *slog.Logger
	routes routes
	pages  map[string]*page // by path
	stats  Stats

	now   int64 // milliseconds since start, as of the last tick: fine enough for every timeout, and no clock to read
	start time.Time

	conns   []*conn
	topics  []*Topic
	dirty   []*Topic        // published to in this turn
	pending []*Session      // sent to in this turn
	dead    []*conn         // died in this turn
	resumed []*httpProtocol // have requests that waited for a response
	ending  []*fallback     // sessions over HTTP whose services must be told
	mixed   int             // sessions that subscribe to several topics

	fallbacks int // sessions over HTTP, and those of them that are over and not forgotten

	laggards      []*conn // their sockets are full
	laggardsSpare []*conn
	seq           uint64 // orders batches and direct messages
	armed         bool   // a flush is on its way
	draining      bool
	drained       chan struct{}
	lastTopic     *Topic // the last one published to

	array   codec.Array
	message Message // the one that a raw WebSocket is delivering
	head    *bufio.Reader
	scratch []byte
	closing []byte // scratch too, for what stands behind a frame

	trimmer trimmer
	mailbox mailbox
	retry   *time.Timer
	ready   chan struct{}
	addr    net.Addr
	engine  gnet.Engine
}

// retryDelay is how long a full socket is left alone. gnet has no callback for a socket that drains, so laggards are
// looked at again after this; in a busy server the next turn comes first.
const retryDelay = 2 * time.Millisecond

func newLoop(cfg Config) *loop {
	l := &loop{
		cfg: cfg, log: cfg.Logger, start: time.Now(),
		drained: make(chan struct{}), ready: make(chan struct{}),
		pages:   map[string]*page{},
		head:    bufio.NewReader(nil),
		trimmer: trimmer{busy: make(chan struct{}, 1)},
	}
	l.mailbox = mailbox{max: cfg.MailboxMax, loop: l}
	l.retry = time.AfterFunc(time.Hour, func() { l.mailbox.execute(l.retryLaggards) })
	l.retry.Stop()
	return l
}

// OnBoot learns the address that the listener got.
func (l *loop) OnBoot(e gnet.Engine) gnet.Action {
	l.engine = e
	fd, err := e.Dup()
	if err != nil {
		l.log.Error("asking for the listener", "error", err)
		return gnet.Shutdown
	}
	defer unix.Close(fd) //nolint:errcheck // a duplicate that was only read from
	l.addr = boundAddr(fd)
	return gnet.None
}

// OnTick runs on a goroutine of gnet's own, the first time when the loop has started.
func (l *loop) OnTick() (time.Duration, gnet.Action) {
	select {
	case <-l.ready:
		l.mailbox.execute(l.tick)
	default:
		if err := l.mailbox.open(l.engine); err != nil {
			l.log.Error("entering the loop", "error", err)
			return 0, gnet.Shutdown
		}
		close(l.ready)
	}
	return l.tickInterval(), gnet.None
}

// tickInterval is an eighth of the shortest timeout: no timeout is late by more.
func (l *loop) tickInterval() time.Duration {
	shortest := min(l.cfg.HandshakeTimeout, l.cfg.KeepAliveTimeout, l.cfg.PongTimeout, l.cfg.CloseTimeout)
	for _, r := range l.routes {
		shortest = min(shortest, r.options.HeartbeatDelay, r.options.DisconnectDelay)
	}
	return min(max(shortest/8, time.Millisecond), 500*time.Millisecond)
}

// OnOpen admits a connection or refuses it.
func (l *loop) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	l.mailbox.enter(gc.EventLoop())
	if _, ours := gc.Context().(doorman); ours {
		return nil, gnet.Close
	}
	if l.draining || len(l.conns) >= l.cfg.ConnectionsMax {
		l.stats.ConnectionsRefused++
		return []byte(busyResponse), gnet.Close
	}
	l.stats.ConnectionsAccepted++
	c := &conn{loop: l, gc: gc, fd: gc.Fd(), index: len(l.conns), readAt: l.now, wroteAt: l.now}
	c.protocol = newHTTP(c)
	l.conns = append(l.conns, c)
	l.stats.Connections = len(l.conns)
	gc.SetContext(c)
	// Failure leaves the kernel's own, larger bound.
	_ = unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, l.cfg.UnsentBytesMax)
	// A receiver has no way to answer a heartbeat, but its kernel has.
	_ = unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((l.cfg.HeartbeatDelay + l.cfg.PongTimeout).Milliseconds()))
	return nil, gnet.None
}

// OnTraffic hands what was read to the connection's protocol. The bytes lie in a buffer that all connections share:
// nothing may keep a slice of it.
func (l *loop) OnTraffic(gc gnet.Conn) gnet.Action {
	data, _ := gc.Next(-1)
	c, ok := gc.Context().(*conn)
	if !ok || c.dead {
		return gnet.None
	}
	l.stats.BytesReceived += uint64(len(data))
	c.receive(data)
	return gnet.None
}

// OnClose buries a connection. gnet may call it in the middle of a fan-out, when a write fails; then what it takes along
// waits for the end of the turn.
func (l *loop) OnClose(gc gnet.Conn, err error) gnet.Action {
	if c, ok := gc.Context().(*conn); ok {
		c.gone = true
		if err != nil && !c.dead {
			c.interrupted = true
		}
		c.kill()
	}
	return gnet.None
}

// OnShutdown shuts the mailbox before gnet closes the loop behind it.
func (l *loop) OnShutdown(gnet.Engine) {
	l.retry.Stop()
	l.mailbox.close()
}

// arm makes sure that a flush follows. A task runs after the I/O of the next batch of events, so under load a turn
// gathers by itself whatever has arrived, and without load it ends at once.
func (l *loop) arm() {
	if !l.armed {
		l.armed = true
		l.mailbox.execute(l.flush)
	}
}

// flush ends a turn: what was published and sent leaves, and who died is buried.
func (l *loop) flush() {
	l.armed = false
	l.stats.Turns++
	l.deliver()
	l.resume()
	l.bury()
	l.checkDrained()
}

// deliver seals what was published and hands it to the subscribers. No callback of a service runs from here, and no
// connection leaves a topic.
func (l *loop) deliver() {
	for _, t := range l.dirty {
		t.seal()
	}
	for _, t := range l.dirty {
		t.dirty = false
		t.log.Deliver()
	}
	l.dirty = l.dirty[:0]
	for i := 0; i < len(l.pending); i++ {
		s := l.pending[i]
		s.pending = false
		s.transport.pump()
	}
	clear(l.pending)
	l.pending = l.pending[:0]
}

// resume goes on with the requests that waited for a response to end.
func (l *loop) resume() {
	for i := 0; i < len(l.resumed); i++ {
		if h := l.resumed[i]; !h.c.dead {
			h.resume()
		}
	}
	clear(l.resumed)
	l.resumed = l.resumed[:0]
}

// bury closes the connections that died and tells their services, and those of sessions that are over. They may go on to
// publish or to kill others.
func (l *loop) bury() {
	for i := 0; i < len(l.ending); i++ {
		l.run(l.ending[i].session.ended)
	}
	clear(l.ending)
	l.ending = l.ending[:0]
	for i := 0; i < len(l.dead); i++ {
		c := l.dead[i]
		if !c.gone {
			_ = c.gc.Close()
		}
		l.remove(c)
		c.bury()
	}
	clear(l.dead)
	l.dead = l.dead[:0]
}

// bury tells the connection's protocol that it is over.
func (c *conn) bury() {
	defer c.guard()
	c.protocol.closed()
}

func (l *loop) remove(c *conn) {
	last := len(l.conns) - 1
	l.conns[c.index] = l.conns[last]
	l.conns[c.index].index = c.index
	l.conns[last] = nil
	l.conns = l.conns[:last]
	l.stats.Connections = len(l.conns)
}

// lag remembers a connection whose socket is full.
func (l *loop) lag(c *conn) {
	if c.lagging {
		return
	}
	c.lagging = true
	l.laggards = append(l.laggards, c)
	if len(l.laggards) == 1 {
		l.retry.Reset(retryDelay)
	}
}

// retryLaggards goes on with the connections whose sockets have drained. Looking at one that has not costs no system
// call, so a thousand stalled readers cost what one does.
func (l *loop) retryLaggards() {
	looked := l.laggards
	l.laggards = l.laggardsSpare[:0]
	for _, c := range looked {
		blocked := !c.dead && c.blocked()
		c.lagging = false
		switch {
		case c.dead:
		case blocked:
			l.lag(c)
		default:
			c.protocol.drained()
		}
	}
	clear(looked)
	l.laggardsSpare = looked
	l.bury()
}

// tick looks at every timeout.
func (l *loop) tick() {
	l.now = time.Since(l.start).Milliseconds()
	for _, c := range l.conns {
		if !c.dead {
			c.protocol.tick()
		}
	}
	for _, r := range l.routes {
		l.timeOut(r)
	}
	l.trim()
	l.bury()
	l.checkDrained()
}

// snapshot copies the counters.
func (l *loop) snapshot() Stats {
	st := l.stats
	st.LaggingConns = len(l.laggards)
	for _, t := range l.topics {
		st.TopicLogsBytes += t.log.LogBytes()
	}
	return st
}

// nextSeq numbers a batch or a direct message.
func (l *loop) nextSeq() uint64 {
	l.seq++
	return l.seq
}

// sessionPending asks for a pump of the session at the end of the turn.
func (l *loop) sessionPending(s *Session) {
	if !s.pending {
		s.pending = true
		l.pending = append(l.pending, s)
		l.arm()
	}
}

// drain begins the end: no new connections, and a goodbye for everybody.
func (l *loop) drain() {
	if l.draining {
		return
	}
	l.draining = true
	for _, r := range l.routes {
		for _, f := range r.sessions {
			if f.receiver == nil { // there is nobody to tell
				l.run(func() { f.end(CloseReason{CodeGoAway, reasonGoAway}) })
			}
		}
	}
	for _, c := range l.conns {
		if !c.dead {
			c.protocol.goAway()
		}
	}
	l.arm()
}

func (l *loop) checkDrained() {
	if !l.draining || len(l.conns) > 0 {
		return
	}
	select {
	case <-l.drained:
	default:
		close(l.drained)
	}
}

// guard is deferred around the callbacks of a service: a panic costs the connection that caused it, no other.
func (c *conn) guard() {
	if p := recover(); p != nil {
		c.loop.panicked(p)
		c.kill()
	}
}

func (l *loop) panicked(p any) {
	l.stats.HandlerPanics++
	l.log.Error("a handler panicked; if it had a connection, that is closed", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

// run runs a posted function; it may panic as a handler may.
func (l *loop) run(letter func()) {
	defer func() {
		if p := recover(); p != nil {
			l.panicked(p)
		}
	}()
	letter()
}

// doorman marks the connection through which the mailbox found the loop.
type doorman struct{}

// mailbox is the one way into the loop from other goroutines. Posts are bounded and share one task a burst.
type mailbox struct {
	loop    *loop
	max     int
	entered bool // the loop's own: it has been entered, perhaps left again

	mu      sync.Mutex
	entry   gnet.EventLoop // nil before the start and after the end
	letters []func()
}

// open lets the loop be entered before the first client comes. gnet hands out its event loop with a connection only, so
// one is made, to ourselves; OnOpen takes the loop from it and closes it.
func (b *mailbox) open(e gnet.Engine) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close() //nolint:errcheck // only its connection mattered
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return err
	}
	results, err := e.Register(gnet.NewNetConnContext(gnet.NewContext(context.Background(), doorman{}), c))
	if err != nil {
		return err
	}
	return (<-results).Err
}

// enter takes the event loop from a connection. A client may come before the doorman does, and what it publishes must
// find its way: a flush that is armed and lost would be the last.
func (b *mailbox) enter(el gnet.EventLoop) {
	if b.entered {
		return
	}
	b.entered = true
	b.mu.Lock()
	b.entry = el
	b.mu.Unlock()
}

// close makes every later post an error: gnet must not be called once it shuts down.
func (b *mailbox) close() {
	b.mu.Lock()
	b.entry = nil
	b.mu.Unlock()
}

// execute runs a task of the loop's own on the loop.
func (b *mailbox) execute(task func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entry != nil {
		b.trigger(task)
	}
}

func (b *mailbox) trigger(task func()) {
	err := b.entry.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
		task()
		return nil
	}))
	if err != nil {
		b.loop.log.Error("waking the loop", "error", err)
	}
}

// post queues a function from outside.
func (b *mailbox) post(letter func()) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.entry == nil:
		return ErrNotRunning
	case len(b.letters) >= b.max:
		return ErrMailboxFull
	}
	b.letters = append(b.letters, letter)
	if len(b.letters) == 1 {
		b.trigger(b.read)
	}
	return nil
}

// read runs what was posted.
func (b *mailbox) read() {
	b.mu.Lock()
	letters := b.letters
	b.letters = nil
	b.mu.Unlock()
	for _, letter := range letters {
		b.loop.run(letter)
	}
}

// stop ends the engine. Engine.Stop would poll for that twice a second.
func (b *mailbox) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entry != nil {
		_ = b.entry.Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
			return gneterrors.ErrEngineShutdown
		}))
	}
}

// boundAddr is the address of a listening socket.
func boundAddr(fd int) net.Addr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return nil
}
