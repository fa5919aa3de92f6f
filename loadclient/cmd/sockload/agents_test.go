package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/loadclient"
	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadAgentsAreOneLine(t *testing.T) {
	t.Parallel()
	short := writeFile(t, "short\n")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"agent", "--listen", "0.0.0.0:0"}, "give it a --token-file"},
		{[]string{"agent", "--listen", "here"}, "want host:port"},
		{[]string{"agent", "--token-file", short}, "want at least 16"},
		{[]string{"agent", "--token-file", "/nonexistent"}, "no such file"},
		{[]string{"agent", "--cpus", "999"}, "no CPU of the set"},
		{[]string{"trial", "--agents", "there"}, "want host:port, each once"},
		{[]string{"trial", "--agents", "a:1,a:1"}, "want host:port, each once"},
		{[]string{"trial", "--agents", "a:1", "--cpus", "0"}, "give each agent its own"},
		{[]string{"trial", "--token-file", short}, "is for --agents"},
		{[]string{"run", "--agents", "a:1", "--token-file", short}, "want at least 16"},
		{[]string{"trial", "--agents", "a:1,b:1", "--connections", "1"}, "want at least one each"},
		{[]string{"run", "--agents", "127.0.0.1:1", "--levels", "1"}, "agent 127.0.0.1:1 cannot be reached"},
	} {
		var out, log bytes.Buffer
		err := run(t.Context(), tt.args, &out, &log)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") ||
			exitCode(err) != exitUsage {
			t.Errorf("%v: got %v with exit code %d, want one line with %q", tt.args, err, exitCode(err), tt.want)
		}
	}
}

// listening passes on what an agent says of where it listens.
type listening chan string

func (l listening) Write(p []byte) (int, error) {
	if _, addr, ok := strings.Cut(string(p), "--agents "); ok {
		l <- strings.TrimSpace(addr)
	}
	return len(p), nil
}

// The command trial divides its connections among two commands agent.
func TestAgentCommand(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	token := writeFile(t, "0123456789abcdef\n")
	ctx, cancel := context.WithCancel(t.Context())
	ended, addrs := make(chan error), make([]string, 2)
	for i := range addrs {
		says := make(listening, 1)
		go func() {
			args := []string{"agent", "--listen", "127.0.0.1:0", "--token-file", token}
			ended <- run(ctx, args, &bytes.Buffer{}, says)
		}()
		addrs[i] = <-says
	}
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"trial", "--agents", strings.Join(addrs, ","), "--token-file", token,
		"--target", r.URL(), "--connections", "3", "--rate", "300", "--window", "100ms", "--json"}, &out, &log)
	var x results.Trial
	if jsonErr := json.Unmarshal(out.Bytes(), &x); jsonErr != nil || loadclient.IsTargetFailure(err) {
		t.Fatalf("%v %v", jsonErr, err)
	}
	if x.Sent != 10 || x.Received != 30 || len(x.Agents) != 2 || x.Agents[1].Addr != addrs[1] ||
		x.Agents[0].Connections != 2 {
		t.Errorf("%+v", x)
	}
	cancel()
	for range addrs {
		if err := <-ended; err != nil {
			t.Errorf("an agent ended with %v", err)
		}
	}
}
