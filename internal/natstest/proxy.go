package natstest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and a server, and can cut them off.
type Proxy struct {
	Addr string // host:port

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
	held  sync.Mutex // locked while nothing is passed on to clients
}

// StartProxy forwards TCP connections to a server until the test ends.
func StartProxy(t *testing.T, to string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: ln.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.forward(c, to) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.Cut()
		p.held.TryLock() // a test may have held it
		p.Release()
		running.Wait()
	})
	return p
}

// Cut ends all connections; new ones are ended at once, until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// Mend lets new connections through.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Hold keeps from clients what the server says, until Release.
func (p *Proxy) Hold() { p.held.Lock() }

// Release ends that: they are told everything.
func (p *Proxy) Release() { p.held.Unlock() }

// keep notes connections to be cut; false if that has happened.
func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		for _, c := range conns {
			_ = c.Close()
		}
		return false
	}
	p.conns = append(p.conns, conns...)
	return true
}

func (p *Proxy) forward(client net.Conn, to string) {
	defer client.Close() //nolint:errcheck // it may have been cut
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // likewise
	if !p.keep(client, server) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(p.answers(client), server) // it ends with either
		_ = client.Close()
	})
	_, _ = io.Copy(server, client)
	_ = server.Close()
	back.Wait()
}

// answers is the way to a client.
func (p *Proxy) answers(client net.Conn) io.Writer {
	return writer(func(b []byte) (int, error) {
		p.held.Lock()
		defer p.held.Unlock()
		return client.Write(b)
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }
