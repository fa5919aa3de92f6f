package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/sockloop/sockloop/tuning"
)

// program is a process that was started.
type program struct {
	cmd  *exec.Cmd
	proc procfs.Proc
}

// start starts a program on a CPU and waits until it listens.
func start(ctx context.Context, cpu int, addr, path string, args ...string) (*program, error) {
	cmd := exec.Command(path, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := tuning.Start(cmd, tuning.CPUs{cpu}); err != nil {
		return nil, err
	}
	p := &program{cmd: cmd}
	err := await(ctx, addr)
	if err == nil {
		p.proc, err = procfs.NewProc(cmd.Process.Pid)
	}
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("%s: %w: %s", path, err, bytes.TrimSpace(said.Bytes()))
	}
	return p, nil
}

// stop ends it.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error is that it has ended
	_ = p.cmd.Wait()
}

// cpuOf is what programs have used, in seconds; nil ones are none.
func cpuOf(programs ...*program) (seconds float64) {
	for _, p := range programs {
		if p == nil {
			continue
		}
		if stat, err := p.proc.Stat(); err == nil {
			seconds += stat.CPUTime()
		}
	}
	return seconds
}

// rss is what is resident, in bytes; 0 if it has ended.
func (p *program) rss() int {
	stat, err := p.proc.Stat()
	if err != nil {
		return 0
	}
	return stat.ResidentMemory()
}

// startTime is how long a program may take until it listens.
const startTime = 10 * time.Second

func await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// scrapeInterval is how often metrics are read: Prometheus reads every 15 s by default.
const scrapeInterval = time.Second

// scrape reads a process's metrics until ctx is done, as Prometheus does.
func scrape(ctx context.Context, admin string) {
	ticks := time.NewTicker(scrapeInterval)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
		if err != nil {
			continue
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	}
}
