// Package natstest runs nats-server in tests.
package natstest

import (
	"bufio"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a nats-server in a process of its own.
type Server struct {
	Addr string // host:port
	t    *testing.T
	args []string
	cmd  *exec.Cmd
	read chan struct{} // closed when its log has ended

	routes chan string // where it listens for other servers of its cluster
}

// patience is how long a server may take to start.
const patience = 30 * time.Second

var listening = regexp.MustCompile(`Listening for (client|route) connections on (\S+)`)

// Start runs nats-server on a free port of this machine until the test ends. It skips the test when there is none.
func Start(t *testing.T, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("nats-server"); err != nil {
		t.Skip("there is no nats-server: install the Debian package nats-server")
	}
	s := &Server{t: t, args: args, routes: make(chan string, 1)}
	s.start("-1")
	t.Cleanup(s.Kill)
	return s
}

// URL is what clients are told.
func (s *Server) URL() string { return "nats://" + s.Addr }

// RouteURL is what other servers of its cluster are told; its configuration must have a cluster.
func (s *Server) RouteURL() string {
	s.t.Helper()
	select {
	case addr := <-s.routes:
		s.routes <- addr
		return "nats://" + addr
	case <-time.After(patience):
		s.t.Fatal("nats-server does not listen for others of its cluster")
		return ""
	}
}

// Kill ends the server at once, as SIGKILL does, if it runs.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.read
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Restart runs the server again on its port.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	s.start(s.Addr[strings.LastIndex(s.Addr, ":")+1:])
}

// Reload has the server read its configuration again, which it does a little later.
func (s *Server) Reload() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) start(port string) {
	s.t.Helper()
	s.cmd = exec.Command("nats-server", append([]string{"-a", "127.0.0.1", "-p", port}, s.args...)...)
	log, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	ready := make(chan string, 1)
	s.read = make(chan struct{})
	go s.follow(log, ready)
	select {
	case s.Addr = <-ready:
		if s.Addr == "" {
			s.t.Fatal("nats-server does not start")
		}
	case <-time.After(patience):
		s.t.Fatal("nats-server does not say that it is ready")
	}
}

// follow reads the log to its end, so that the server never waits for a reader, and says where it listens once it is
// ready.
func (s *Server) follow(log io.Reader, ready chan<- string) {
	defer close(s.read)
	defer close(ready)
	addr := ""
	for lines := bufio.NewScanner(log); lines.Scan(); {
		switch m := listening.FindStringSubmatch(lines.Text()); {
		case m == nil:
		case m[1] == "client":
			addr = m[2]
		case len(s.routes) == 0:
			s.routes <- m[2]
		}
		if strings.Contains(lines.Text(), "Server is ready") {
			ready <- addr
		}
	}
}
