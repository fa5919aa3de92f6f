package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/tuning"
)

// agents are the machines that a command divides its connections among.
type agents struct {
	Agents    []string `help:"Machines that open the connections, divided one by one, instead of this one: sockload agent --listen runs on each." placeholder:"HOST:PORT,…"`
	TokenFile string   `help:"File with the token that the agents were given." placeholder:"FILE"`
}

// checkAgents says what cannot be. cpus are those of this process.
func (a *agents) checkAgents(cpus tuning.CPUs) error {
	if len(cpus) > 0 {
		return errors.New("--cpus and --agents exclude each other: give each agent its own, sockload agent --cpus")
	}
	_, err := a.config()
	return err
}

// config is how they are found; nil for none.
func (a *agents) config() (*loadclient.Agents, error) {
	if len(a.Agents) == 0 {
		if a.TokenFile != "" {
			return nil, errors.New("--token-file is for --agents: give both")
		}
		return nil, nil
	}
	for i, addr := range a.Agents {
		if _, port, err := net.SplitHostPort(addr); err != nil || port == "" || slices.Contains(a.Agents[:i], addr) {
			return nil, fmt.Errorf("--agents %s: want host:port, each once", addr)
		}
	}
	token, err := readToken(a.TokenFile)
	return &loadclient.Agents{Addrs: a.Agents, Token: token}, err
}

// readToken reads a file with a token; without one there is none.
func readToken(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--token-file: %w", err)
	}
	token := bytes.TrimSpace(text)
	if err := loadclient.CheckToken(token); err != nil {
		return nil, fmt.Errorf("--token-file %s: %w", file, err)
	}
	return token, nil
}

// agent is the command: it opens connections for a coordinator.
type agent struct {
	client
	Listen    string `help:"Where to wait for a coordinator. At any other address than loopback it takes a token." default:"127.0.0.1:7070" placeholder:"HOST:PORT"`
	TokenFile string `help:"File with a token, of 16 bytes at least, that a coordinator must know." placeholder:"FILE"`
}

// Run serves coordinators until it is interrupted.
func (a *agent) Run(ctx context.Context, out *console) error {
	token, err := readToken(a.TokenFile)
	if err != nil {
		return err
	}
	serving := loadclient.Agent{Token: token, Log: out.note}
	ln, err := serving.Listen(ctx, a.Listen)
	if err != nil {
		return err
	}
	defer ln.Close() //nolint:errcheck // it may be closed already
	if err := a.prepare(out, 1); err != nil {
		return err
	}
	serving.CPUs = a.CPUs
	out.note("waiting for a coordinator: sockload run --agents %s", ln.Addr())
	return serving.Serve(ctx, ln)
}
