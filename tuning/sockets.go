package tuning

import (
	"fmt"
	"os"
	"strconv"
)

// The kernel bounds the memory of all TCP sockets of the machine (tcp_mem, ip-sysctl.rst). From its second number on it
// is under pressure, until they have less than the first: it then drops segments that have come, also over loopback,
// and what is lost is sent again after a fifth of a second or more.

// tcpMemory is the first number of tcp_mem in bytes: with less all sockets may grow as their own bounds allow.
func (m machine) tcpMemory() (int, bool) {
	var pages int
	if _, err := fmt.Sscan(m.read("proc/sys/net/ipv4/tcp_mem"), &pages); err != nil {
		return 0, false
	}
	return pages * os.Getpagesize(), true
}

// ReceiveBuffer is what each of so many sockets may set as its receive buffer (SO_RCVBUF, socket(7)), in bytes, so that
// all of them together take half of what TCP may have without pressure, if nobody reads them; the other half is for
// those who send. It is no less than a segment of loopback takes, however many there are. 0 is to leave it to the
// kernel: few sockets need no bound, and it grants no more than rmem_max.
func ReceiveBuffer(sockets int) int { return machine{root: "/"}.receiveBuffer(sockets) }

func (m machine) receiveBuffer(sockets int) int {
	memory, ok := m.tcpMemory()
	most, err := strconv.Atoi(m.read("proc/sys/net/core/rmem_max"))
	each := memory / 2 / max(1, sockets) / 2 // the kernel doubles it, for what the bytes are wrapped in
	if !ok || err != nil || each > most {
		return 0
	}
	return max(each, receiveBufferMin)
}

// receiveBufferMin takes the largest segment of loopback.
const receiveBufferMin = 64 << 10

// socketMemory is what the sockets of many clients that are behind may take.
func (m machine) socketMemory() Finding {
	f := Finding{Name: "memory of sockets", Value: unknown}
	memory, ok := m.tcpMemory()
	if !ok {
		return f
	}
	f.Value = fmt.Sprintf("%d MB for all of TCP", memory>>20)
	if memory/2/socketsWanted/2 < receiveBufferMin {
		f.Advice = fmt.Sprintf("when %d clients fall behind segments are dropped: sysctl -w net.ipv4.tcp_mem='%s'",
			socketsWanted, tcpMemoryWanted)
	}
	return f
}

const (
	socketsWanted   = 2000                   // the largest level of the benchmark
	tcpMemoryWanted = "262144 393216 524288" // pages: 1, 1.5 and 2 GB where a page has 4 KB
)
