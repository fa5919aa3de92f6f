package tuning

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// thread is one that ends with its goroutine.
type thread struct {
	id     int
	do     chan func() error
	failed chan error
}

func newThread(t *testing.T) *thread {
	t.Helper()
	th := &thread{do: make(chan func() error), failed: make(chan error)}
	go func() {
		runtime.LockOSThread() // and never unlocked
		th.id = unix.Gettid()
		for f := range th.do {
			th.failed <- f()
		}
	}()
	th.run(t, func() error { return nil })
	t.Cleanup(func() { close(th.do) })
	return th
}

func (th *thread) run(t *testing.T, f func() error) {
	t.Helper()
	th.do <- f
	if err := <-th.failed; err != nil {
		t.Fatal(err)
	}
}

func (th *thread) become(t *testing.T, policy uint32) {
	t.Helper()
	th.run(t, func() error {
		_, err := reschedule(0, th.policy(t).Policy, policy)
		return err
	})
}

func (th *thread) policy(t *testing.T) *unix.SchedAttr {
	t.Helper()
	a, err := unix.SchedGetAttr(th.id, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestBackgroundAndForeground(t *testing.T) {
	t.Parallel()
	usual, niced, idle, batch := newThread(t), newThread(t), newThread(t), newThread(t)
	const nice = 5
	niced.run(t, func() error { return unix.Setpriority(unix.PRIO_PROCESS, niced.id, nice) })
	usual.become(t, unix.SCHED_NORMAL)
	niced.become(t, unix.SCHED_NORMAL)
	idle.become(t, unix.SCHED_IDLE)
	batch.become(t, unix.SCHED_BATCH)
	expect := func(when string, want map[*thread]uint32) {
		t.Helper()
		for th, policy := range want {
			if got := th.policy(t); got.Policy != policy || (got.Nice == nice) != (th == niced) {
				t.Errorf("%s: %+v, want the policy %d", when, got, policy)
			}
		}
	}

	inBackground.Store(false) // which it is, unless the test is run again
	batch.run(t, Foreground)
	expect("Foreground without Background", map[*thread]uint32{batch: unix.SCHED_BATCH})

	if err := Background(); err != nil {
		t.Fatal(err)
	}
	expect("Background", map[*thread]uint32{
		usual: unix.SCHED_BATCH, niced: unix.SCHED_BATCH, idle: unix.SCHED_IDLE, batch: unix.SCHED_BATCH,
	})
	for _, th := range []*thread{usual, niced, idle} {
		th.run(t, Foreground)
	}
	expect("Foreground", map[*thread]uint32{
		usual: unix.SCHED_NORMAL, niced: unix.SCHED_NORMAL, idle: unix.SCHED_IDLE, batch: unix.SCHED_BATCH,
	})
	if err := Background(); err != nil {
		t.Fatal(err)
	}
	inBackground.Store(false)
	if err := Background(); err != nil || inBackground.Load() {
		t.Errorf("Background of a process that somebody has put there changes it: %v", err)
	}
}

func TestEachThreadOutlivesThoseThatEnd(t *testing.T) {
	t.Parallel()
	seen := 0
	err := eachThread(func(int) error { seen++; return unix.ESRCH })
	if err != nil || seen == 0 {
		t.Errorf("%d threads, %v", seen, err)
	}
	if err := eachThread(func(int) error { return unix.EPERM }); !errors.Is(err, unix.EPERM) {
		t.Errorf("got %v", err)
	}
}
