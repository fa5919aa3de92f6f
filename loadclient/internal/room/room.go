// Package room is a small SockJS broadcast server for the load client's tests, with faults to order: it has nothing in
// common with the server that the load client was written for.
package room

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Faults are what a room does wrong.
type Faults struct {
	LoseEvery   int    // drops every n-th message for one of the clients
	RepeatEvery int    // sends every n-th message twice to one of the clients
	CloseAfter  int    // closes everybody after so many messages
	SilentAfter int    // sends nothing any more after so many messages
	Garbage     string // sent instead of the open frame
	CloseAtOnce bool
	RefuseAfter int // answers 503 when so many have been let in
	AcceptMax   int // accepts so many connections and no more
	// Heartbeat is how often each client is sent a frame without messages; 0 is never. That is no fault.
	Heartbeat time.Duration
}

// heardMax is how many messages a room remembers.
const heardMax = 10

// Room is a running server.
type Room struct {
	*httptest.Server
	faults Faults

	mu       sync.Mutex
	members  []*member
	guests   int
	messages int
	heard    []string // the first of them
	senders  []int    // who sent something, by when they came, from 0
}

type member struct {
	conn *websocket.Conn
	mu   sync.Mutex
	n    int
}

// New starts a room. Close ends it.
func New(f Faults) *Room {
	r := &Room{faults: f}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	if f.AcceptMax > 0 {
		r.Listener = &halting{Listener: r.Listener, left: f.AcceptMax, closed: make(chan struct{})}
	}
	r.Start()
	return r
}

// NewTLS starts a room behind TLS.
func NewTLS(f Faults) *Room {
	r := &Room{faults: f}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(r.serve))
	return r
}

// halting is a listener that stops accepting; the kernel goes on to connect clients.
type halting struct {
	net.Listener
	left   int
	closed chan struct{}
	once   sync.Once
}

func (h *halting) Accept() (net.Conn, error) {
	if h.left--; h.left < 0 {
		<-h.closed
		return nil, net.ErrClosed
	}
	return h.Listener.Accept()
}

func (h *halting) Close() error {
	h.once.Do(func() { close(h.closed) })
	return h.Listener.Close()
}

// First is the first n messages that the room heard.
func (r *Room) First(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.heard[:min(n, len(r.heard))])
}

func (r *Room) sent(place int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.senders, place) {
		r.senders = append(r.senders, place)
	}
}

// Senders are who sent something, by when they came, from 0.
func (r *Room) Senders() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.senders)
}

// URL is where clients find the room.
func (r *Room) URL() string { return strings.Replace(r.Server.URL, "http", "ws", 1) + "/broadcast" }

func (r *Room) serve(w http.ResponseWriter, req *http.Request) {
	if !strings.HasPrefix(req.URL.Path, "/broadcast/") {
		http.NotFound(w, req)
		return
	}
	if r.full() {
		http.Error(w, "full", http.StatusServiceUnavailable)
		return
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, req, nil)
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // the test has what it came for
	if r.faults.CloseAtOnce {
		return
	}
	open := "o"
	if r.faults.Garbage != "" {
		open = r.faults.Garbage
	}
	m := &member{conn: conn}
	m.send(open)
	r.mu.Lock()
	place := len(r.members)
	r.members = append(r.members, m)
	r.mu.Unlock()
	if r.faults.Heartbeat > 0 {
		ended := make(chan struct{})
		defer close(ended)
		go m.beat(r.faults.Heartbeat, ended)
	}
	for {
		_, p, err := conn.ReadMessage()
		if err != nil {
			return
		}
		var texts []string
		if json.Unmarshal(p, &texts) != nil {
			return
		}
		r.sent(place)
		for _, text := range texts {
			r.broadcast(text)
		}
	}
}

// full lets one more in, or tells that there are enough.
func (r *Room) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guests++
	return r.faults.RefuseAfter > 0 && r.guests > r.faults.RefuseAfter
}

func (m *member) beat(every time.Duration, ended <-chan struct{}) {
	for t := time.NewTicker(every); ; {
		select {
		case <-ended:
			t.Stop()
			return
		case <-t.C:
			m.send("h")
		}
	}
}

func (m *member) send(frame string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.conn.WriteMessage(websocket.TextMessage, []byte(frame))
}

// broadcast sends a message to everybody. The lock makes one order for all.
func (r *Room) broadcast(text string) {
	frame, err := json.Marshal([]string{text})
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.messages++; len(r.heard) < heardMax {
		r.heard = append(r.heard, text)
	}
	f := r.faults
	if f.SilentAfter > 0 && r.messages > f.SilentAfter {
		return
	}
	for i, m := range r.members {
		m.n++
		switch {
		case f.CloseAfter > 0 && r.messages > f.CloseAfter:
			_ = m.conn.Close()
			continue
		case i == 1 && f.LoseEvery > 0 && m.n%f.LoseEvery == 0:
			continue
		case i == 1 && f.RepeatEvery > 0 && m.n%f.RepeatEvery == 0:
			m.send("a" + string(frame))
		}
		m.send("a" + string(frame))
	}
}
