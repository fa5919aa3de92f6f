// Package process starts the programs that the lab measures, each on CPUs of its own, and ends them.
package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/sockloop/sockloop/tuning"
)

// Process is a running server.
type Process struct {
	Addr  string
	cmd   *exec.Cmd
	proc  procfs.Proc
	said  *bytes.Buffer // on its standard error
	ended chan struct{}
}

// startTime is how long a server may take until it listens.
const startTime = 20 * time.Second

// Start starts a server on a set of CPUs, and waits until somebody answers on the address. What it says on its standard
// error goes to cmd.Stderr, too, if that is set. The error says what it said last.
func Start(ctx context.Context, cmd *exec.Cmd, cpus tuning.CPUs, addr string) (*Process, error) {
	p := &Process{Addr: addr, cmd: cmd, said: &bytes.Buffer{}, ended: make(chan struct{})}
	if cmd.Stderr == nil {
		cmd.Stderr = p.said
	} else {
		cmd.Stderr = io.MultiWriter(cmd.Stderr, p.said)
	}
	if err := tuning.Start(cmd, cpus); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	err := p.await(ctx)
	if err == nil {
		p.proc, err = procfs.NewProc(cmd.Process.Pid)
	}
	if err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// await waits until somebody listens on the process's address.
func (p *Process) await(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", p.Addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended at once: %s", LastLine(p.said.Bytes()))
		case <-wait.Done():
			return fmt.Errorf("it does not listen on %s: %w", p.Addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU is the time that it has used, in seconds, and RSS what is resident, in bytes; 0 if it has ended.
func (p *Process) CPU() float64 {
	stat, err := p.proc.Stat()
	if err != nil {
		return 0
	}
	return stat.CPUTime()
}

func (p *Process) RSS() int {
	stat, err := p.proc.Stat()
	if err != nil {
		return 0
	}
	return stat.ResidentMemory()
}

// Ended is an error if the process has ended, with what it said last.
func (p *Process) Ended() error {
	select {
	case <-p.ended:
		return fmt.Errorf("the server ended: %s", LastLine(p.said.Bytes()))
	default:
		return nil
	}
}

// Explain adds to an error that the process has ended, if it has.
func (p *Process) Explain(err error) error {
	if ended := p.Ended(); err != nil && ended != nil {
		return fmt.Errorf("%w; %w", err, ended)
	}
	return err
}

// stopTime is how long a server may take to end when it is asked to.
const stopTime = 5 * time.Second

// Stop ends it.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error is that it has ended
	select {
	case <-p.ended:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// LastLine is the last line of what a program said.
func LastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
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

// FreeAddr is an address on which nobody listens, and that this program has not given to another server.
func FreeAddr() (string, error) {
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
