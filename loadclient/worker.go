package loadclient

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/internal/rawcall"
	"github.com/sockloop/sockloop/tuning"
)

// worker drives its share of the connections from one thread on one CPU: an epoll loop without channels, locks or
// allocation while a trial runs.
type worker struct {
	target Target
	cpu    int // to be pinned to, -1 for none
	idBase int
	share  Share        // of the connections, this process's
	ended  *atomic.Bool // the worker is to leave
	conns  []*conn
	byFD   []*socket // nil where the descriptor is not ours
	epoll  int
	read   []byte
	events []unix.EpollEvent
	plain  []byte // what TLS has decrypted
	clear  []byte // what it is to encrypt

	stencils  *stencils // of what is sent
	form      *form     // of what is received
	plan      trialPlan
	next      int // messages of the schedule looked at
	window    time.Duration
	rested    time.Duration // until when the schedule rests
	start     time.Time
	rooms     []*reference // of the worker's connections
	senders   []*conn      // those that send in the present trial
	sentTally []senderTally
	results   *recording

	frames, reads, bytes int
	writes               int
	heardAt              int64 // when part of a message was read last, in ns since the start of the trial
	readAt               int64 // when something was read last, in ns since the start of the trial
	returned             int   // own messages
	rttSum               int64 // ns
	idle                 time.Duration
	live                 liveCounters

	// lost hears of a connection that broke; nil is that this ends the trial. With it there are no trials, and each
	// connection counts for itself what it is sent: there may be new ones at any time.
	lost func(*conn, error)
}

const (
	// readBytes is what one read takes at most: enough that a burst is one system call, and still in the cache when it
	// is compared.
	readBytes = 512 << 10
	// eventsMax is how many sockets one epoll_wait reports at most.
	eventsMax = 32
)

func newWorker(t Target, cpu, idBase int) (*worker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	w := &worker{
		target: t, cpu: cpu, idBase: idBase, epoll: epoll,
		read: make([]byte, readBytes), events: make([]unix.EpollEvent, eventsMax),
		stencils: newStencils(t), form: newForm(t), results: newRecording(), ended: new(atomic.Bool),
	}
	return w, nil
}

// reference is that of a room, which is made if the worker has none yet.
func (w *worker) reference(m audience, blockBytes int) *reference {
	for i := len(w.rooms) - 1; i >= 0; i-- {
		if w.rooms[i].room == m {
			return w.rooms[i]
		}
	}
	r := newReference(w.form, m, blockBytes)
	if w.target.Compress {
		r.framing = &framing{dialect: declared(w.target.Protocol).dialect}
	}
	w.rooms = append(w.rooms, r)
	return r
}

// adopt takes a connection over, with what was received on it already.
func (w *worker) adopt(d dialed, index int, r *reference) error {
	c := &conn{w: w, index: index, reference: r, place: len(w.conns)}
	if w.lost != nil {
		c.alone = &straggler{tally: &tally{idBase: w.idBase, form: w.form}}
	}
	r.conns = append(r.conns, c)
	c.link = newLink(c, d)
	w.conns = append(w.conns, c)
	for _, s := range c.link.sockets() {
		if err := w.add(s); err != nil {
			return err
		}
	}
	first := c.link.sockets()[0]
	if err := w.broken(c, c.link.receive(first, d.rest)); err != nil || first.fd < 0 { // broken, and let go of
		return err
	}
	return w.greet(c)
}

// add has the worker's epoll watch a socket.
func (w *worker) add(s *socket) error {
	if n := s.fd + 1 - len(w.byFD); n > 0 {
		w.byFD = append(w.byFD, make([]*socket, n)...)
	}
	w.byFD[s.fd] = s
	if err := unix.SetNonblock(s.fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, s.fd, &ev))
}

// forget takes note that a socket will be closed, which ends its being watched.
func (w *worker) forget(s *socket) {
	if s.fd < len(w.byFD) {
		w.byFD[s.fd] = nil
	}
}

// watch asks for the events that a socket waits for.
func (w *worker) watch(s *socket) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}
	if s.waiting {
		ev.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(w.epoll, unix.EPOLL_CTL_MOD, s.fd, &ev))
}

func (w *worker) close() {
	for _, c := range w.conns {
		for _, s := range c.link.sockets() {
			if s.fd >= 0 {
				_ = unix.Close(s.fd)
			}
		}
	}
	_ = unix.Close(w.epoll)
}

