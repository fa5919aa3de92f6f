// Package server is a SockJS and WebSocket server on one epoll loop. Everything that arrives in one turn of the loop
// leaves at its end, encoded once and written with one system call a connection, so its capacity rises with its load.
//
// A program makes a Server, gives it a Service for each prefix, and runs it:
//
//	s, err := server.New(server.Config{Addr: "127.0.0.1:8080"})
//	s.Handle("/echo", server.Echo())
//	err = s.Run(ctx)
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// Errors of Server.Post.
var (
	ErrNotRunning  = errors.New("server: not running")
	ErrMailboxFull = errors.New("server: the mailbox is full")
)

// Server is one event loop and its services.
type Server struct {
	cfg       Config // what it was made with
	inForce   atomic.Pointer[Config]
	reloading sync.Mutex
	loop      *loop
	started   atomic.Bool
	stopping  atomic.Bool
	ready     chan struct{} // closed when the loop runs
	stop      chan struct{} // closed when the loop shall end
	stopped   chan struct{} // closed when Run has returned
	leaving   sync.Once     // closes draining
	draining  chan struct{} // closed when a drain begins
}

// New checks the configuration and makes a server; nothing listens yet. The error is that of Config.WithDefaults.
func New(c Config) (*Server, error) {
	c, err := c.WithDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: c, loop: newLoop(c),
		ready: make(chan struct{}), stop: make(chan struct{}), stopped: make(chan struct{}),
		draining: make(chan struct{}),
	}
	s.inForce.Store(&c)
	return s, nil
}

// Handle gives a prefix, such as "/echo", to a service, behind Config.Prefix. Each change may change the options for
// this service, which are else those of the configuration. It must be called before Run.
func (s *Server) Handle(prefix string, service Service, changes ...func(*Options)) error {
	if s.started.Load() {
		return errors.New("server: Handle after Run")
	}
	o := s.cfg.Options
	for _, change := range changes {
		change(&o)
	}
	ownOrigins := !slices.Equal(o.Origins, s.cfg.Origins)
	return s.loop.routes.add(s.cfg.Prefix+prefix, service, o, ownOrigins)
}

// NewTopic makes a topic with a name, which Topic.Name returns. Each change may change its options. It must be called
// before Run or on the loop.
func (s *Server) NewTopic(name string, changes ...func(*TopicOptions)) *Topic {
	o := TopicOptions{Gather: s.cfg.Gather}
	if s.cfg.GatherP99 > 0 {
		o.Gather = GatherAuto
	}
	for _, change := range changes {
		change(&o)
	}
	return newTopic(s.loop, name, o)
}

// Post runs a function on the loop, after those posted before. It is how other goroutines publish and send. The error
// is ErrNotRunning before Ready and after the end, or ErrMailboxFull.
func (s *Server) Post(f func()) error { return s.loop.mailbox.post(f) }

// Stats takes a snapshot of the counters. It may be called on the loop too.
func (s *Server) Stats(ctx context.Context) (Stats, error) {
	return ask(ctx, s, (*loop).snapshot)
}

// FinalStats is what the counters were when Run returned; it waits for that.
func (s *Server) FinalStats() Stats {
	<-s.stopped
	return s.loop.snapshot()
}

// Config is the configuration in force, with its defaults filled in. Its slices are shared.
func (s *Server) Config() Config { return *s.inForce.Load() }

// Ready is closed when the server listens.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is the address that the server listens on; valid after Ready.
func (s *Server) Addr() net.Addr { return s.loop.listener.addr }

// Run listens and serves until ctx is done, or Drain or Shutdown is called; all drain, and then it returns nil. Any
// other end is an error. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("server: Run called twice")
	}
	defer close(s.stopped)
	defer s.loop.close()
	if err := s.loop.open(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if s.cfg.Broker != nil {
		if err := s.loop.brokerSide.open(); err != nil {
			return fmt.Errorf("server: broker: %w", err)
		}
		defer s.closeBroker()
	}
	ended := make(chan error, 1)
	go func() { ended <- s.loop.run(func() { close(s.ready) }) }()
	<-s.ready
	select {
	case err := <-ended:
		return fmt.Errorf("server: the event loop ended: %w", err)
	case <-ctx.Done():
		_ = s.drain() // it has logged that
	case <-s.stop:
	}
	s.loop.mailbox.stop()
	return <-ended
}
