package loadclient

import (
	"time"

	"github.com/prometheus/procfs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// looks is how often the queues of a trial are looked at.
const looks = 4

// watchQueues looks at the queues until the window ends.
func (l *local) watchQueues(start time.Time, window time.Duration) Queues {
	var seen [looks]Queues
	before, _ := pressures()
	for i := range seen {
		l.sleep(start.Add(window/2 + window*time.Duration(i+1)/(2*looks) - lookTime))
		seen[i] = l.queues()
	}
	l.sleep(start.Add(window))
	q := mean(seen[:])
	after, now := pressures()
	q.Pressed = now || after != before
	return q
}

// pressure is how often the kernel has been short of memory for TCP's sockets, and for how long in ms, which it counts
// when that is over.
type pressure struct{ times, ms float64 }

// pressures is the pressure since the machine began, and whether there is any now. What cannot be read is none.
func pressures() (p pressure, now bool) {
	machine, err := procfs.NewDefaultFS()
	if err != nil {
		return p, false
	}
	self, err := machine.Self()
	if err != nil {
		return p, false
	}
	if stat, err := self.Netstat(); err == nil {
		p.times, p.ms = known(stat.TCPMemoryPressures), known(stat.TCPMemoryPressuresChrono)
	}
	protocols, err := machine.NetProtocols()
	return p, err == nil && protocols["TCP"].Pressure == 1
}

// known is a number that may not be there.
func known(x *float64) float64 {
	if x == nil {
		return 0
	}
	return *x
}

// mean is what lay in the queues on the average. What was not seen every time was not seen.
func mean(seen []Queues) (m Queues) {
	n, unseen := int64(len(seen)), false
	for _, q := range seen {
		m.Unread, m.Unsent = m.Unread+q.Unread, m.Unsent+q.Unsent
		unseen = unseen || q.Unsent < 0
	}
	if m.Unread, m.Unsent = m.Unread/n, m.Unsent/n; unseen {
		m.Unsent = -1
	}
	return m
}

// lookTime is how long before the end of the window the last look is.
const lookTime = 20 * time.Millisecond

// queues is what lies in the sockets now. It may be called while the workers run: they neither open nor close a socket
// of a WebSocket then, and a number that is gone is an error that says nothing.
func (l *local) queues() Queues {
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

// unsent is what lies in the send queues of a server on this machine, -1 if it is on another.
func unsent(addr string) int64 {
	sockets, ok := localSockets(addr)
	if !ok {
		return -1
	}
	n := int64(0)
	for _, s := range sockets {
		if s.State == netlink.TCP_ESTABLISHED {
			n += int64(s.WQueue)
		}
	}
	return n
}

// remains is what had not arrived when the trial was over, of our connections with a server on this machine. left is
// what its kernel has not brought over: not sent yet, or lost and to be sent again; what it has sent and nobody has
// acknowledged yet lies in the receiver's socket, which reads it. unheard is what the server has not read.
func (l *local) remains() (left, unheard int64) {
	sockets, _ := localSocketsWith(l.Target.Addr, netlink.SocketDiagTCPInfo,
		func(s *netlink.InetDiagTCPInfoResp) *netlink.Socket { return s.InetDiagMsg })
	ours := l.ports()
	for _, s := range sockets {
		established := s.TCPInfo != nil && s.InetDiagMsg.State == netlink.TCP_ESTABLISHED
		if !established || !ours[int(s.InetDiagMsg.ID.DestinationPort)] {
			continue
		}
		unheard += int64(s.InetDiagMsg.RQueue)
		if left += int64(s.TCPInfo.Notsent_bytes); s.TCPInfo.Lost > 0 || s.TCPInfo.Backoff > 0 {
			left += int64(s.InetDiagMsg.WQueue)
		}
	}
	return left, unheard
}

// ports are the local ones of all connections.
func (l *local) ports() map[int]bool {
	ours := map[int]bool{}
	for _, w := range l.workers {
		for _, c := range w.conns {
			for _, s := range c.link.sockets() {
				switch a, _ := unix.Getsockname(s.fd); a := a.(type) {
				case *unix.SockaddrInet4:
					ours[a.Port] = true
				case *unix.SockaddrInet6:
					ours[a.Port] = true
				}
			}
		}
	}
	return ours
}
