// Command fixed is a broadcast server whose capacity is known: it takes a fixed time for each delivery, spinning for
// what writing does not use. It checks the instrument: whoever measures it must find that capacity.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/alecthomas/kong"
	"github.com/gorilla/websocket"

	"github.com/sockloop/sockloop/internal/version"
)

type flags struct {
	Addr     string           `help:"Address to listen on." default:"127.0.0.1:8082"`
	Capacity float64          `help:"Messages received a second, over all connections." default:"200000"`
	Version  kong.VersionFlag `help:"Print the version."`
}

func main() {
	var f flags
	kong.Parse(&f, kong.Description("A broadcast server whose capacity is known, to check a load client with."),
		kong.Vars{"version": version.Own()})
	if f.Capacity <= 0 {
		fmt.Fprintln(os.Stderr, "fixed: --capacity: want more than 0 messages a second")
		os.Exit(1)
	}
	r := &room{perDelivery: time.Duration(float64(time.Second) / f.Capacity), messages: make(chan []byte, waitingMax)}
	go r.serve()
	s := http.Server{Addr: f.Addr, Handler: r, ReadHeaderTimeout: 10 * time.Second}
	if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "fixed:", err)
		os.Exit(1)
	}
}

// waitingMax is the queue: ten seconds of ten times the overload of the smallest level.
const waitingMax = 1 << 20

type room struct {
	perDelivery time.Duration
	messages    chan []byte // first in, first out

	mu      sync.Mutex
	members map[*websocket.Conn]bool
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

// ServeHTTP takes a member in, and queues what it says.
func (r *room) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	c, err := upgrader.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	defer c.Close() //nolint:errcheck // nothing is left to be sent
	r.mu.Lock()
	if r.members == nil {
		r.members = map[*websocket.Conn]bool{}
	}
	r.members[c] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.members, c)
		r.mu.Unlock()
	}()
	for {
		_, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		r.messages <- message
	}
}

// serve sends one message after the other. The time at which the next may begin is reckoned from the times that the
// last ones should have taken, so that a moment without the CPU is made up for and the capacity is exact.
func (r *room) serve() {
	var free time.Time
	for message := range r.messages {
		frame, err := websocket.NewPreparedMessage(websocket.TextMessage, message)
		if err != nil {
			continue
		}
		if now := time.Now(); free.Before(now) && len(r.messages) == 0 {
			free = now
		}
		r.mu.Lock()
		for c := range r.members {
			if c.WritePreparedMessage(frame) != nil {
				_ = c.Close()
			}
		}
		free = free.Add(time.Duration(len(r.members)) * r.perDelivery)
		r.mu.Unlock()
		for time.Now().Before(free) { //nolint:revive // a busy server is what is to be measured
		}
	}
}
