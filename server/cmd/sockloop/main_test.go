package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/internal/version"
)

func TestBadInputIsOneLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	broken := filepath.Join(t.TempDir(), "sockloop.yaml")
	if err := os.WriteFile(broken, []byte("addr: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	misspelt := filepath.Join(t.TempDir(), "sockloop.yaml")
	if err := os.WriteFile(misspelt, []byte("serve: {conections-max: 10}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"unknown flag", []string{"--fast"}, "unknown flag --fast"},
		{"no duration", []string{"--heartbeat-delay", "soon"}, "heartbeat-delay"},
		{"policy", []string{"--slow-consumer", "ask"}, `"close","skip"`},
		{"port in use", []string{"--addr", taken.Addr().String()},
			"is in use: stop the other server, choose another with --addr"},
		{"address", []string{"--addr", "8080"}, "want host:port"},
		{"no such CPU", []string{"--cpu", "999"}, "no CPU of the set 999 is there"},
		{"no CPU", []string{"--cpu", "fast"}, "want numbers and ranges"},
		{"descriptors", []string{"--connections-max", "100000000"}, "ulimit -n"},
		{"unit of memory", []string{"--memory-max", "256"}, "is a unit missing, as in 256M"},
		{"message size", []string{"--message-bytes-max", "99999999"}, "MessageBytesMax"},
		{"transport", []string{"--transports", "websocket,pigeon"},
			`no transport is called "pigeon"; there are websocket, `},
		{"origin", []string{"--origins", "example.com"}, "want scheme and host alone"},
		{"script", []string{"--sockjs-url", "sockjs.js"}, "begins with a slash"},
		{"prefix", []string{"--prefix", "chat"}, "want a path such as /chat"},
		{"response limit", []string{"--response-limit=-1"}, "ResponseLimit"},
		{"configuration file", []string{"--config", broken}, "yaml"},
		{"misspelt in the file", []string{"--config", misspelt}, `"conections-max" under serve, which is no flag`},
		{"no configuration file", []string{"--config", "/nonexistent.yaml"}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, log bytes.Buffer
			err := run(tt.args, &out, &log)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, tt.want)
			}
		})
	}
}

func TestHelpAndDoctor(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"--help": "doctor", "doctor": "accept backlog"} {
		var out, log bytes.Buffer
		if err := run([]string{args}, &out, &log); err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v %s", args, err, out.String())
		}
	}
}

// binDir is where the program is, once it is built.
var binDir string

// built is the program, for the tests that need a process of its own.
var built = sync.OnceValues(func() (bin string, err error) {
	if binDir, err = os.MkdirTemp("", "sockloop-test-"); err != nil {
		return "", err
	}
	bin = filepath.Join(binDir, "sockloop")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return bin, fmt.Errorf("%w\n%s", err, out)
	}
	return bin, nil
})

func build(t *testing.T) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
	os.Exit(code)
}

// process is a running sockloop.
type process struct {
	*exec.Cmd
	addr string
}

func startProcess(t *testing.T, limit string, bin string, args ...string) *process {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{addr: ln.Addr().String()}
	_ = ln.Close()
	command := limit + `exec "$0" "$@"`
	args = append([]string{"-c", command, bin, "--addr", p.addr, "--admin-addr=off"}, args...) // the last one counts
	p.Cmd = exec.Command("sh", args...)
	log, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
	buf := make([]byte, 4096)
	n, err := log.Read(buf) // its first line is that it listens
	if err != nil || !strings.Contains(string(buf[:n]), "listening") {
		t.Fatalf("%q %v", buf[:n], err)
	}
	go func() {
		for err == nil {
			_, err = log.Read(buf)
		}
	}()
	return p
}

// SIGTERM drains: every client is told, and the process ends with 0.
func TestTermDrains(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "", build(t), "--cpu", "0")
	ctx := t.Context()
	c, _, err := websocket.Dial(ctx, "ws://"+p.addr+"/broadcast/0/0/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func(want string) {
		t.Helper()
		if _, got, err := c.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("got %q %v, want %q", got, err, want)
		}
	}
	read("o")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	read(`c[3000,"Go away!"]`)
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("closed with %v", err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the process ended with %v", err)
	}
}

