// Command goroutine-batched is the opponent that batches: the best SockJS broadcast server with goroutines for each
// connection that we can write. It separates what batching gives from what an event loop gives. It is measured, not
// embedded, and serves /broadcast as benchmarks/goroutine does.
//
// A connection has a goroutine that reads and one that writes. Messages are gathered by a hub: when it has the CPU it
// takes all that has come, encodes it once with sockloop's own codec (frames a["m1","m2",…] of at most 64 KiB), and
// appends the frames to a log in memory. A writer sends whatever of the log it has not sent, 256 KiB at most, in one
// call: nothing is copied or queued for a connection, and a writer that was late catches up with larger calls.
//
// The log has 16 MiB. When it is full the hub waits, publishers are not read meanwhile, and the readers that are the
// farthest behind have to take 4 MiB/s (among many, their part of 512 MiB/s), or they are closed. A write that makes no
// progress for 10 s ends its connection too. Pings go through the log, so they cost what a message costs.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/tuning"
)

type flags struct {
	Addr string      `help:"Address to listen on." default:"127.0.0.1:8083"`
	CPU  tuning.CPUs `help:"CPUs to run on." name:"cpu" placeholder:"SET"`

	Capacity float64 `help:"Be a control: deliver so many messages a second, over all connections. 0: as many as it can."`
}

func main() {
	var f flags
	kong.Parse(&f,
		kong.Description("A goroutine-per-connection SockJS broadcast server that batches, to compare with."))
	if err := run(f); err != nil {
		fmt.Fprintln(os.Stderr, "goroutine-batched:", err)
		os.Exit(1)
	}
}

// drainTime is how long a shutdown waits for the writers to send what there is and say goodbye.
const drainTime = 3 * time.Second

func run(f flags) error {
	if f.Capacity < 0 {
		return errors.New("--capacity: want at least 0 messages a second")
	}
	if _, err := tuning.RaiseDescriptors(); err != nil {
		return err
	}
	if _, _, err := tuning.Pin(f.CPU); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", f.Addr)
	if err != nil {
		return err
	}
	l := defaultLimits
	l.capacity = f.Capacity
	h := newHub(l)
	s := &http.Server{Handler: handler(h), ReadHeaderTimeout: 10 * time.Second}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	log.Printf("listening on %s", ln.Addr())
	if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	h.close(drainTime)
	return nil
}

// handler serves one room at /broadcast. It returns as soon as a connection is upgraded, so that net/http's buffers do
// not stay with it.
func handler(h *hub) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /broadcast/{server}/{session}/websocket", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return // it has been answered
		}
		early, _ := rw.Peek(rw.Reader.Buffered())
		if err := h.join(conn, early); err != nil {
			_ = conn.Close()
		}
	})
	return mux
}
