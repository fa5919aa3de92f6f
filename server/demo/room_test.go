package demo

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

// A full mailbox leaves out a rate, and the next ones come all the same; only the server's end is the end.
func TestRatesOutliveAFullMailbox(t *testing.T) {
	t.Parallel()
	s, err := server.New(server.Config{Addr: "127.0.0.1:0", ConnectionsMax: 100, MailboxMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	room := newRoom(s)
	ended, over := make(chan error, 1), make(chan struct{})
	go func() { ended <- s.Run(context.Background()) }()
	<-s.Ready()
	entered, leave, emptied := make(chan struct{}), make(chan struct{}), make(chan struct{})
	if err := s.Post(func() { close(entered); <-leave }); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := s.Post(func() { close(emptied) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Post(func() {}); !errors.Is(err, server.ErrMailboxFull) {
		t.Fatalf("the mailbox is not full: %v", err)
	}
	ticks := make(chan time.Time)
	go func() { room.run(context.Background(), ticks); close(over) }()
	for range 3 { // a tick is taken when the one before has been dealt with
		select {
		case ticks <- time.Now():
		case <-over:
			t.Fatal("the rates have ended")
		}
	}
	close(leave)
	<-emptied
	if err := errors.Join(s.Drain(), <-ended); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case ticks <- time.Now():
		case <-over:
			return
		}
	}
}
