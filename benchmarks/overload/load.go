package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// load is publishers among many subscribers, each of whom is sent everything. From one core it must outrun the server,
// so publishers send several messages a frame, and what comes is counted and thrown away in the kernel.
type load struct {
	addr        string
	connections int
	publishers  int     // of the connections
	rate        float64 // deliveries a second that are asked for: messages sent × connections
	window      time.Duration
}

// outcome is what came of a load.
type outcome struct {
	due      int   // messages that were to be sent
	sent     int   // those that the sockets took
	received int64 // bytes, over all connections
	lost     int   // connections that the server ended
}

const (
	text         = "overload: a line of chat"
	textsInFrame = 20
	// deliveredBytes is the weight of a delivery: the message as JSON, and a comma. Headers of frames are neglected.
	deliveredBytes = len(text) + 3
)

// frame is what a publisher sends, masked as RFC 6455 wants it.
func frame() []byte {
	array := "[" + strings.Join(slices.Repeat([]string{`"` + text + `"`}, textsInFrame), ",") + "]"
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(array))))
}

// connect opens a WebSocket and returns its descriptor.
func connect(url string) (int, error) {
	c, early, _, err := ws.Dial(context.Background(), url)
	if err != nil {
		return -1, err
	}
	defer c.Close() //nolint:errcheck // the descriptor is a duplicate
	if early != nil {
		ws.PutReader(early)
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		return -1, err
	}
	defer f.Close() //nolint:errcheck // likewise
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// run connects, sends for the window and reads meanwhile.
func (l load) run() (outcome, error) {
	var out outcome
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return out, err
	}
	defer unix.Close(poll) //nolint:errcheck // it has no bytes to lose
	fds := make([]int, l.connections)
	for i := range fds {
		if fds[i], err = connect("ws://" + l.addr + "/broadcast/0/load/websocket"); err != nil {
			return out, fmt.Errorf("connection %d: %w", i, err)
		}
		defer unix.Close(fds[i]) //nolint:errcheck // likewise
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fds[i])}
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fds[i], &event); err != nil {
			return out, err
		}
	}
	message := frame()
	publishers := make([]publisher, l.publishers)
	for i := range publishers {
		publishers[i].fd = fds[i]
	}
	events, sink := make([]unix.EpollEvent, l.connections), make([]byte, 4<<20) // which stays untouched
	begun := time.Now()
	for elapsed := time.Duration(0); elapsed < l.window; elapsed = time.Since(begun) {
		due := int(elapsed.Seconds() * l.rate / float64(l.connections*textsInFrame)) // frames
		for i := range publishers {
			publishers[i].send(due/l.publishers, message)
		}
		n, _ := unix.EpollWait(poll, events, 1)
		for _, e := range events[:max(n, 0)] {
			switch n, _, err := unix.Recvfrom(int(e.Fd), sink, unix.MSG_TRUNC|unix.MSG_DONTWAIT); {
			case n > 0:
				out.received += int64(n)
			case err != unix.EAGAIN && err != unix.EINTR:
				out.lost++
				_ = unix.EpollCtl(poll, unix.EPOLL_CTL_DEL, int(e.Fd), nil)
			}
		}
		out.due = due * textsInFrame
	}
	for _, p := range publishers {
		out.sent += p.sent * textsInFrame
	}
	return out, nil
}

// publisher is a connection that sends.
type publisher struct {
	fd   int
	sent int // frames
	rest int // bytes of the last that the socket did not take
}

// send sends frames until so many have left or the socket is full.
func (p *publisher) send(due int, frame []byte) {
	for p.rest > 0 || p.sent < due {
		if p.rest == 0 {
			p.rest = len(frame)
			p.sent++
		}
		n, err := unix.SendmsgN(p.fd, frame[len(frame)-p.rest:], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil || n <= 0 {
			return
		}
		p.rest -= n
	}
}
