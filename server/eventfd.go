package server

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// eventFD is a descriptor that the loop waits for as for a socket: readable from when it was raised, or its time has
// come, until it is cleared. Negative is none.
type eventFD int

// newEventFD makes one that is raised, eventfd(2).
func newEventFD() (eventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return eventFD(fd), os.NewSyscallError("eventfd", err)
}

// newTimerFD makes one whose time comes, timerfd_create(2).
func newTimerFD() (eventFD, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	return eventFD(fd), os.NewSyscallError("timerfd_create", err)
}

// raise may be called from any goroutine.
func (e eventFD) raise() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(int(e), one[:])
}

func (e eventFD) clear() {
	var count [8]byte
	_, _ = unix.Read(int(e), count[:])
}

// set sets a timer's interval; 0 stops it.
func (e eventFD) set(every time.Duration) {
	interval := unix.NsecToTimespec(every.Nanoseconds())
	_ = unix.TimerfdSettime(int(e), 0, &unix.ItimerSpec{Interval: interval, Value: interval}, nil)
}

func (e eventFD) close() {
	if e >= 0 {
		_ = unix.Close(int(e))
	}
}
