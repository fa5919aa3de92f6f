package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/tuning"
)

// contestant is a server that takes --addr and --cpu and broadcasts at /broadcast, and what it is asked to speak.
type contestant struct {
	name, program string
	protocol      loadclient.Protocol
}

type bench struct {
	flags
	suite suite
	cpus  tuning.CPUs
}

func (b *bench) file(name string) string { return filepath.Join(b.Out, name+".jsonl") }

// calibrate measures the client alone.
func (b *bench) calibrate(ctx context.Context) error {
	return b.sockload(ctx, "calibrate", "--cpus", b.cpus.String(), "--broadcaster-cpu", strconv.Itoa(b.ServerCPU), "--levels", b.Levels, "--out", b.file("ceiling"))
}

func (b *bench) sockload(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(b.Bin, "sockload"), args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return measured(cmd.Run())
}

// measured takes the exit code for an invalid measurement as none: the results say so themselves.
func measured(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitInvalid {
		return nil
	}
	return err
}

// exitInvalid is sockload's exit code when the client was the limit.
const exitInvalid = 3

// lightRate is the load of 2011's memory table, in received messages a second at 2000 connections.
const (
	lightRate        = 100_000
	lightConnections = 2000
	// recovery is how long a server has to give its memory back after the search's overloads.
	recovery = time.Minute
)

// measure starts a server and measures it: under a light load, at saturation, and under a light load again.
func (b *bench) measure(ctx context.Context, c contestant) error {
	s, err := b.start(ctx, c)
	if err != nil {
		return err
	}
	defer s.stop()
	load := []string{"--target", "ws://" + s.addr + "/broadcast", "--protocol", string(c.protocol), "--server-pid", strconv.Itoa(s.cmd.Process.Pid), "--cpus", b.cpus.String()}
	if err := b.light(ctx, c, load, 3*time.Second, "light"); err != nil {
		return err
	}
	if err := b.sockload(ctx, append([]string{"run", "--levels", b.Levels, "--out", b.file(c.name)}, load...)...); err != nil {
		return err
	}
	return b.light(ctx, c, load, recovery, "recovered")
}

// phase is a line of the results that only this program writes: a trial with the reason why it was made.
type phase struct {
	Phase string           `json:"phase"`
	Trial loadclient.Trial `json:"phase_trial"`
}

func (b *bench) light(ctx context.Context, c contestant, load []string, window time.Duration, name string) error {
	args := append([]string{"trial", "--connections", strconv.Itoa(lightConnections), "--rate", strconv.Itoa(lightRate), "--window", window.String(), "--json"}, load...)
	cmd := exec.CommandContext(ctx, filepath.Join(b.Bin, "sockload"), args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := measured(cmd.Run()); err != nil {
		return err
	}
	p := phase{Phase: name}
	if err := json.Unmarshal(out.Bytes(), &p.Trial); err != nil {
		return err
	}
	fmt.Printf("%d connections, %d messages a second delivered (%s): round trip mean %.2f ms, server memory %.1f MB\n",
		lightConnections, lightRate, name, p.Trial.RTT.Mean, float64(p.Trial.Server.RSS)/1e6)
	f, err := os.OpenFile(b.file(c.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(f).Encode(p), f.Close())
}

// process is a running server.
type process struct {
	cmd  *exec.Cmd
	addr string
}

// start starts a server on a free port, with more flags if there are any, and waits until it answers.
func (b *bench) start(ctx context.Context, c contestant, more ...string) (*process, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p := &process{exec.Command(filepath.Join(b.Bin, c.program), append([]string{"--addr", addr, "--cpu", strconv.Itoa(b.ServerCPU)}, more...)...), addr}
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return p, conn.Close()
		}
		select {
		case <-wait.Done():
			p.stop()
			return nil, fmt.Errorf("it does not listen on %s: %w", addr, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
