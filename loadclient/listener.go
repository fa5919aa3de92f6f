package loadclient

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// FindListener is the process on this machine that listens on a loopback address, if we may see it: whose CPU time to
// read when nobody said. Of several that share the port it is any.
func FindListener(addr string) (pid int, ok bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !isLoopback(host) {
		return 0, false
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return 0, false
	}
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		p, err := os.ReadFile(table)
		if err == nil {
			listeningInodes(string(p), number, inodes)
		}
	}
	return holder(inodes)
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// listeningInodes adds the sockets that listen on a port, of a table as proc_net_tcp(5) has it: the local address is
// the second field, the state the fourth (0A is LISTEN), the inode the tenth.
func listeningInodes(table string, port int, inodes map[string]bool) {
	suffix := fmt.Sprintf(":%04X", port)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) > 9 && strings.HasSuffix(f[1], suffix) && f[3] == "0A" {
			inodes["socket:["+f[9]+"]"] = true
		}
	}
}

// holder is the process that has one of the sockets open.
func holder(inodes map[string]bool) (pid int, ok bool) {
	if len(inodes) == 0 {
		return 0, false
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, false
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && inodes[to] {
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			return pid, err == nil
		}
	}
	return 0, false
}
