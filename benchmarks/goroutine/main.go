// Command goroutine is the opponent: a SockJS broadcast server as a good Go programmer would write it today, with a
// goroutine that reads and one that writes for each connection, a bounded channel between them, and gorilla/websocket's
// PreparedMessage, so that it too encodes a broadcast once. It serves /broadcast and /echo, and is measured, not
// embedded.
package main

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/sockloop/sockloop/benchmarks/internal/opponent"
)

type flags struct {
	Addr string `help:"Address to listen on." default:"127.0.0.1:8081"`
	opponent.Flags
}

func main() {
	var f flags
	opponent.Main("goroutine", "A goroutine-per-connection SockJS broadcast server, to compare with.", &f,
		func() error { return f.Serve(f.Addr, newHandler()) })
}

// newHandler serves one room for all at /broadcast, and one for each at /echo.
func newHandler() http.Handler {
	all := newRoom()
	mux := http.NewServeMux()
	serve := func(prefix string, room func() *room) {
		upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		mux.HandleFunc("GET "+prefix+"/{server}/{session}/websocket", func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return // Upgrade has answered
			}
			c := &client{room: room(), conn: conn, queue: make(chan *websocket.PreparedMessage, queueMax)}
			go c.write()
			c.read()
		})
	}
	serve("/broadcast", func() *room { return all })
	serve("/echo", newRoom)
	return mux
}

func newRoom() *room { return &room{clients: map[*client]struct{}{}} }

// queueMax is how many messages may wait for one client before it is a slow consumer.
const queueMax = 1024

// room is everybody who hears everybody.
type room struct {
	mu      sync.RWMutex
	clients map[*client]struct{}
}

func (r *room) join(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients[c] = struct{}{}
}

func (r *room) leave(c *client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, in := r.clients[c]; in {
		delete(r.clients, c)
		close(c.queue)
	}
}

// broadcast queues a message for everybody. The lock is exclusive so that all clients get all messages in one order.
func (r *room) broadcast(m *websocket.PreparedMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.clients {
		select {
		case c.queue <- m:
		default: // it does not read
			delete(r.clients, c)
			close(c.queue)
		}
	}
}

type client struct {
	room  *room
	conn  *websocket.Conn
	queue chan *websocket.PreparedMessage
}

const (
	heartbeat    = 25 * time.Second
	readTimeout  = heartbeat + 10*time.Second
	writeTimeout = 10 * time.Second
)

// read takes the client's messages until it leaves.
func (c *client) read() {
	defer c.room.leave(c)
	c.conn.SetReadLimit(64 << 10)
	c.conn.SetPongHandler(func(string) error { return c.conn.SetReadDeadline(time.Now().Add(readTimeout)) })
	_ = c.conn.SetReadDeadline(time.Now().Add(readTimeout))
	open, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte("o"))
	if err != nil {
		return
	}
	c.queue <- open
	c.room.join(c)
	for {
		_, payload, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		var messages []string
		if err := json.Unmarshal(payload, &messages); err != nil {
			return
		}
		for _, m := range messages {
			frame, err := json.Marshal([]string{m})
			if err != nil {
				return
			}
			prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, append([]byte{'a'}, frame...))
			if err != nil {
				return
			}
			c.room.broadcast(prepared)
		}
	}
}

// write sends what is queued, and a ping when there is nothing to send.
func (c *client) write() {
	defer c.conn.Close() //nolint:errcheck // nothing more can be done for it
	ping := time.NewTicker(heartbeat)
	defer ping.Stop()
	for {
		select {
		case m, more := <-c.queue:
			if !more {
				_ = c.conn.WriteControl(websocket.CloseMessage,
					websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
				return
			}
			_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if err := c.conn.WritePreparedMessage(m); err != nil {
				return
			}
		case <-ping.C:
			if err := c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)); err != nil {
				return
			}
		}
	}
}