// clock is the time since the start of the trial, in nanoseconds.
func (w *worker) clock() int64 { return int64(time.Since(w.start)) }

// record notes a round trip: of connection c's k-th message, sent at a time and back now.
func (w *worker) record(now, sent int64, c, k int) {
	due := int64(w.plan.schedule.due(w.plan.schedule.index(c, k)))
	rtt := now - due
	_ = w.results.intended.RecordValue(min(max(rtt/1000, 1), rttMax))
	_ = w.results.actual.RecordValue(min(max((now-sent)/1000, 1), rttMax))
	b := &w.results.buckets[min(int(due/int64(bucketTime)), len(w.results.buckets)-1)]
	b.count++
	b.sum += float64(rtt) / 1e6
	w.returned++
	w.rttSum += rtt
}

// trialPlan is what all workers do at the same time.
type trialPlan struct {
	schedule schedule
	window   time.Duration // in which messages are sent
	drain    time.Duration // in which the last ones may come back
	spin     bool          // never sleep: the CPU is ours
	relaxed  bool          // read at most every millisecond
	sample   bool          // read a sample of the connections
}

// windowEnd is the state at the end of the window.
type windowEnd struct {
	sent      int
	delivered int
	idle      time.Duration
	waited    time.Duration // for the CPU
	at        time.Duration
	drained   time.Duration // when the drain ended, since the start; 0 if all had come
}

// run runs the trial that was prepared, from a time on, and reports the state at the window's end. It must be called on
// the worker's own thread.
func (w *worker) run(start time.Time) (end windowEnd, err error) {
	p := w.plan
	w.start, w.heardAt = start, 0
	for left := time.Until(start); left > 0; left = time.Until(start) {
		if err := w.poll(left); err != nil {
			return end, err
		}
	}
	w.idle = 0
	inWindow, tid := true, unix.Gettid()
	before := waited(tid)
	for !w.ended.Load() {
		now := time.Since(start)
		if inWindow && now >= p.window {
			inWindow = false
			end = windowEnd{w.sent(), w.delivered(), w.idle, waited(tid) - before, now, 0}
		}
		if err := w.sendDue(now); err != nil {
			return end, err
		}
		if !inWindow && w.complete() {
			return end, nil
		}
		if !inWindow && now > p.window+p.drain {
			err = w.lookOnce()
			end.drained = time.Since(start)
			return end, err
		}
		if p.relaxed && inWindow {
			w.rest(relaxedTime - (time.Since(start) - now))
		}
		if err := w.poll(w.timeout(p, now)); err != nil {
			return end, err
		}
	}
	return end, errEnded
}

// lookOnce reads each socket once that has something. After a drain this tells silence from what nobody has looked at,
// and a message from a heartbeat: a process that had to wait for its CPU finds here what came meanwhile.
func (w *worker) lookOnce() error {
	for n := 0; n <= len(w.byFD); n += len(w.events) { // one call reports some of the ready ones, the next others
		if err := w.poll(0); err != nil {
			return err
		}
	}
	return nil
}

// relaxedTime is how long a client that reads at leisure lets data gather.
const relaxedTime = time.Millisecond

// rest does nothing for a while.
func (w *worker) rest(d time.Duration) {
	before := time.Now()
	time.Sleep(d)
	w.idle += time.Since(before)
}

// prepare has what arrives from here on belong to a trial. When it starts is not known yet; until then time counts from
// here.
func (w *worker) prepare(p trialPlan) {
	w.plan, w.start, w.next, w.window, w.rested = p, time.Now(), 0, p.window, 0
	w.frames, w.reads, w.bytes, w.writes, w.returned, w.rttSum, w.heardAt = 0, 0, 0, 0, 0, 0, 0
	w.sentTally = make([]senderTally, p.schedule.connections)
	w.results.reset(p.window)
	w.senders = w.senders[:0]
	byIndex := make([]*conn, p.schedule.connections)
	for i, c := range w.conns {
		c.reset()
		c.timed = i%max(1, len(w.conns)/timedMax) == 0
		c.skims = p.sample && i%min(turns, len(w.conns)) > 0
		if c.index < p.schedule.connections {
			byIndex[c.index] = c
			w.senders = append(w.senders, c)
		}
	}
	for _, r := range w.rooms {
		if r.readers = r.countReaders(); r.readers == 0 && len(r.conns) > 0 {
			r.conns[0].skims, r.readers = false, 1
		}
		r.reset(newTally(w.idBase+r.room.first, max(0, min(r.room.size, p.schedule.connections-r.room.first))))
		r.heard = func(sender, count int, stamp int64, end int) {
			w.heard(r, byIndex[sender], sender, count, stamp, end)
		}
	}
}

