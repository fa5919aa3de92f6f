package server_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/server"
)

// bareClients are connections that cost this process no heap: descriptors without anything around them.
func bareClients(t *testing.T, s *running, n int) []int {
	t.Helper()
	port := s.Addr().(*net.TCPAddr).Port
	fds := make([]int, n)
	for i := range fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
	}
	return fds
}

// What the budget charges for connections and sessions as such is what they cost, within a sixteenth.
func TestFixedCosts(t *testing.T) {
	const n = 500
	const longID = "%032d%032d%032d%032d"
	for name, request := range map[string]func(i int) string{
		"long id": func(i int) string {
			return fmt.Sprintf("POST /broadcast/0/"+longID+"/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
				i, i, i, i)
		},
		"waiting poll": func(i int) string {
			poll := fmt.Sprintf("POST /broadcast/0/w%d/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", i)
			return poll + poll
		},
		"half a post": func(int) string {
			return "GET /echo HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo/0/s/xhr_send HTTP/1.1\r\nHost: x\r\n" +
				"Content-Length: 100\r\n\r\n"
		},
		"http": func(int) string { return "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n" },
		"poll": func(i int) string {
			return fmt.Sprintf("POST /broadcast/0/cost%d/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", i)
		},
		"websocket": func(int) string { return "GET /broadcast/websocket HTTP/1.1\r\n" + handshakeHeaders + "\r\n" },
	} {
		t.Run(name, func(t *testing.T) {
			var costs []int // what an earlier test has left may be freed during one of them
			charged := 0
			for range 3 {
				s := start(t, server.Config{})
				before, used := heap(), s.stats(t).MemoryBytes
				fds := bareClients(t, s, n)
				for i, fd := range fds {
					if _, err := unix.Write(fd, []byte(request(i))); err != nil {
						t.Fatal(err)
					}
				}
				each := uint64(strings.Count(request(0), "HTTP/1.1"))
				if name == "half a post" {
					each-- // which is no request yet
				}
				s.eventually(t, "they are served", func(st server.Stats) bool { return st.Requests == each*n })
				costs = append(costs, int(heap()-before)/n)
				charged = (s.stats(t).MemoryBytes - used) / n
			}
			slices.Sort(costs)
			t.Logf("%d bytes of heap each, charged %d", costs, charged)
			if cost := costs[1]; charged < cost*15/16 || charged > cost*17/16 {
				t.Errorf("%d bytes of heap each, charged %d", cost, charged)
			}
		})
	}
}

// What requests keep while they wait is counted: the header texts of a poll's answer, and the head of a held POST.
func TestWaitingRequestsAreCounted(t *testing.T) {
	t.Parallel()
	r := start(t, server.Config{PublishRate: 1})
	const origin = 4000
	poll := r.dial(t)
	poll.poll("/echo/0/poll", "o")
	before := r.stats(t).InputBytes
	poll.say("POST /echo/0/poll/xhr HTTP/1.1\r\nHost: x\r\nOrigin: http://" + strings.Repeat("o", origin) +
		"\r\nContent-Length: 0\r\n\r\n")
	r.eventually(t, "the poll's texts are not counted", func(st server.Stats) bool {
		return st.InputBytes >= before+origin
	})
	post := r.dial(t)
	post.poll("/echo/0/post", "o")
	before = r.stats(t).InputBytes
	post.say(sending("/echo/0/post", `["1","2","3"]`))
	r.eventually(t, "it is not held", func(st server.Stats) bool { return st.PublishersHeld > 0 })
	if kept := r.stats(t).InputBytes - before; kept < server.DefaultConfig().RequestHeadBytesMax {
		t.Errorf("a POST that is held counts %d bytes", kept)
	}
}
