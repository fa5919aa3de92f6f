//go:build race

// Package rawcall has the same calls as package unix makes them, since the race detector knows those: who reads what
// another has written to a socket comes after it.
package rawcall

import "golang.org/x/sys/unix"

// Read is read(2).
func Read(fd int, p []byte) (int, error) { return unix.Read(fd, p) }

// Send is write(2), which does the same to a socket but for SIGPIPE, which Go ignores, and which the race detector
// knows.
func Send(fd int, p []byte) (int, error) { return unix.Write(fd, p) }

// Writev is writev(2).
func Writev(fd int, p [3][]byte) (int, error) { return unix.Writev(fd, p[:]) }

// Discard is recv(2) with MSG_TRUNC.
func Discard(fd, n int) (int, error) {
	const flags = unix.MSG_TRUNC | unix.MSG_DONTWAIT
	got, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), flags, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(got), nil
}

// Epoll is epoll_wait(2) that does not wait.
func Epoll(epoll int, events []unix.EpollEvent) (int, error) { return unix.EpollWait(epoll, events, 0) }
