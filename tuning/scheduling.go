package tuning

import (
	"errors"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// inBackground tells that Background has changed something.
var inBackground atomic.Bool

// Background makes all threads of the process SCHED_BATCH (sched(7)), and with them those that they will start: they
// keep their share of the CPU, but one that wakes up does not interrupt another that runs. It is for a program with a
// thread that is to run undisturbed on a CPU on which others run, too, and that calls Foreground. What it is about is
// Go's monitor thread, which wakes up every 70 µs for some milliseconds after each wait for events. Threads that are no
// longer SCHED_OTHER, since somebody has chosen so, stay what they are.
func Background() error {
	return eachThread(func(id int) error {
		changed, err := reschedule(id, unix.SCHED_NORMAL, unix.SCHED_BATCH)
		if changed {
			inBackground.Store(true)
		}
		return err
	})
}

// Foreground makes the calling goroutine's thread, to which it must be locked for good, SCHED_OTHER again after
// Background. Without that it does nothing.
func Foreground() error {
	if !inBackground.Load() {
		return nil
	}
	_, err := reschedule(0, unix.SCHED_BATCH, unix.SCHED_NORMAL)
	return err
}

// reschedule changes the policy of a thread that has the one from; 0 is the calling one. Its niceness stays.
func reschedule(id int, from, to uint32) (changed bool, err error) {
	a, err := unix.SchedGetAttr(id, 0)
	if err != nil {
		return false, os.NewSyscallError("sched_getattr", err)
	}
	if a.Policy != from {
		return false, nil
	}
	err = unix.SchedSetAttr(id, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: to, Flags: a.Flags & unix.SCHED_FLAG_RESET_ON_FORK, Nice: a.Nice,
	}, 0)
	return err == nil, os.NewSyscallError("sched_setattr", err)
}

// eachThread does something to every thread of the process, until a look finds none that is new. One that has ended
// meanwhile is no error.
func eachThread(do func(id int) error) error {
	done := map[int]bool{}
	for {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		before := len(done)
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || done[id] {
				continue
			}
			if err := do(id); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			done[id] = true
		}
		if len(done) == before {
			return nil
		}
	}
}
