package loadclient

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Queues is where bytes waited during a trial, in bytes over all connections: means of the second half of its window,
// in which an overloaded queue is longest.
type Queues struct {
	// Unread lay in the client's own sockets (SIOCINQ, tcp(7)).
	Unread int64 `json:"client_unread_bytes"`
	// Unsent lay in the server's, sent by it and not taken over by the client's kernel (sock_diag(7)); -1 if the server
	// is on another machine.
	Unsent int64 `json:"server_unsent_bytes"`
	// Left is what lay in both when the trial ended.
	Left int64 `json:"left_bytes"`
}

// looks is how often the queues of a trial are looked at.
const looks = 4

// watchQueues looks at the queues until the window ends.
func (l *Level) watchQueues(start time.Time, window time.Duration) *Queues {
	var sum Queues
	for i := range looks {
		time.Sleep(time.Until(start.Add(window/2 + window*time.Duration(i+1)/(2*looks) - lookTime)))
		q := l.queues()
		sum.Unread += q.Unread / looks
		sum.Unsent += q.Unsent / looks
	}
	time.Sleep(time.Until(start.Add(window)))
	return &sum
}

// lookTime is how long before the end of the window the last look is.
const lookTime = 20 * time.Millisecond

// queues is what lies in the sockets now. It may be called while the workers run: they neither open nor close a socket
// of a WebSocket then, and a number that is gone is an error that says nothing.
func (l *Level) queues() Queues {
	var q Queues
	for _, w := range l.workers {
		for _, c := range w.conns {
			if n, err := unix.IoctlGetInt(c.link.sockets()[0].fd, unix.SIOCINQ); err == nil {
				q.Unread += int64(n)
			}
		}
	}
	q.Unsent = unsent(l.Target.Addr)
	return q
}

// end notes what is left when the trial is over.
func (q *Queues) end(l *Level) {
	left := l.queues()
	q.Left = left.Unread + max(0, left.Unsent)
}

// unsent is what lies in the send queues of a server on this machine, -1 if it is on another.
func unsent(addr string) int64 {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isLoopback(host) {
		return -1
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return -1
	}
	n, found := int64(0), false
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := netlink.SocketDiagTCP(family)
		if err != nil {
			continue
		}
		found = true
		for _, s := range sockets {
			if s.ID.SourcePort == uint16(number) && s.State == netlink.TCP_ESTABLISHED {
				n += int64(s.WQueue)
			}
		}
	}
	if !found {
		return -1
	}
	return n
}

// unreadTime is how long the client takes to receive what lay unread, in ms.
func (q *Queues) unreadTime(t *Trial) float64 {
	perSecond := t.Delivered * t.BytesPerMessage
	if perSecond <= 0 {
		return 0
	}
	return float64(q.Unread) / perSecond * 1000
}

// emptyAtTheEnd tells that nothing was on its way any more.
func (q *Queues) emptyAtTheEnd() bool { return q != nil && q.Left == 0 && q.Unsent >= 0 }

// where says in words where the bytes of an overloaded trial waited.
func (q *Queues) where(t *Trial) string {
	switch {
	case q == nil || t.RTT.Mean <= 0:
		return ""
	case q.Unsent > q.Unread && q.Unsent > 1<<20:
		return fmt.Sprintf("%.1f MB waited in the server's sockets", float64(q.Unsent)/1e6)
	case q.unreadTime(t) > t.RTT.Mean/4:
		return fmt.Sprintf("%.1f MB waited in the client's sockets", float64(q.Unread)/1e6)
	}
	return "the messages waited in the server's program"
}

// waited is how long a thread was ready to run and did not, from /proc/self/task/TID/schedstat; 0 if it cannot be read.
func waited(tid int) time.Duration {
	p, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/schedstat", tid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(p))
	if len(fields) < 2 {
		return 0
	}
	ns, _ := strconv.ParseInt(fields[1], 10, 64)
	return time.Duration(ns)
}
