package tuning

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// onThread runs f on a new thread that ends with it, and returns the thread's policy then.
func onThread(t *testing.T, f func() error) (policy uint32) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := f()
		if err == nil {
			var a *unix.SchedAttr
			if a, err = unix.SchedGetAttr(0, 0); err == nil {
				policy = a.Policy
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return policy
}

func TestBackgroundAndForeground(t *testing.T) {
	t.Parallel()
	inBackground.Store(false) // which it is not, if the test is run again
	become := func(policy uint32) error {
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			return err
		}
		return reschedule(0, a.Policy, policy)
	}
	batch := func() error { return errors.Join(become(unix.SCHED_BATCH), Foreground()) }
	if got := onThread(t, batch); got != unix.SCHED_BATCH {
		t.Errorf("without Background, Foreground changes the policy that somebody chose to %d", got)
	}

	chosen, resume := make(chan int), make(chan struct{})
	defer close(resume)
	go func() { // a thread that somebody has scheduled otherwise
		runtime.LockOSThread()
		if err := become(unix.SCHED_IDLE); err != nil {
			t.Error(err)
		}
		chosen <- unix.Gettid()
		<-resume
	}()
	idle := <-chosen
	if err := Background(); err != nil {
		t.Fatal(err)
	}
	err := eachThread(func(id int) error {
		a, err := unix.SchedGetAttr(id, 0)
		if want := uint32(unix.SCHED_BATCH); err == nil && id != idle && a.Policy != want {
			t.Errorf("thread %d has the policy %d, want %d", id, a.Policy, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := unix.SchedGetAttr(idle, 0); err != nil || a.Policy != unix.SCHED_IDLE {
		t.Errorf("the policy that somebody chose became %+v, %v", a, err)
	}
	if got := onThread(t, func() error { return nil }); got != unix.SCHED_BATCH {
		t.Errorf("a new thread has the policy %d", got)
	}
	if got := onThread(t, Foreground); got != unix.SCHED_NORMAL {
		t.Errorf("in the foreground the policy is %d", got)
	}
	const nice = 5
	nicer := func() error {
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice); err != nil {
			return err
		}
		if err := Foreground(); err != nil {
			return err
		}
		a, err := unix.SchedGetAttr(0, 0)
		if err == nil && a.Nice != nice {
			t.Errorf("it is %d nice, want %d", a.Nice, nice)
		}
		return err
	}
	onThread(t, nicer)
}
