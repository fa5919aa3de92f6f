package loadclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/codec"
	"github.com/sockloop/sockloop/internal/rawcall"
	"github.com/sockloop/sockloop/tuning"
)

// CeilingOf measures the client's ceiling for what a search has found: at its level, in the shape in which the server
// sends, with the broadcaster on the server's CPU. It is known of this process and for WebSockets without TLS and
// compression only; for anything else, and with agents, it is nil.
func CeilingOf(ctx context.Context, found Saturation, level LevelConfig, window time.Duration) (*Ceiling, error) {
	if level.Agents != nil || level.Target.TLS != nil || level.Target.Compress || streams(found.Protocol) ||
		found.Best == nil || found.Best.Received == 0 {
		return nil, nil
	}
	config := CalibrateConfig{
		Connections: found.Connections, Shape: found.Best.Shape(), CPUs: level.CPUs, BroadcasterCPU: level.Probe.CPU(),
		Window: min(window, time.Second), Verify: level.Verify, Publishers: level.Publishers,
	}
	c, err := Calibrate(ctx, config)
	if err == nil {
		var sending Ceiling
		config.SendRate = found.Best.SendRate
		sending, err = Calibrate(ctx, config)
		c.Sending = sending.Delivered
	}
	if err != nil {
		return nil, fmt.Errorf("measuring the client's own ceiling: %w", err)
	}
	return &c, nil
}

// Messages in a write of a null broadcaster.
const (
	coalescedMessages = 1000
	arrayMessages     = 4000
)

// CalibrateConfig is how the client's ceiling is measured.
type CalibrateConfig struct {
	Connections    int
	Shape          Shape
	CPUs           tuning.CPUs // the client's
	BroadcasterCPU int         // -1 for any
	Window         time.Duration
	Verify         Verify
	Publishers     int     // of the connections, 0 is all
	SendRate       float64 // messages that the client sends a second meanwhile; nobody answers them
}

// Calibrate loads the client with a null broadcaster: a server that writes the same prebuilt bytes to one connection
// after the other as fast as the client takes them, and does nothing else. It is never more than two writes a
// connection ahead, because bytes that wait long leave the processor's cache and cost more: no server that keeps up
// would do that.
func Calibrate(ctx context.Context, c CalibrateConfig) (Ceiling, error) {
	const idBase = 1000
	b, err := newNullBroadcaster(c.Shape, idBase, cmp.Or(c.Publishers, c.Connections))
	if err != nil {
		return Ceiling{}, err
	}
	defer b.close()
	level, err := OpenLevel(ctx, LevelConfig{
		Target:      Target{Addr: b.listener.Addr().String(), Path: "/", Protocol: SockJS},
		Connections: c.Connections, CPUs: c.CPUs, IDBase: idBase, Verify: c.Verify, Publishers: c.Publishers,
		Drain: time.Millisecond,
	})
	if err != nil {
		return Ceiling{}, err
	}
	defer level.Close()
	if err := b.accepted(ctx, c.Connections); err != nil {
		return Ceiling{}, err
	}
	sent := make(chan error, 1)
	t, err := level.trial(level.sends(c.SendRate, c.Window), c.Window, func() {
		end := time.Now().Add(settleTime + c.Window)
		go func() { sent <- b.send(end, c.BroadcasterCPU, func() int64 { return level.Live().Bytes }) }()
	})
	if err := errors.Join(err, <-sent); err != nil {
		return Ceiling{}, err
	}
	if t.Foreign+t.Stragglers > 0 {
		return Ceiling{}, fmt.Errorf("the client misread the broadcaster: %d foreign messages, %d stragglers",
			t.Foreign, t.Stragglers)
	}
	return Ceiling{
		Connections: c.Connections, Shape: c.Shape, Verify: c.Verify, Delivered: t.Delivered, ClientBusy: t.ClientBusy,
	}, nil
}

// nullBroadcaster accepts WebSocket connections and sends.
type nullBroadcaster struct {
	listener net.Listener
	written  []byte // by one write

	mu    sync.Mutex
	conns []int
	more  chan struct{}
}

func newNullBroadcaster(shape Shape, idBase, connections int) (*nullBroadcaster, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &nullBroadcaster{listener: ln, more: make(chan struct{}, 1)}
	stamp := strconv.FormatInt(time.Now().UnixMilli(), 10)
	frames, messages := 1, 1
	switch shape {
	case Coalesced:
		frames = coalescedMessages
	case Arrays:
		messages = arrayMessages
	}
	for f := range frames {
		var batch codec.Batch
		for i := range messages {
			m := codec.Text([]byte(strconv.Itoa(idBase+(f+i)%connections) + ":" + stamp))
			batch.Append(&m)
		}
		b.written = codec.AppendWebSocketArray(b.written, batch)
	}
	go b.accept()
	return b, nil
}

func (b *nullBroadcaster) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		go b.admit(c.(*net.TCPConn))
	}
}

func (b *nullBroadcaster) admit(c *net.TCPConn) {
	defer c.Close() //nolint:errcheck // a duplicate goes on
	if _, err := ws.Upgrade(c); err != nil {
		return
	}
	fd, err := duplicate(c)
	if err != nil {
		return
	}
	b.mu.Lock()
	b.conns = append(b.conns, fd)
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// accepted waits for n connections.
func (b *nullBroadcaster) accepted(ctx context.Context, n int) error {
	for {
		b.mu.Lock()
		have := len(b.conns)
		b.mu.Unlock()
		if have >= n {
			return nil
		}
		select {
		case <-b.more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// writesAhead is how far the broadcaster runs ahead of the client.
const writesAhead = 2

// send writes until the time is over. received is how many bytes the client has read.
func (b *nullBroadcaster) send(until time.Time, cpu int, received func() int64) error {
	runtime.LockOSThread() // the thread ends with the goroutine
	if cpu >= 0 {
		if err := tuning.PinThread(tuning.CPUs{cpu}); err != nil {
			return err
		}
	}
	off := make([]int, len(b.conns))
	sent, ahead := int64(0), int64(writesAhead*len(b.conns)*len(b.written))
	for i := 0; time.Now().Before(until); i = (i + 1) % len(b.conns) {
		if sent-received() >= ahead {
			i += len(b.conns) - 1 // the same again
			continue
		}
		n, err := rawcall.Send(b.conns[i], b.written[off[i]:])
		switch err {
		case nil:
			off[i] = (off[i] + n) % len(b.written)
			sent += int64(n)
		case unix.EAGAIN, unix.EINTR:
		default:
			return os.NewSyscallError("write", err)
		}
	}
	return nil
}

func (b *nullBroadcaster) close() {
	_ = b.listener.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fd := range b.conns {
		_ = unix.Close(fd)
	}
}