// timedMax is about how many of a worker's connections have the arrival of everybody's messages timed.
const timedMax = 50

// passingTime is how far apart messages are due at least whose arrival is timed.
const passingTime = int64(time.Millisecond)

// heard follows the count-th message of a sender that the first connection of a room has received whole. c is the
// sender if it is the worker's own. When a message of another process was due is not known on this one's clock.
func (w *worker) heard(r *reference, c *conn, sender, count int, stamp int64, end int) {
	s := w.plan.schedule
	if w.share.has(sender) && count <= s.dueOf(sender, s.messages) { // else it was never sent
		due := int64(s.due(s.index(sender, count-1)))
		if n := len(r.passes); n == 0 || due >= r.passes[n-1].due+passingTime {
			r.passes = append(r.passes, passing{end, due})
		}
	}
	switch {
	case c == nil || c.alone != nil:
	case c.pos >= end && c.skims: // it has passed there unseen
		c.returned(stamp, c.passed(end))
	default:
		c.marks.push(mark{end, stamp})
	}
}

// recordArrival notes how long after it was due a message came, whoever sent it.
func (w *worker) recordArrival(ns int64) {
	_ = w.results.arrival.RecordValue(min(max(ns/1000, 1), rttMax))
}

// The schedule rests from one look at it to the next, so that messages that become due on one connection meanwhile
// share a write. They keep the time at which they were due: the rest is part of the round trips that are measured.
const (
	// restShare is of the mean round trip so far. An overloaded server makes the round trips long, and the client has
	// the most to receive just then.
	restShare = 1. / 40
	// restWrites is of the time that the writes of the last look took, so that a worker writes for a third of its time
	// and has the rest to read. One that wrote every message by itself fell behind with reading, for tenths of a
	// second, and the server was blamed. A look that finds one message due rests for some 10 or 20 µs.
	restWrites = 3
	restMax    = 10 * time.Millisecond
)

// lastRest is how long before the end of the window the schedule rests no more.
const lastRest = time.Millisecond

// sendDue sends what is due: for each connection all its due messages with one write.
func (w *worker) sendDue(now time.Duration) error {
	due := w.plan.schedule.dueBy(now)
	if due <= w.next || now < w.rested && now < w.window {
		return nil
	}
	from := w.next
	w.next = due
	err := w.sendRange(from, due, now)
	rest := restWrites * (time.Since(w.start) - now)
	if w.returned > 0 {
		rest = max(rest, time.Duration(float64(w.rttSum)/float64(w.returned)*restShare))
	}
	rest = min(rest, restMax)
	w.rested = min(now+rest, w.window-lastRest) // what is due in the window is sent in it
	w.results.rest = max(w.results.rest, rest)
	return err
}

// sendRange sends the messages of the schedule from one up to another, which became due by now.
func (w *worker) sendRange(from, due int, now time.Duration) error {
	stamp := w.start.Add(now).UnixMilli()
	if due-from >= w.plan.schedule.connections {
		for _, c := range w.senders {
			if err := w.sendConn(c, due, now, 0, stamp); err != nil {
				return err
			}
		}
		return nil
	}
	for i := from; i < due; i++ {
		if c := w.mine(w.plan.schedule.connection(i)); c != nil {
			if err := w.sendConn(c, due, now, 0, stamp); err != nil {
				return err
			}
		}
	}
	return nil
}

// mine is the connection with an index, if it is this worker's. Connections are dealt to workers one by one.
func (w *worker) mine(index int) *conn {
	first := w.conns[0].index
	step := 1
	if len(w.conns) > 1 {
		step = w.conns[1].index - first
	}
	if n := index - first; n >= 0 && n%step == 0 && n/step < len(w.conns) {
		return w.conns[n/step]
	}
	return nil
}

// sendConn sends what is due on a connection. It could not be sent before the time ready, because the server did not
// take what was sent before: that is in the round trips, and no lag of ours.
func (w *worker) sendConn(c *conn, due int, now, ready time.Duration, stamp int64) error {
	if c.index >= w.plan.schedule.connections {
		return nil
	}
	n := w.plan.schedule.dueOf(c.index, due) - c.sent
	if n <= 0 || !c.link.ready() { // what cannot be sent is sent when it can; it keeps its due time
		return nil
	}
	for k := c.sent; k < c.sent+n; k++ {
		lag := now - max(ready, w.plan.schedule.due(w.plan.schedule.index(c.index, k)))
		_ = w.results.lag.RecordValue(min(max(int64(lag)/1000, 0), rttMax))
	}
	w.writes++
	return w.broken(c, c.send(n, int64(now), stamp))
}

// timeout is how long to wait for events.
func (w *worker) timeout(p trialPlan, now time.Duration) time.Duration {
	if p.spin && now < p.window {
		return 0
	}
	if w.next < w.plan.schedule.messages {
		return w.plan.schedule.due(w.next) - now
	}
	return 10 * time.Millisecond
}

// poll waits for events, in whole milliseconds, and handles them. A time that is over already is no wait: epoll_wait
// would take a negative one for forever.
func (w *worker) poll(timeout time.Duration) error {
	before := time.Now()
	ms := int(max(timeout, 0) / time.Millisecond)
	var n int
	var err error
	if ms > 0 {
		n, err = unix.EpollWait(w.epoll, w.events, ms)
	} else {
		n, err = rawcall.Epoll(w.epoll, w.events)
	}
	if n <= 0 || ms > 0 {
		w.idle += time.Since(before)
	}
	if err != nil && err != unix.EINTR {
		return os.NewSyscallError("epoll_wait", err)
	}
	for _, ev := range w.events[:max(n, 0)] {
		s := w.byFD[ev.Fd]
		if s == nil { // it was closed on account of another
			continue
		}
		if ev.Events&unix.EPOLLOUT != 0 {
			if err := w.broken(s.c, w.unblock(s)); err != nil {
				return err
			}
		}
		if s.fd < 0 {
			continue
		}
		if err := w.broken(s.c, w.receive(s)); err != nil {
			return err
		}
		if w.next < w.plan.schedule.messages { // what has become due meanwhile does not wait for the other sockets
			if err := w.sendDue(time.Since(w.start)); err != nil {
				return err
			}
		}
	}
	if n > 0 {
		w.live.publish(w)
	}
	return nil
}

// liveCounters are what the progress display may read while the worker runs.
type liveCounters struct{ bytes, returned, rttSum atomic.Int64 }

func (l *liveCounters) publish(w *worker) {
	l.bytes.Store(int64(w.bytes))
	l.returned.Store(int64(w.returned))
	l.rttSum.Store(w.rttSum)
}

// unblock goes on with a socket that had been full.
func (w *worker) unblock(s *socket) error {
	if err := s.push(s.unsent); err != nil || s.waiting {
		return err
	}
	return s.c.link.writable(s)
}

// sendMore sends what became due while a connection could not send.
func (w *worker) sendMore(c *conn) error {
	if w.start.IsZero() {
		return nil
	}
	now := time.Since(w.start)
	return w.sendConn(c, w.next, now, now, w.start.Add(now).UnixMilli())
}

// receive reads once, so that no connection keeps the others waiting: up to readBytes, of which those that need no look
// are thrown away.
func (w *worker) receive(s *socket) error {
	if s.c.waits() {
		return nil // until the next look, which finds the socket readable still
	}
	if s.skim == 0 && !s.c.skims {
		n, err := rawcall.Read(s.fd, w.read)
		return w.received(s, n, err)
	}
	piece := skimBytes
	for left := readBytes; left > 0 && (s.skim > 0 || s.c.skims); {
		large := s.skim >= skimBytes
		n, want, err := w.skim(s, min(piece, left))
		if n <= 0 || err != nil {
			return w.received(s, n, err)
		}
		if left -= n; n < want { // there is no more
			break
		}
		if piece *= 2; large || s.skim >= skimBytes {
			piece = skimBytes
		}
	}
	return nil
}

// skim takes something off a socket of which the messages are not looked at, of want bytes at most. What is left of a
// large frame is thrown away; small ones are read, a piece with a call.
func (w *worker) skim(s *socket, piece int) (n, want int, err error) {
	if s.skim < skimBytes {
		if n, err = rawcall.Read(s.fd, w.read[:piece]); n > 0 {
			err = w.received(s, n, err)
		}
		return n, piece, err
	}
	want = min(s.skim, readBytes)
	if n, err = rawcall.Discard(s.fd, want); n > 0 {
		w.countRead(n)
		s.skim -= n
		s.c.link.skimmed(n)
	}
	return n, want, err
}

