package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// The opponent does what it is measured for: everybody hears everybody, in one order.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(newHandler())
	defer s.Close()
	var all []*websocket.Conn
	for i := range 3 {
		c, _, err := websocket.DefaultDialer.Dial(strings.Replace(s.URL, "http", "ws", 1)+"/broadcast/0/0/websocket",
			nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // the test is over
		all = append(all, c)
		if _, p, err := c.ReadMessage(); err != nil || string(p) != "o" {
			t.Fatalf("%q %v", p, err)
		}
		for hello := fmt.Sprintf("hello %d", i); ; { // a room takes a moment to be joined
			if err := c.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf("[%q]", hello))); err != nil {
				t.Fatal(err)
			}
			_, p, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if string(p) == fmt.Sprintf("a[%q]", hello) {
				break
			}
		}
	}
	if err := all[0].WriteMessage(websocket.TextMessage, []byte(`["x","é"]`)); err != nil {
		t.Fatal(err)
	}
	for i, c := range all {
		var got []string
		for len(got) < 2 {
			_, p, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(p), "hello") {
				got = append(got, string(p))
			}
		}
		if got[0] != `a["x"]` || got[1] != `a["é"]` {
			t.Errorf("client %d heard %q", i, got)
		}
	}
}
