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
// farthest behind have to take 4 MiB/s (among many, their part of 512 MiB/s) but for stalls of a second, or they are
// closed. A call whose bytes have not left after 10 s ends its connection too. Pings go through the log, so they cost
// what a message costs.
//
// What was tried, at 25 connections and 10 million deliveries a second: one window of 2 s each, in turn, all of them OK
// to sockload; virtual machine of 2 CPUs, AMD EPYC, Linux 6.18, Go 1.26.8, the server on one of them. It was an earlier
// build, before a reader might stall for a second. A single window decides nothing under a tenth or two:
//
//	                                                      mean      p99   messages a frame
//	as it is                                            1.4 ms   7.1 ms   54
//	the hub gathers at once, without Gosched before     2.1 ms   8.9 ms    6
//	two Gosched instead of one                          1.3 ms   7.7 ms   58
//	net.Conn.Write with a deadline for each call        2.2 ms  18.6 ms   59
//	a read after each short one, until EAGAIN           1.5 ms   7.5 ms   59
//	sockloop                                            0.9 ms   6.6 ms   70
//
// So it has one Gosched, a raw send(2) that does not tell the scheduler (the socket never blocks), and a deadline only
// when the socket is full. It reads once for each time the poller reports data, which saves a call and gains little. A
// peer whose last bytes and FIN arrive in one such report is noticed at the next write or ping, 25 s at most.
//
// By construction, and not measured apart: one log instead of a channel a connection (no send a connection and batch,
// one broadcast of a condition variable, and contiguous bytes, so no writev), segments that are used again instead of
// counted references, buffers for reading only while there is something to be read, no net/http buffers. GOMAXPROCS is
// what tuning.Pin makes it, as for the others.
//
// With --capacity it is a control. The hub then spends messages × connections / capacity seconds on each frame,
// spinning while the other goroutines read and write, and hands it out when they are over. Time that it lacked the CPU
// is made up for as long as messages wait, so the capacity is exact in the mean, to a nanosecond a frame (TestPacer); a
// frame is the grain: 3,200 messages of 20 bytes, which at 2000 connections and 100 million a second take 65 ms.
//
// It ends where the kernel does, because reading and sending need the CPU too. Reckoned, not measured: 100 million a
// second of 20 bytes are 2 GB/s or 30,500 sends of 64 KiB, which are 40 % of a CPU where the wall is 5 GB/s, and all of
// it where a busy cache makes a send cost 33 µs; benchmarks/limit says what it is. At 25 connections 4 million messages
// a second would have to be read beside, which one CPU may not do. That a load client finds the capacity has not been
// shown on a quiet machine yet.
package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"github.com/sockloop/sockloop/benchmarks/internal/opponent"
)

type flags struct {
	Addr string `help:"Address to listen on." default:"127.0.0.1:8083"`
	opponent.Flags

	Capacity float64 `help:"Be a control: deliver so many messages a second, over all connections. 0: as many as it can."`
}

func main() {
	var f flags
	opponent.Main("goroutine-batched",
		"A goroutine-per-connection SockJS broadcast server that batches, to compare with.", &f,
		func() error { return run(&f) })
}

// drainTime is how long a shutdown waits for the writers to send what there is and say goodbye.
const drainTime = 3 * time.Second

func run(f *flags) error {
	if f.Capacity < 0 {
		return errors.New("--capacity: want at least 0 messages a second")
	}
	l := defaultLimits
	l.capacity = f.Capacity
	h := newHub(l)
	if err := f.Serve(f.Addr, handler(h)); err != nil {
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
