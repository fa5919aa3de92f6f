package main

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/codec"
)

const (
	// gatheredBytesMax is how much may wait for the hub; publishers beyond it are not read.
	gatheredBytesMax = 1 << 20
	heartbeat        = 25 * time.Second
	readTimeout      = heartbeat + 10*time.Second
	writeTimeout     = 10 * time.Second
)

// limits are what a reader may cost the others.
type limits struct {
	logBytesMax int
	patience    time.Duration // in which a reader that a full log waits for must take a segment
	capacity    float64       // deliveries a second of a server that has a fixed capacity; 0 is as many as it can
}

// defaultLimits are sockloop's: 16 MiB of log, 4 MiB/s of a reader.
var defaultLimits = limits{logBytesMax: 16 << 20, patience: segmentBytes * time.Second / (4 << 20)}

// hub is everybody who hears everybody.
type hub struct {
	limits limits

	mu       sync.Mutex
	work     sync.Cond // there is something for the hub to do
	room     sync.Cond // gathered has room again
	gathered codec.Batch
	tasks    tasks
	clients  map[*client]struct{}
	closed   bool

	pacer  pacer   // the hub's own
	stream *stream // the last segment changes under mu only

	parked sync.Mutex // with wake: writers that have sent everything wait for more
	wake   sync.Cond
	ended  atomic.Bool // nothing follows in the log

	now    atomic.Int64   // Unix time in seconds, for deadlines
	gone   chan struct{}  // closed when the hub has ended
	active sync.WaitGroup // writers
}

// tasks are what the hub does beside messages.
type tasks struct{ nudge, ping, end bool }

func newHub(l limits) *hub {
	h := &hub{
		limits: l, pacer: pacer{perSecond: l.capacity}, clients: map[*client]struct{}{},
		stream: newStream(l.logBytesMax), gone: make(chan struct{}),
	}
	h.work.L, h.room.L, h.wake.L = &h.mu, &h.mu, &h.parked
	h.now.Store(time.Now().Unix())
	go h.run()
	go h.tick()
	return h
}

// tick keeps the clock, and has everybody pinged.
func (h *hub) tick() {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	ping := time.NewTicker(heartbeat)
	defer ping.Stop()
	for {
		select {
		case now := <-second.C:
			h.now.Store(now.Unix())
		case <-ping.C:
			h.ask(tasks{ping: true})
		case <-h.gone:
			return
		}
	}
}

// ask adds to what the hub has to do.
func (h *hub) ask(t tasks) {
	h.mu.Lock()
	h.tasks = tasks{h.tasks.nudge || t.nudge, h.tasks.ping || t.ping, h.tasks.end || t.end}
	h.mu.Unlock()
	h.work.Signal()
}

// waitForRoom returns when a publisher may be read, false when the hub has ended.
func (h *hub) waitForRoom() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.gathered.JSON) >= gatheredBytesMax && !h.closed {
		h.room.Wait()
	}
	return !h.closed
}

// publish adds the messages of a payload to what is gathered. payload is borrowed.
func (h *hub) publish(array *codec.Array, payload []byte) error {
	if err := array.Begin(payload); err != nil {
		return err
	}
	h.mu.Lock()
	idle := len(h.gathered.JSON) == 0
	for m := array.Next(); m != nil; m = array.Next() {
		h.gathered.Append(m)
	}
	h.mu.Unlock()
	if idle {
		h.work.Signal()
	}
	return nil
}

// run is the hub: it takes what has come while it was busy, encodes it once, and wakes the writers.
func (h *hub) run() {
	defer close(h.gone)
	var batch codec.Batch
	for {
		t := h.gather(&batch)
		batch.Split(frameBytesMax, func(part codec.Batch) {
			h.spend(part.Len())
			h.makeRoom(len(part.Elements()) + frameOverhead)
			h.stream.appendArray(part)
		})
		batch.Reset()
		if t.ping {
			h.appendFrame(codec.AppendFrame(nil, ws.OpPing, nil))
		}
		if t.end {
			goodbye := codec.AppendFrame(nil, ws.OpText, codec.AppendCloseArray(nil, 3000, "Go away!"))
			h.appendFrame(codec.AppendCloseFrame(goodbye, ws.StatusGoingAway, ""))
			h.ended.Store(true)
		}
		h.wakeAll()
		if t.end {
			return
		}
	}
}

