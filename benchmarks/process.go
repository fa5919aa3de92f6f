package main

import (
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sockloop/sockloop/benchmarks/internal/process"
	"github.com/sockloop/sockloop/tuning"
)

// start starts a server on a free port and on the servers' CPU, with more arguments if there are any, and waits until
// it answers.
func (b *bench) start(ctx context.Context, c *contestant, more ...string) (*process.Process, error) {
	addr, err := process.FreeAddr()
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
	return process.Start(ctx, cmd, tuning.CPUs{b.ServerCPU}, addr)
}
