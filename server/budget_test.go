package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestDefaultBudget(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		memory int
		err    error
		want   int
	}{
		{512 << 20, nil, 128 << 20},
		{1 << 30, nil, 256 << 20},
		{24 << 30, nil, 256 << 20},
		{0, errors.New("unknown"), 256 << 20},
	} {
		if n := defaultBudget(tt.memory, tt.err); n != tt.want {
			t.Errorf("of %d bytes (%v) it is %d, want %d", tt.memory, tt.err, n, tt.want)
		}
	}
}

// Up to seven eighths of the budget connections and sessions are welcome; above them both are refused, and counted.
func TestNewcomersAreRefusedNearTheBudget(t *testing.T) {
	t.Parallel()
	for over, want := range map[int]int{0: http.StatusOK, 1: http.StatusServiceUnavailable} {
		s, err := New(Config{Addr: "127.0.0.1:0", MemoryBytesMax: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Handle("/listen", &listening{s.NewTopic("x")}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		<-s.Ready()
		dial := func() (ask func(method, path string) int) {
			c, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			r := bufio.NewReader(c)
			return func(method, path string) int {
				_, _ = fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", method, path)
				res, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = r.Discard(int(max(res.ContentLength, 0)))
				return res.StatusCode
			}
		}
		fill := func() {
			filled := make(chan struct{})
			if err := s.Post(func() {
				m := &s.loop.memory
				m.inputs.Charge(m.low() - m.budget.Used() + over)
				close(filled)
			}); err != nil {
				t.Fatal(err)
			}
			<-filled
		}
		guest := dial()
		guest("GET", "/listen/info")
		fill()
		if got := guest("POST", "/listen/0/0/xhr"); got != want {
			t.Errorf("%d bytes over, a session is answered %d, want %d", over, got, want)
		}
		fill()
		if got := dial()("GET", "/listen/info"); got != want {
			t.Errorf("%d bytes over, a connection is answered %d, want %d", over, got, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := s.FinalStats().RefusedForMemory; n != uint64(2*over) {
			t.Errorf("%d are counted as refused for memory", n)
		}
	}
}
