package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockloop/sockloop/server"
	"github.com/sockloop/sockloop/server/demo"
)

// soak makes the tests that may take their time take more: about so much in all.
//
//	go test ./server -run 'Attack|Delivery' -timeout 0 -soak=10m
var soak = flag.Duration("soak", 0, "how long the long tests run, together; 0 is as short as they can be")

// duration is how long a long test runs. There are about eight of them.
func duration(short time.Duration) time.Duration { return max(*soak/8, short) }

// slower stretches a bound on time: the race detector makes a client several times slower.
func slower(d time.Duration) time.Duration {
	if raceEnabled {
		return 5 * d
	}
	return d
}

// childConfig is the environment variable that makes the test binary a server, with the configuration in it.
const childConfig = "SOCKLOOP_TEST_SERVER"

// binDir is where the programs are that tests have built.
var binDir string

func TestMain(m *testing.M) {
	if config, ok := os.LookupEnv(childConfig); ok {
		if err := child(config); err != nil {
			fmt.Fprintln(os.Stderr, "server under test:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if p := overloaded.process; p != nil {
		_ = p.in.Close()
		_ = p.cmd.Wait()
	}
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
	os.Exit(code)
}

// child is a server in a process of its own. It says its address, then answers the commands that come by the line, and
// ends with its standard input, or as SIGTERM wants it.
func child(config string) error {
	var c server.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	c.Addr = "127.0.0.1:0"
	s, err := server.New(c)
	if err != nil {
		return err
	}
	room, err := demo.Mount(s)
	for prefix, service := range map[string]server.Service{
		"/broadcast": s.Broadcast(), "/echo": server.Echo(),
	} {
		err = errors.Join(err, s.Handle(prefix, service))
	}
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	go room.Run(ctx)
	go func() {
		<-s.Ready()
		fmt.Println(s.Addr())
		commands := bufio.NewScanner(os.Stdin)
		for commands.Scan() {
			obey(s, commands.Text())
		}
		os.Exit(0) // whoever started it is gone
	}()
	return s.Run(ctx)
}

// obey answers a command with a line.
func obey(s *server.Server, command string) {
	switch command {
	case "stats":
		st, err := s.Stats(context.Background())
		p, _ := json.Marshal(st)
		if err != nil {
			p = []byte("{}") // it is shutting down
		}
		fmt.Println(string(p))
	case "gc":
		debug.FreeOSMemory()
		fmt.Println("{}")
	}
}

// process is a server in a process of its own, with its memory and its CPU time to look at.
type process struct {
	running // only its address
	t       *testing.T
	cmd     *exec.Cmd
	mu      sync.Mutex // one command at a time
	in      io.WriteCloser
	out     *bufio.Reader
	log     *bytes.Buffer // what it says on standard error; readable once it has ended
	rss     int           // bytes, once it was warm
}

// settings are fields of server.Config by name; those that a server does not have are passed over.
type settings map[string]any

// memoryBytesMax is the budget of the servers under attack.
const memoryBytesMax = 256 << 20

// startProcess runs a server until the test ends, at most. Its connections are 8,000 and its budget is memoryBytesMax
// unless the settings say otherwise.
func startProcess(t *testing.T, set settings) *process {
	t.Helper()
	p := launch(t, set)
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.in.Close()
			kill := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
			if err := p.cmd.Wait(); err != nil {
				t.Errorf("the server ended with %v", err)
			}
			kill.Stop()
		}
		if t.Failed() && p.log.Len() > 0 {
			t.Logf("the server says: %.3000s", p.log)
		}
	})
	return p
}

// launch is startProcess for a server that outlives the test; TestMain ends it.
func launch(t *testing.T, set settings) *process {
	t.Helper()
	all := settings{"ConnectionsMax": 8000, "MemoryBytesMax": memoryBytesMax}
	for name, value := range set {
		all[name] = value
	}
	config, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(childBinary(t)), log: &bytes.Buffer{}}
	p.cmd.Env = append(os.Environ(), childConfig+"="+string(config))
	p.cmd.Stderr = p.log
	in, errIn := p.cmd.StdinPipe()
	out, errOut := p.cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	addr, err := p.out.ReadString('\n')
	if err != nil {
		_ = p.cmd.Wait()
		t.Fatalf("the server did not start: %v: %s", err, p.log)
	}
	p.addr = strings.TrimSpace(addr)
	p.warmUp()
	p.rss = p.memory("VmRSS")
	return p
}

// childBinary is what runs as the server: this program, or with the race detector one without, because that would be
// measured with the server's memory.
func childBinary(t *testing.T) string {
	t.Helper()
	if !raceEnabled {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		return self
	}
	bin, err := builtChild()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

var (
	builtChild    = sync.OnceValues(func() (string, error) { return build("child", "test", "-c") })
	builtSockloop = sync.OnceValues(func() (string, error) { return build("sockloop", "build") })
)

// build has Go make a program, from this package or from the command's.
func build(name string, args ...string) (string, error) {
	if binDir == "" {
		dir, err := os.MkdirTemp("", "server-test-")
		if err != nil {
			return "", err
		}
		binDir = dir
	}
	bin, from := filepath.Join(binDir, name), "."
	if args[0] == "build" {
		from = "./cmd/sockloop"
	}
	cmd := exec.Command("go", append(args, "-o", bin, from)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return bin, nil
}

// warmUp uses what every test uses, so that its memory is not the attack's.
func (p *process) warmUp() {
	p.t.Helper()
	for _, prefix := range []string{"/echo", "/broadcast"} {
		c := p.join(p.t, prefix)
		c.send(`["warm"]`)
		c.expect(`a["warm"]`)
		_ = c.Close()
	}
	c := p.dial(p.t)
	c.poll("/echo/0/warm-up", "o")
	c.answer("GET", "/echo/info", "")
	_ = c.Close()
	p.command("gc")
}

// command has the server answer a line.
func (p *process) command(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.in, name+"\n"); err != nil {
		return "{}"
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return "{}"
	}
	return line
}

// processStats are the counters of a server, and those that are looked for beside them.
type processStats struct {
	server.Stats
	MemoryBytes    int    // on behalf of clients
	PublishersHeld uint64 // times that a publisher was not read because of its rate
}

func (p *process) stats() processStats {
	var st processStats
	_ = json.Unmarshal([]byte(p.command("stats")), &st) // of a process that has ended, nothing
	return st
}

// eventually waits until a counter says what it must.
func (p *process) eventually(what string, ok func(processStats) bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); !ok(p.stats()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: %+v", what, p.stats())
		}
	}
}

// memory is a line of /proc/PID/status, such as VmRSS, in bytes; 0 once the process has ended.
func (p *process) memory(name string) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == name+":" {
			kB, _ := strconv.Atoi(f[1])
			return kB << 10
		}
	}
	return 0
}

// peak is the most that has been resident since it was last asked for, in bytes.
func (p *process) peak() int {
	n := p.memory("VmHWM")
	// See proc(5): the high water mark is what is resident now. Where that is not allowed it is that since the start.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
	return n
}

// cpu is the CPU time that the process has used, in ticks of 10 ms.
func (p *process) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// descriptors is how many the process has open.
func (p *process) descriptors() int {
	p.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(all)
}

// limitDescriptors sets the soft limit of open files of the running process.
func (p *process) limitDescriptors(n uint64) {
	p.t.Helper()
	var l unix.Rlimit
	err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &l)
	if err == nil {
		l.Cur = min(n, l.Max)
		err = unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_NOFILE, &l, nil)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// term asks the process to end.
func (p *process) term() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}