// The loop's thread is the only one that interrupts others.
func TestOtherThreadsAreInTheBackground(t *testing.T) {
	t.Parallel()
	if own, err := unix.SchedGetAttr(0, 0); err != nil || own.Policy != unix.SCHED_NORMAL {
		t.Skipf("the tests run as %+v, %v", own, err)
	}
	p := startProcess(t, "", build(t))
	p.get(t, "/") // so the loop runs
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	policies := map[uint32]int{}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		switch a, err := unix.SchedGetAttr(id, 0); {
		case err == nil:
			policies[a.Policy]++
		case !errors.Is(err, unix.ESRCH): // it has ended meanwhile
			t.Fatal(err)
		}
	}
	if policies[unix.SCHED_NORMAL] != 1 || policies[unix.SCHED_BATCH] < 2 || len(policies) != 2 {
		t.Errorf("threads by policy: %v, want one that is SCHED_OTHER (%d)", policies, unix.SCHED_NORMAL)
	}
}

// get is a page of the process.
func (p *process) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + p.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status + " " + string(body)
}

func TestConformanceServices(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "", build(t), "--conformance")
	for path, want := range map[string]string{
		"/echo/info": `"websocket":true`, "/disabled_websocket_echo/info": `"websocket":false`,
		"/cookie_needed_echo/info": `"cookie_needed":true`, "/close": "Welcome", "/broadcast": "404",
	} {
		if got := p.get(t, path); !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.addr+"/echo/websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow() //nolint:errcheck // the test is over
	c.SetReadLimit(1 << 25)
	large := bytes.Repeat([]byte{0xff}, 16<<20)
	if err := c.Write(t.Context(), websocket.MessageBinary, large); err != nil {
		t.Fatal(err)
	}
	if kind, got, err := c.Read(t.Context()); err != nil || kind != websocket.MessageBinary ||
		!bytes.Equal(got, large) {
		t.Errorf("%v, %d bytes, %v", kind, len(got), err)
	}
}

// The flags that bear sockjs-node's names do what they say.
func TestSockJSFlags(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "", build(t), "--prefix=/rt", "--no-websocket", "--jsessionid",
		"--base-url=https://cdn.example", "--sockjs-url=https://cdn.example/s.js", "--transports=xhr-polling,websocket")
	for path, want := range map[string]string{
		"/rt/": "<title>sockloop", "/rt": "<title>sockloop",
		"/rt/echo/info":        `{"websocket":false,"origins":["*:*"],"cookie_needed":true,"entropy":`,
		"/rt/broadcast/info":   `"base_url":"https://cdn.example"`,
		"/rt/echo/iframe.html": `src="https://cdn.example/s.js"`, "/echo": "404", "/rt/echo/0/0/eventsource": "404",
		"/rt/room": "Welcome",
	} {
		if got := p.get(t, path); !strings.Contains(got, want) {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// A flood of connections on few descriptors: those beyond the cap are refused, and the server lives.
func TestRunningOutOfDescriptors(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "ulimit -n 300; ", build(t)) // 44 connections
	var in []net.Conn
	for range 400 {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		in = append(in, c)
	}
	for _, c := range in {
		_ = c.Close()
	}
	for {
		c, _, err := websocket.Dial(context.Background(), "ws://"+p.addr+"/echo/websocket", nil)
		if err != nil { // until it has noticed that the flood is gone
			if p.ProcessState != nil {
				t.Fatal(err)
			}
			continue
		}
		defer c.CloseNow() //nolint:errcheck // the test is over
		if err := c.Write(t.Context(), websocket.MessageText, []byte("alive")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(t.Context()); err != nil || string(got) != "alive" {
			t.Errorf("%q %v", got, err)
		}
		return
	}
}

// A flag, an environment variable and a line of the file mean the same; the flag wins.
func TestConfigurationComesFromThreePlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sockloop.yaml")
	if err := os.WriteFile(file, []byte("serve:\n  connections-max: 100000001\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails := func(number string, args ...string) {
		t.Helper()
		var out, log bytes.Buffer
		if err := run(args, &out, &log); err == nil || !strings.Contains(err.Error(), number) {
			t.Errorf("%v: got %v, want an error about %s", args, err, number)
		}
	}
	fails("100000001", "--config", file)
	t.Setenv("SOCKLOOP_CONNECTIONS_MAX", "100000002")
	fails("100000002")
	fails("100000003", "--connections-max", "100000003")
}

// A result file says which server it measured: in the form that the load client tells its own version in.
func TestVersion(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	if err := run([]string{"--version"}, &out, &log); err != nil || out.String() != version.Own()+"\n" {
		t.Errorf("%q %v", out.String(), err)
	}
}
