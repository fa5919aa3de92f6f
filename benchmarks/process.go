package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sockloop/sockloop/tuning"
)

// process is a running server.
type process struct {
	cmd   *exec.Cmd
	addr  string
	said  *bytes.Buffer // on its standard error
	ended chan struct{}
}

// startTime is how long a server may take until it listens.
const startTime = 20 * time.Second

// start starts a server on a free port and on the servers' CPU, with more arguments if there are any, and waits until
// it answers.
func (b *bench) start(ctx context.Context, c *contestant, more ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	bin, err := filepath.Abs(b.Bin) // the server runs in its own folder
	if err != nil {
		return nil, err
	}
	fill := strings.NewReplacer(
		"{bin}", bin, "{addr}", addr, "{host}", host, "{port}", port, "{cpu}", strconv.Itoa(b.ServerCPU))
	var args []string
	for _, a := range c.Run {
		args = append(args, fill.Replace(a))
	}
	cmd, err := c.peer.command(context.Background(), append(args, more...))
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, addr: addr, said: &bytes.Buffer{}, ended: make(chan struct{})}
	cmd.Stderr = p.said
	if err := tuning.Start(cmd, tuning.CPUs{b.ServerCPU}); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	wait, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("it ended at once: %s", lastLine(p.said.Bytes()))
		case <-wait.Done():
			p.stop()
			return nil, fmt.Errorf("it does not listen on %s: %w", addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// explain adds to an error what the server said last, if it ended.
func (p *process) explain(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-p.ended:
		return fmt.Errorf("%w; the server ended: %s", err, lastLine(p.said.Bytes()))
	default:
		return err
	}
}

// stopTime is how long a server may take to end when it is asked to.
const stopTime = 5 * time.Second

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// The ports of servers lie below those that the kernel gives to connections and to whoever asks for any: between the
// moment in which a port is found free and the one in which its server listens, nobody else gets it.
const (
	portMin = 10_000
	portMax = 32_000
)

var ports struct {
	sync.Mutex
	given map[int]bool
}

// freeAddr is an address on which nobody listens, and that this program has not given to another server.
func freeAddr() (string, error) {
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	var err error
	for range 100 {
		port := portMin + rand.IntN(portMax-portMin)
		if ports.given[port] {
			continue
		}
		var ln net.Listener
		if ln, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ports.given[port] = true
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", fmt.Errorf("no port between %d and %d is free: %w", portMin, portMax, err)
}