// gather waits for something to do, lets everybody run who can, and takes all that there is then.
func (h *hub) gather(batch *codec.Batch) tasks {
	h.mu.Lock()
	idle := false
	for len(h.gathered.JSON) == 0 && h.tasks == (tasks{}) {
		idle = true
		h.work.Wait()
	}
	h.mu.Unlock()
	if idle {
		h.pacer.begin(time.Now())
	}
	runtime.Gosched()
	h.mu.Lock()
	defer h.mu.Unlock()
	*batch, h.gathered = h.gathered, *batch
	t := h.tasks
	h.tasks = tasks{}
	h.closed = t.end
	h.room.Broadcast()
	return t
}

// spend takes the time that so many messages take a server of fixed capacity.
func (h *hub) spend(messages int) {
	if h.limits.capacity == 0 {
		return
	}
	h.wakeAll() // what has been handed out is sent meanwhile
	h.mu.Lock()
	connections := len(h.clients)
	h.mu.Unlock()
	spin(h.pacer.serve(messages, connections))
}

func (h *hub) appendFrame(frame []byte) {
	h.makeRoom(len(frame))
	h.stream.append(func(dst []byte) []byte { return append(dst, frame...) })
}

func (h *hub) wakeAll() {
	h.parked.Lock()
	h.parked.Unlock() //nolint:staticcheck // whoever was about to wait is waiting now
	h.wake.Broadcast()
}

// makeRoom makes room for n bytes in the log's last segment. When the log is full it waits for the readers that are
// farthest behind, who have to take what is left of a segment in the time that patience gives them; else they are
// closed.
func (h *hub) makeRoom(n int) {
	if h.stream.room(n) {
		return
	}
	for waited := time.Duration(0); ; waited += pause {
		if h.trim(); !h.stream.full() {
			break
		}
		if waited == 0 {
			h.wakeAll()
		}
		if waited > h.patience() {
			h.closeSlowest()
			waited = 0
		}
		time.Sleep(pause)
	}
	h.mu.Lock()
	h.stream.extend(n)
	h.mu.Unlock()
}

// pause is between two looks at a full log. A reader's time is counted in pauses: a machine that stands still is not
// the readers' fault.
const pause = time.Millisecond

// patience is the time in which a reader must take a segment: that of the limits, or where there are many readers its
// part of 512 MiB/s, as in sockloop.
func (h *hub) patience() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(h.limits.patience, time.Duration(len(h.clients))*segmentBytes*time.Second/(512<<20))
}

// trim takes back the segments that nobody reads.
func (h *hub) trim() {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.stream.tail.number
	for c := range h.clients {
		first = min(first, c.reader.number.Load())
	}
	h.stream.release(first)
}

// closeSlowest closes the readers of the oldest segment.
func (h *hub) closeSlowest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.clients {
		if c.reader.number.Load() == h.stream.oldest.number {
			go c.conn.Close() //nolint:errcheck // it waits for the reading goroutine, which may wait for the hub
		}
	}
}

// join takes a connection in. early is what it has sent already.
func (h *hub) join(conn net.Conn, early []byte) error {
	c, err := newClient(h, conn)
	if err != nil {
		return err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return net.ErrClosed
	}
	h.clients[c] = struct{}{}
	c.reader.at, c.reader.offset = h.stream.tail, h.stream.tail.end.Load()
	c.reader.number.Store(c.reader.at.number)
	h.active.Add(1)
	h.mu.Unlock()
	early = append([]byte(nil), early...)
	go c.write()
	go c.read(early)
	return nil
}

func (h *hub) leave(c *client) {
	h.mu.Lock()
	delete(h.clients, c)
	h.mu.Unlock()
	h.active.Done()
}

// close lets the writers send what there is and say goodbye, and returns when they have or the time is over.
func (h *hub) close(within time.Duration) {
	h.ask(tasks{end: true})
	done := make(chan struct{})
	go func() {
		<-h.gone
		h.active.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(within):
	}
}
