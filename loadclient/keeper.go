package loadclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/loadclient/results"
)

// keeper keeps connections open that do nothing: it answers what the server sends on its own (pings, heartbeats), and
// counts those that break. Everything it has belongs to its goroutine, and is asked for by tasks.
type keeper struct {
	w       *worker
	tasks   chan func()
	stopped chan struct{}
	err     error // that ended it

	open int
	lost reasons
}

// newKeeper makes one that may be given so many connections while it is busy with others.
func newKeeper(c LevelConfig, backlog int) (*keeper, error) {
	w, err := newWorker(c.Target, -1, c.IDBase)
	if err != nil {
		return nil, err
	}
	k := &keeper{w: w, tasks: make(chan func(), backlog), stopped: make(chan struct{}), lost: reasons{}}
	w.lost = k.drop
	go k.run()
	return k, nil
}

// run works until the tasks end or the system refuses.
func (k *keeper) run() {
	defer close(k.stopped)
	for k.err == nil {
		select {
		case task, more := <-k.tasks:
			if !more {
				return
			}
			task()
		default:
			k.err = k.w.poll(betweenTrials)
		}
	}
}

// do has a task done; false is that the keeper has ended.
func (k *keeper) do(task func()) bool {
	select {
	case k.tasks <- task:
		return true
	case <-k.stopped:
		return false
	}
}

// take takes over a connection, number i.
func (k *keeper) take(d dialed, i int, m audience) {
	taken := k.do(func() {
		k.open++
		if err := k.w.adopt(d, i, k.w.reference(m, blockBytesMin)); err != nil {
			k.drop(k.w.conns[len(k.w.conns)-1], err)
		}
	})
	if !taken {
		d.close()
	}
}

// state is how many connections are open, and why others broke since it was last asked for.
func (k *keeper) state() (open int, lost reasons, err error) {
	done := make(chan struct{})
	k.do(func() {
		open, lost, k.lost = k.open, k.lost, reasons{}
		close(done)
	})
	select {
	case <-done:
		return open, lost, nil
	case <-k.stopped:
		return 0, nil, k.err
	}
}

// stays waits until a time is over or no connection is open any more, and counts those that broke.
func (k *keeper) stays(ctx context.Context, hold time.Duration) (lost reasons, err error) {
	const look = 50 * time.Millisecond
	lost = reasons{}
	for end := time.Now().Add(hold); ; {
		open, more, err := k.state()
		lost.merge(more)
		left := time.Until(end)
		if err != nil || open == 0 || left <= 0 {
			return lost, err
		}
		if err := wait(ctx, min(left, look)); err != nil {
			return lost, err
		}
	}
}

// drop lets go of a connection that broke.
func (k *keeper) drop(c *conn, err error) {
	sockets := c.link.sockets()
	if sockets[0].fd < 0 { // it is gone already
		return
	}
	for _, s := range sockets {
		if s.fd >= 0 {
			k.w.forget(s)
			_ = unix.Close(s.fd)
			s.use(closed)
		}
	}
	k.open--
	k.lost.add(err)
}

// close ends the keeper and its connections.
func (k *keeper) close() {
	close(k.tasks)
	<-k.stopped
	k.w.close()
}

// reasons counts failures by why they happened.
type reasons map[string]int

func (r reasons) add(err error) { r[reasonOf(err)]++ }

func (r reasons) count() (n int) {
	for _, k := range r {
		n += k
	}
	return n
}

func (r reasons) merge(others ...reasons) {
	for _, o := range others {
		for reason, n := range o {
			r[reason] += n
		}
	}
}

// list has the most frequent one first.
func (r reasons) list() (all []results.Failure) {
	for _, reason := range slices.Sorted(maps.Keys(r)) {
		all = append(all, results.Failure{Reason: reason, Count: r[reason]})
	}
	slices.SortStableFunc(all, func(a, b results.Failure) int { return cmp.Compare(b.Count, a.Count) })
	return all
}

// String is such as "no answer (12), connection reset by peer (1)".
func (r reasons) String() string {
	var all []string
	for _, f := range r.list() {
		all = append(all, fmt.Sprintf("%s (%d)", f.Reason, f.Count))
	}
	return strings.Join(all, ", ")
}

// reasonOf is an error without what differs from connection to connection, such as its port.
func reasonOf(err error) string {
	var op *net.OpError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), errTarget.Error()+": ")
}
