package server_test

import (
	"context"
	"fmt"
	"log"

	"github.com/coder/websocket"

	"github.com/sockloop/sockloop/server"
)

// greeter is a service of a program's own: it answers each message to its sender alone.
type greeter struct{}

func (greeter) OnOpen(*server.Session)                      {}
func (greeter) OnClose(*server.Session, server.CloseReason) {}

func (greeter) OnMessage(s *server.Session, m *server.Message) {
	answer := server.Text(append([]byte("hello, "), m.Text()...))
	if err := s.Send(&answer); err != nil {
		log.Print(err) // the session is closing
	}
}

// A server with a service of the program's own, and a client that talks to it.
func Example() {
	s, err := server.New(server.Config{Addr: "127.0.0.1:0"}) // port 0 takes a free one
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Handle("/greet", greeter{}); err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- s.Run(context.Background()) }()
	<-s.Ready()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/greet/websocket", s.Addr()), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Write(ctx, websocket.MessageText, []byte("world")); err != nil {
		log.Fatal(err)
	}
	_, answer, err := c.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer)

	go c.Read(ctx) //nolint:errcheck // answers the server's close
	if err := s.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-ended)
	// Output:
	// hello, world
	// <nil>
}

// Posting is how other goroutines publish: here, to everybody in a topic.
func ExampleServer_Post() {
	s, err := server.New(server.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	news := s.NewTopic("news")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	<-s.Ready()
	published := make(chan int)
	err = s.Post(func() {
		m := server.Text([]byte("nobody listens yet"))
		news.Publish(&m)
		published <- news.Len()
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-published)
	cancel()
	fmt.Println(<-ended)
	// Output:
	// 0
	// <nil>
}
