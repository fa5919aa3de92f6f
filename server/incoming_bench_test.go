package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/server"
)

// threadTime is the CPU time of the calling thread; on the loop, of the loop.
func threadTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loopTime is the CPU time of the loop's thread.
func loopTime(b *testing.B, s *server.Server) time.Duration {
	b.Helper()
	took := make(chan time.Duration, 1)
	if err := s.Post(func() { took <- threadTime() }); err != nil {
		b.Fatal(err)
	}
	return <-took
}

// BenchmarkIncoming is the CPU time of the loop for a message that comes in: 25 connections write real frames into
// their sockets, so many with a write, and the loop reads, parses and hands on each of them. What it costs to send them
// out is not in it: nobody subscribes.
func BenchmarkIncoming(b *testing.B) {
	const connections = 25
	for _, perWrite := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("%d-a-write", perWrite), func(b *testing.B) {
			s, err := server.New(server.Config{Addr: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			sink := &sinking{topic: s.NewTopic("nobody"), left: b.N, done: make(chan struct{})}
			if err := s.Handle("/sink", sink); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			<-s.Ready()
			payload := strings.Repeat(frame(ws.OpText, `["1234:1234567890"]`), perWrite)
			var all []net.Conn
			for range connections {
				all = append(all, dialSink(b, s.Addr().String()))
			}
			begun := loopTime(b, s)
			b.ResetTimer()
			for _, c := range all {
				go func() {
					for {
						if _, err := io.WriteString(c, payload); err != nil {
							return
						}
					}
				}()
			}
			<-sink.done
			b.StopTimer()
			b.ReportMetric(float64(loopTime(b, s)-begun)/float64(b.N), "cpu-ns/message")
			for _, c := range all {
				_ = c.Close()
			}
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

// sinking publishes where nobody hears, until so many have come.
type sinking struct {
	topic *server.Topic
	left  int
	done  chan struct{}
}

func (*sinking) OnOpen(*server.Session)                      {}
func (*sinking) OnClose(*server.Session, server.CloseReason) {}

func (s *sinking) OnMessage(_ *server.Session, m *server.Message) {
	s.topic.Publish(m)
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

// dialSink opens a WebSocket.
func dialSink(b *testing.B, addr string) net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.WriteString(c, "GET /sink/0/0/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		b.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		b.Fatalf("%v %v", resp, err)
	}
	if _, err := io.ReadFull(r, make([]byte, 3)); err != nil { // o
		b.Fatal(err)
	}
	return c
}
