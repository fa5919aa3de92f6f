package main

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // it is only to be free again
	return ln.Addr().String()
}

func TestBadAdminFlagsAreOneLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--admin-addr", taken.Addr().String()}, "is in use: choose another, or off"},
		{[]string{"--admin-addr", "9090"}, "want host:port, as in 127.0.0.1:9090, or off"},
		{[]string{"--admin-addr", "0.0.0.0:0"}, "no loopback address, so a token is needed: --admin-token-file"},
		{[]string{"--admin-addr", ":0"}, "so a token is needed"},
		{[]string{"--admin-addr", "sockloop.example:0"}, "so a token is needed"},
		{[]string{"--admin-token-file", "/nonexistent"}, "no such file"},
		{[]string{"--admin-token-file", file("empty", " \n")}, "is empty; fill it with"},
		{[]string{"--admin-token-file", file("short", "secret\n")}, "less than 16 characters"},
	} {
		var out, log bytes.Buffer
		err := run(append(tt.args, "--addr", "127.0.0.1:0"), &out, &log)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: got %v, want one line with %q", tt.args, err, tt.want)
		}
	}
}

// The admin plane asks for the token of the file, and is there until the server has drained.
func TestAdminPlaneSeesTheDrain(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	p := startProcess(t, "", build(t), "--admin-addr", addr, "--admin-token-file", token, "--close-timeout=1m")
	ask := func(method, path, token string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.addr+"/broadcast/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // the test is over
	if got := ask("POST", "/api/drain", "wrong"); got != 401 {
		t.Errorf("without the token: %d", got)
	}
	if got := ask("GET", "/readyz", ""); got != 200 {
		t.Errorf("before the drain: %d", got)
	}
	if got := ask("POST", "/api/drain", "0123456789abcdef"); got != 202 {
		t.Fatalf("drain: %d", got)
	}
	for ask("GET", "/readyz", "") != 503 { // until the loop has come to it
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil { // the supervisor's, who asked for the drain before it
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

// Whoever asks for no address gets the default one, or none if it is taken; only then is that no error.
func TestDefaultAdminAddressMayBeTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", adminAddrDefault)
	if err == nil { // else somebody else has it, which is as good
		defer ln.Close() //nolint:errcheck // the test is over
	}
	log := logOf(t, build(t), "--addr", "127.0.0.1:0")
	if !strings.Contains(log, "its default address is taken") {
		t.Errorf("the log begins with %s", log)
	}
}

// logOf is the first line that a process logs; it is ended then.
func logOf(t *testing.T, bin string, args ...string) string {
	t.Helper()
	c := exec.Command(bin, args...)
	log, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()         //nolint:errcheck // it is killed
	defer c.Process.Kill() //nolint:errcheck // likewise
	line, err := bufio.NewReader(log).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}
