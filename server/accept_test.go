package server

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever accept fails with, those who wait are admitted later, and nothing ends.
func TestAcceptErrorsAreWaitedOut(t *testing.T) {
	t.Parallel()
	for _, errno := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.EPROTO, unix.EINTR, unix.EPERM,
	} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			t.Parallel()
			s, err := New(Config{Addr: "127.0.0.1:0"})
			if err != nil {
				t.Fatal(err)
			}
			left := 3
			s.loop.listener.accept4 = func(fd int) (int, unix.Sockaddr, error) {
				if left > 0 {
					left--
					return -1, nil, errno
				}
				return accept4(fd)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			<-s.Ready()
			c, err := net.DialTimeout("tcp", s.Addr().String(), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close() //nolint:errcheck // a test's end
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = fmt.Fprint(c, "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			cancel()
			if err := <-ended; err != nil || resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s, and the end: %v", resp.Status, err)
			}
			transient := errno == unix.ECONNABORTED || errno == unix.EPROTO || errno == unix.EINTR
			if counted := s.FinalStats().AcceptErrors; transient != (counted == 0) {
				t.Errorf("%d errors counted", counted)
			}
		})
	}
}

// options are those of the connection's socket.
func (c *conn) options() map[string]int {
	options := map[string]int{}
	options["KEEPALIVE"], _ = unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
	for name, option := range map[string]int{
		"KEEPIDLE": unix.TCP_KEEPIDLE, "KEEPINTVL": unix.TCP_KEEPINTVL, "USER_TIMEOUT": unix.TCP_USER_TIMEOUT,
		"NOTSENT_LOWAT": unix.TCP_NOTSENT_LOWAT, "NODELAY": unix.TCP_NODELAY,
	} {
		options[name], _ = unix.GetsockoptInt(c.fd, unix.IPPROTO_TCP, option)
	}
	return options
}

// Of a peer that is sent nothing and says nothing the kernel is asked, and the kernel gives up what is sent to one that
// has gone: connections have all the options that were set for the listener.
func TestConnectionsAreKeptAlive(t *testing.T) {
	t.Parallel()
	b := startInside(t, Config{PongTimeout: 2 * time.Second, Options: Options{HeartbeatDelay: 3 * time.Second}})
	b.dial("/x")
	want := map[string]int{
		"KEEPALIVE": 1, "KEEPIDLE": 5, "KEEPINTVL": 2, "USER_TIMEOUT": 5000, "NOTSENT_LOWAT": 1 << 17, "NODELAY": 1,
	}
	b.here(func() {
		if options := b.loop.conns[0].options(); !maps.Equal(options, want) {
			t.Errorf("the options are %v, want %v", options, want)
		}
	})
}
