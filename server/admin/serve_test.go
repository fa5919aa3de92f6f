package admin_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server/admin"
)

// socketsMax is how many connections docs/operation.md promises.
const socketsMax = 64

// served is an address that Serve serves with a handler until the test ends.
func served(t *testing.T, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, ln, h, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// socket is a connection that has sent something.
type socket struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr, text string) socket {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	s := socket{c, bufio.NewReader(c)}
	s.send(t, text)
	return s
}

func (s socket) send(t *testing.T, text string) {
	t.Helper()
	if _, err := s.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// wantStatus reads an answer.
func (s socket) wantStatus(t *testing.T, status int) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(s.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status {
		t.Fatalf("got %d %v, want %d", resp.StatusCode, err, status)
	}
	return resp
}

// wantClosed waits for the end of the connection.
func (s socket) wantClosed(t *testing.T) {
	t.Helper()
	var timeout net.Error
	if _, err := s.r.ReadByte(); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("it is not closed: %v", err)
	}
}

const probe = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

// Connections that say nothing, not all, or nothing more keep nobody out: the longest idle one makes room.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, tt := range []struct {
		name, says string
		answered   bool
	}{
		{"says nothing", "", false},
		{"half a head", "GET /healthz HTTP/1.1\r\nHost: local", false},
		{"half a body", "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf", false},
		{"idle after an answer", probe, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			addr := served(t, ok)
			idle := make([]socket, socketsMax)
			for i := range idle {
				if idle[i] = dial(t, addr, tt.says); tt.answered {
					idle[i].wantStatus(t, 200)
				}
			}
			dial(t, addr, probe).wantStatus(t, 200)
			if tt.name != "half a body" { // of which any may have been the first to be answered
				idle[0].wantClosed(t)
			}
			if tt.answered {
				idle[1].send(t, probe)
				idle[1].wantStatus(t, 200)
			}
		})
	}
}

// Who waits for an answer stays while others are idle; where nobody is, the one that has waited for longest goes.
func TestBusyConnectionsStay(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	addr := served(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-leave
		}
	}))
	const slow = "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"
	first := dial(t, addr, slow)
	<-entered
	for range socketsMax + 2 {
		dial(t, addr, probe).wantStatus(t, 200)
	}
	var last socket
	for range socketsMax - 1 {
		last = dial(t, addr, slow)
		<-entered
	}
	dial(t, addr, probe).wantStatus(t, 200)
	first.wantClosed(t)
	close(leave)
	last.wantStatus(t, 200)
}

// Who is refused is not kept.
func TestRefusedConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	for token, status := range map[string]int{"": 403, "0123456789abcdef": 401} {
		h, err := admin.New(nil, admin.Options{Token: token})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, served(t, h), "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n")
		if resp := c.wantStatus(t, status); !resp.Close {
			t.Errorf("%d without Connection: close", status)
		}
		c.wantClosed(t)
	}
}
