package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sockloop/sockloop/benchmarks/internal/sockload"
	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

// binDir is where the programs are, once they are built.
var binDir string

// built builds the programs, for all tests that run them.
var built = sync.OnceValue(func() (err error) {
	if binDir, err = os.MkdirTemp("", "benchmarks-test-"); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", binDir, "../server/cmd/sockloop", "../loadclient/cmd/sockload",
		"./goroutine", "./goroutine-batched", "./fixed", "./limit")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
})

func builtBench(t *testing.T) bench {
	t.Helper()
	if err := built(); err != nil {
		t.Fatal(err)
	}
	cpus, err := tuning.Allowed()
	if err != nil {
		t.Fatal(err)
	}
	return bench{flags: flags{Bin: binDir, ServerCPU: cpus[0]}}
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binDir != "" {
		_ = os.RemoveAll(binDir)
	}
	os.Exit(code)
}

// sockload and sockloop understand each other in every protocol: nothing is lost, repeated or out of order, though each
// stream has to be asked for again many times, and though connections are closed that have been idle for a moment.
func TestProtocols(t *testing.T) {
	t.Parallel()
	b := builtBench(t)
	for _, tt := range []struct {
		name, rate string
		sent       int
		server     []string
		client     []string
	}{
		{"busy", "100000", 2500, []string{"--response-limit=4096"}, nil},
		{"idle", "2000", 50, []string{"--handshake-timeout=50ms", "--keep-alive-timeout=50ms"}, nil},
		{"large messages, read at leisure", "10000", 250, nil, []string{"--payload-bytes=1000", "--read=relaxed"}},
		{"templates over TLS", "10000", 250, []string{"--response-limit=4096"}, []string{
			`--payload={"id":{id},"at":{time},"n":{seq},"text":"ü{pad}"}`, "--payload-bytes=60-90",
			"--send-first=hello {id}",
		}},
		{"compressed", "10000", 250, []string{"--compress", "--compress-min=1"}, []string{"--compress"}},
		{"a sample, compressed", "10000", 250, []string{"--compress", "--compress-min=60"}, []string{
			"--compress", "--verify=sample",
		}},
	} {
		for _, protocol := range results.Protocols() {
			webSocket := protocol == string(results.SockJS) || protocol == string(results.WebSocket)
			switch {
			case strings.HasPrefix(protocol, "socket.io"): // which sockloop does not speak
				continue
			case !webSocket && slices.Contains(tt.client, "--compress"),
				protocol != string(results.SockJS) && slices.Contains(tt.client, "--verify=sample"):
				continue
			}
			t.Run(tt.name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				s, err := b.start(context.Background(), find(t, "sockloop"), tt.server...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.Stop)
				target := "ws://" + s.Addr + "/broadcast"
				args := tt.client
				if strings.HasSuffix(tt.name, "over TLS") {
					proxy, ca := behindTLS(t, s.Addr)
					target, args = "wss://"+proxy+"/broadcast", append([]string{"--ca", ca}, args...)
				}
				if protocol == string(results.WebSocket) {
					target += "/websocket"
				}
				got := load(t, b, append([]string{
					"--target", target, "--protocol", protocol, "--connections", "20",
					"--rate", tt.rate, "--window", "500ms",
				}, args...)...)
				wrong := got.Lost + got.Duplicated + got.Reordered + got.Foreign + got.Stragglers + got.NotCompleted
				if got.Sent != tt.sent || got.Received != 20*tt.sent || wrong != 0 {
					t.Errorf("%+v", got)
				}
				if large := slices.Contains(tt.client, "--payload-bytes=1000"); large != (got.BytesPerMessage > 1000) {
					t.Errorf("%.0f bytes a message", got.BytesPerMessage)
				}
			})
		}
	}
}

// Connections that do nothing stay open in every protocol, because pings are answered; and what the server says when it
// is full is told.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	b := builtBench(t)
	for _, protocol := range results.Protocols() {
		if strings.HasPrefix(protocol, "socket.io") { // which sockloop does not speak
			continue
		}
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			target := "/broadcast"
			if protocol == string(results.WebSocket) {
				target += "/websocket"
			}
			s, err := b.start(context.Background(), find(t, "sockloop"),
				"--heartbeat-delay=100ms", "--pong-timeout=1s", "--connections-max=600")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Stop)
			steps, hold, err := idle(b, "--target", "ws://"+s.Addr+target, "--protocol", protocol,
				"--connections", "300", "--step", "150", "--hold", "1500ms")
			if err != nil || len(steps) != 3 || hold == nil || hold.Connections != 300 || hold.Lost != 0 {
				t.Fatalf("%v %+v %+v", err, steps, hold)
			}
			if last := steps[2]; last.Connections != 300 || last.PerConnection == nil || last.PerConnection.RSS <= 0 {
				t.Errorf("%+v", last)
			}
			steps, _, err = idle(b, "--target", "ws://"+s.Addr+target, "--protocol", protocol,
				"--connections", "700", "--step", "350", "--hold", "0s")
			if err == nil || !strings.Contains(err.Error(), "it takes no more clients") {
				t.Errorf("%v %+v", err, steps)
			}
		})
	}
}

// idle runs sockload idle and reads its records.
func idle(b bench, args ...string) (steps []results.IdleStep, hold *results.IdleHold, err error) {
	cmd := exec.Command(filepath.Join(b.Bin, "sockload"), append([]string{"idle", "--json"}, args...)...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	failure := cmd.Run()
	records, err := results.Read(&out)
	for _, r := range records {
		if r.Idle != nil {
			steps = append(steps, *r.Idle)
		} else {
			hold = r.Hold
		}
	}
	if failure != nil {
		err = fmt.Errorf("%w: %s", failure, log.String())
	}
	return steps, hold, err
}

// behindTLS puts a proxy with TLS in front of a server, and returns the proxy's address and a file with its authority.
func behindTLS(t *testing.T, addr string) (proxy, ca string) {
	t.Helper()
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	p.FlushInterval = -1
	s := httptest.NewUnstartedServer(p)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.ErrorLog = s.Config.ErrorLog
	s.StartTLS()
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return s.Listener.Addr().String(), ca
}

// load runs sockload trial and reads its result.
func load(t *testing.T, b bench, args ...string) results.Trial {
	t.Helper()
	got, err := sockload.Trial(t.Context(), filepath.Join(b.Bin, "sockload"), args...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
