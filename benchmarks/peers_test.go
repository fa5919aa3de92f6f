package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// sockload understands real Socket.IO servers, today's and that of 2011: nothing is lost, repeated or out of order.
func TestSocketIO(t *testing.T) {
	t.Parallel()
	b := builtBench(t)
	for peer, node := range map[string]string{"socket.io": "node", "socket.io-0.8": "node_modules/node/bin/node"} {
		t.Run(peer, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("peers", peer)
			if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
				t.Skipf("it is not installed (npm ci in benchmarks/%s)", dir)
			}
			if node != "node" {
				node = filepath.Join(dir, node)
			}
			if _, err := exec.LookPath(node); err != nil {
				t.Skipf("its Node is not installed: %v", err)
			}
			got := b.trial(t, "--target", "ws://"+startPeer(t, node, dir), "--protocol", peer, "--connections", "20", "--rate", "20000", "--window", "500ms")
			if got.Sent != 500 || got.Received != 10_000 || got.Lost+got.Duplicated+got.Reordered+got.Foreign+got.Stragglers+got.NotCompleted != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// startPeer runs a peer's server.js until the test ends.
func startPeer(t *testing.T, node, dir string) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	node, err = exec.LookPath(node)
	if err == nil {
		node, err = filepath.Abs(node)
	}
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "server.js", host, port)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not listen on %s: %v", addr, err)
		}
	}
}
