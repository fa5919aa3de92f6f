package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockloop/sockloop/server"
)

var (
	targetURL = flag.String("url", "",
		"server to check, such as http://127.0.0.1:8081; without it one is started")
	heartbeatDelay = flag.Duration("heartbeat-delay", 25*time.Second,
		"silence after which the server of -url sends a heartbeat")
	disconnectDelay = flag.Duration("disconnect-delay", 5*time.Second,
		"time after which the server of -url ends a session without a receiver")
)

// patience is how long the suite waits for something that must happen.
const patience = 20 * time.Second

// addr is the server's host:port, base what stands before the services' paths.
var addr, base string

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if *targetURL == "" {
		return runOurs(m)
	}
	u, err := url.Parse(*targetURL)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return 1, fmt.Errorf("-url is %q, want a URL such as http://127.0.0.1:8081", *targetURL)
	}
	if addr, base = u.Host, u.EscapedPath(); u.Port() == "" {
		addr += ":80"
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return 1, fmt.Errorf("nothing answers at -url: %w", err)
	}
	return m.Run(), c.Close()
}

// runOurs runs the suite against sockloop, with short delays.
func runOurs(m *testing.M) (int, error) {
	*heartbeatDelay, *disconnectDelay = 500*time.Millisecond, time.Second
	c := server.Config{
		Addr: "127.0.0.1:0", ConnectionsMax: 1000,
		Options: server.Options{HeartbeatDelay: *heartbeatDelay, DisconnectDelay: *disconnectDelay},
	}
	Configure(&c)
	s, err := server.New(c)
	if err == nil {
		err = Handle(s)
	}
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-s.Ready():
		addr = s.Addr().String()
	case err := <-ended:
		cancel()
		return 1, err
	}
	code := m.Run()
	cancel()
	if err := <-ended; err != nil {
		return 1, err
	}
	if st := s.FinalStats(); st.HandlerPanics > 0 {
		return 1, errors.New("the server's handlers panicked")
	}
	return code, nil
}

// The services.
const (
	echo        = "/echo"
	noWebSocket = "/disabled_websocket_echo"
	cookies     = "/cookie_needed_echo"
	closing     = "/close"
)

var sessions atomic.Int64

// session is a session's URL that nobody has used, of a service.
func session(t *testing.T, service string) string {
	t.Helper()
	return fmt.Sprintf("%s/000/c%d-%d", service, os.Getpid(), sessions.Add(1))
}
