//go:build !race

// Package rawcall has system calls on descriptors that do not block, without what Go does around a call that may.
//
// Go's scheduler is told of each call of package unix, so that another thread can take over if it lasts: the monitor
// thread (sysmon) looks every 20 µs as long as calls are made. A thread that does nothing else and shares its CPU with
// the monitor is interrupted some thousand times a second by it. None of these calls waits, so none needs that. In
// exchange nothing else runs on the thread's processor meanwhile, and a garbage collection waits until the call has
// returned: for the time that the kernel takes to copy what is read or written.
package rawcall

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Read is read(2). p is borrowed and not empty.
func Read(fd int, p []byte) (int, error) {
	return result(unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p))))
}

// Send is send(2). p is borrowed and not empty.
func Send(fd int, p []byte) (int, error) {
	return result(unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_NOSIGNAL, 0, 0))
}

// Writev is writev(2) of three slices, which are borrowed; each may be empty.
func Writev(fd int, p [3][]byte) (int, error) {
	var all [len(p)]unix.Iovec
	n := 0
	for _, s := range p {
		if len(s) > 0 {
			all[n].Base = &s[0]
			all[n].SetLen(len(s))
			n++
		}
	}
	return result(unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&all[0])), uintptr(n)))
}

// Discard takes up to n bytes off a TCP socket that have come, without copying them: recv(2) with MSG_TRUNC.
func Discard(fd, n int) (int, error) {
	const flags = unix.MSG_TRUNC | unix.MSG_DONTWAIT
	return result(unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), flags, 0, 0))
}

// Epoll is epoll_pwait(2) that does not wait: the events that there are. events is not empty.
func Epoll(epoll int, events []unix.EpollEvent) (int, error) {
	return result(unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), 0, 0, 0))
}

func result(n, _ uintptr, errno syscall.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
