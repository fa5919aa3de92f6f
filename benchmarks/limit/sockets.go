package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// connect makes pairs of connected TCP sockets on loopback; near[i] is connected to far[i]. What is made so far comes
// with an error too.
func connect(pairs int) (near, far []int, err error) {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(listener) //nolint:errcheck // nothing is lost
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(listener, 16); err != nil {
		return nil, nil, os.NewSyscallError("listen", err)
	}
	addr, err := unix.Getsockname(listener)
	if err != nil {
		return nil, nil, os.NewSyscallError("getsockname", err)
	}
	for range pairs {
		c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return near, far, os.NewSyscallError("socket", err)
		}
		far = append(far, c)
		if err := unix.Connect(c, addr); err != nil {
			return near, far, os.NewSyscallError("connect", err)
		}
		s, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != nil {
			return near, far, os.NewSyscallError("accept", err)
		}
		near = append(near, s)
		if err := unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil { // as servers do
			return near, far, os.NewSyscallError("setsockopt", err)
		}
	}
	return near, far, nil
}

func closeAll(sockets []int) {
	for _, s := range sockets {
		_ = unix.Close(s)
	}
}

// discardBytes is the most that is taken off a socket in one call.
const discardBytes = 4 << 20

// discard takes off the sockets whatever comes, without copying it, until all have ended.
func discard(sockets []int) (c count, err error) {
	poller, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return c, os.NewSyscallError("epoll_create1", err)
	}
	defer unix.Close(poller) //nolint:errcheck // nothing is lost
	for _, s := range sockets {
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s)}
		if err := unix.EpollCtl(poller, unix.EPOLL_CTL_ADD, s, &event); err != nil {
			return c, os.NewSyscallError("epoll_ctl", err)
		}
	}
	events := make([]unix.EpollEvent, 256)
	for open := len(sockets); open > 0; {
		n, err := unix.EpollWait(poller, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return c, os.NewSyscallError("epoll_wait", err)
		}
		for i := range max(n, 0) {
			s := events[i].Fd
			took, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(s), 0, discardBytes,
				unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
			switch {
			case errno == unix.EAGAIN || errno == unix.EINTR:
			case errno != 0:
				return c, os.NewSyscallError("recv", errno)
			case took == 0:
				open--
				if err := unix.EpollCtl(poller, unix.EPOLL_CTL_DEL, int(s), nil); err != nil {
					return c, fmt.Errorf("epoll_ctl: %w", err)
				}
			default:
				c.bytes += int64(took)
			}
		}
	}
	c.cpu, err = threadTime()
	return c, err
}