// skimBytes is what is read first of a connection whose frames are skimmed: copying so much costs less than a system
// call. While all that comes are small frames each read takes twice as much as the last.
const skimBytes = 4 << 10

// countRead counts a read, and notes when it was.
func (w *worker) countRead(n int) {
	w.readAt = w.clock()
	w.reads++
	w.bytes += n
}

// received follows a read.
func (w *worker) received(s *socket, n int, err error) error {
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err == unix.ECONNRESET, n == 0 && err == nil:
		return s.c.link.ended(s)
	case err != nil:
		return err
	}
	w.countRead(n)
	if s.secure != nil {
		return s.secure.receive(w.read[:n])
	}
	return s.c.link.receive(s, w.read[:n])
}

// broken names the connection that an error happened on.
func (w *worker) broken(c *conn, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		err = errors.New("the server closed the connection")
	}
	if w.lost != nil {
		w.lost(c, err)
		return nil
	}
	return fmt.Errorf("%w: connection %d to %s: %w", errTarget, c.index, c.target(), err)
}

func (w *worker) sent() int {
	n := 0
	for _, c := range w.conns {
		n += c.sent
	}
	return n
}

// delivered is how many messages have been received, over all of the worker's connections.
func (w *worker) delivered() int {
	n := 0
	for _, r := range w.rooms {
		counts := map[int]int{}
		for _, c := range r.conns {
			if c.alone != nil {
				n += c.alone.tally.messages
				continue
			}
			count, known := counts[c.pos]
			if !known {
				count = r.countAt(c.pos)
				counts[c.pos] = count
			}
			n += count
		}
	}
	return n
}

// dueIn is how many messages of the schedule a room is to hear.
func (w *worker) dueIn(m audience) int {
	s := w.plan.schedule
	if m.first == 0 && m.size >= s.connections {
		return s.messages
	}
	n := 0
	for i := m.first; i < min(m.first+m.size, s.connections); i++ {
		n += s.dueOf(i, s.messages)
	}
	return n
}

// complete tells whether everything that was to be sent and received has been.
func (w *worker) complete() bool {
	s := w.plan.schedule
	if w.next < s.messages {
		return false
	}
	for _, c := range w.senders {
		if c.sent < s.dueOf(c.index, s.messages) {
			return false
		}
	}
	for _, r := range w.rooms {
		due := w.dueIn(r.room)
		if r.tally.messages < due && r.strayed < len(r.conns) {
			return false
		}
		for _, c := range r.conns {
			if c.alone == nil && c.pos < r.end || c.alone != nil && c.alone.tally.messages < due {
				return false
			}
		}
	}
	return true
}

// serve runs trials on a thread of its own, pinned to the worker's CPU. Between them it goes on reading, so that pings
// are answered and nothing piles up.
func (w *worker) serve(number int, c calls) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, and its affinity with it
	var err error
	if w.cpu >= 0 {
		err = tuning.PinThread(tuning.CPUs{w.cpu})
	}
	for {
		select {
		case <-c.done:
			return
		case plan := <-c.plans[number]:
			err = w.trial(plan, number, c, err)
		default:
			err = w.idleFor(betweenTrials, err)
		}
	}
}

// trial runs one, from its plan until what it has measured may be forgotten. With an error there is nothing to run.
func (w *worker) trial(plan trialPlan, number int, c calls, err error) error {
	if err == nil {
		w.prepare(plan)
	}
	c.ready <- struct{}{}
	o := outcome{worker: number}
	for waiting := true; waiting; {
		select {
		case <-c.done:
			return errEnded
		case start := <-c.starts[number]:
			if waiting = false; err == nil {
				o.end, err = w.run(start)
			}
		default:
			err = w.idleFor(betweenTrials, err)
		}
	}
	o.err = err
	select {
	case c.outcomes <- o:
	case <-c.done:
		return errEnded
	}
	select {
	case <-c.resume:
	case <-c.done:
	}
	return err
}

// idleFor handles what comes for a while. After an error there is nothing left to read; the next plan hears of it.
func (w *worker) idleFor(d time.Duration, err error) error {
	if err != nil {
		time.Sleep(d)
		return err
	}
	return w.poll(d)
}

// betweenTrials is how long a worker without a trial waits for events before it looks for one.
const betweenTrials = 5 * time.Millisecond
