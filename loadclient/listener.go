package loadclient

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/prometheus/procfs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// FindListener is the process on this machine that listens on a loopback address, if we may see it: whose CPU time to
// read when nobody said. Of several that share the port it is any.
func FindListener(addr string) (pid int, ok bool) {
	sockets, ok := localSockets(addr)
	if !ok {
		return 0, false
	}
	var inodes []string
	for _, s := range sockets {
		if s.State == netlink.TCP_LISTEN {
			inodes = append(inodes, fmt.Sprintf("socket:[%d]", s.INode))
		}
	}
	return holder(inodes)
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// localSockets are the TCP sockets of this machine with the port of a loopback address, from sock_diag(7); false is
// that the address is another, or that they cannot be seen.
func localSockets(addr string) (here []*netlink.Socket, ok bool) {
	return localSocketsWith(addr, netlink.SocketDiagTCP, func(s *netlink.Socket) *netlink.Socket { return s })
}

// localSocketsWith are they with what a dump says of each beside.
func localSocketsWith[S any](
	addr string, dump func(family uint8) ([]S, error), socket func(S) *netlink.Socket,
) (here []S, ok bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isLoopback(host) {
		return nil, false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, false
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := dump(family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			continue
		}
		ok = true
		for _, s := range all {
			if socket(s).ID.SourcePort == uint16(number) {
				here = append(here, s)
			}
		}
	}
	return here, ok
}

// holder is the process that has one of the sockets open.
func holder(inodes []string) (pid int, ok bool) {
	if len(inodes) == 0 {
		return 0, false
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return 0, false
	}
	for _, p := range all {
		open, err := p.FileDescriptorTargets()
		if err == nil && slices.ContainsFunc(open, func(to string) bool { return slices.Contains(inodes, to) }) {
			return p.PID, true
		}
	}
	return 0, false
}
