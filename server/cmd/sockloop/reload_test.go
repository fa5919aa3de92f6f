package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sockloop/sockloop/server"
)

// logged is a line of the program's log.
type logged struct {
	Msg     string
	Changed []string
	Faults  []string
	Flags   []string
	Addr    string
	before  []string // messages between the last that was waited for and this
}

// hearing starts the program and returns what reads its log up to a message.
func hearing(t *testing.T, args ...string) (p *os.Process, next func(msg string) logged) {
	t.Helper()
	cmd := exec.Command(build(t), append(args, "--admin-addr=off")...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(log)
	return cmd.Process, func(msg string) logged {
		t.Helper()
		var before []string
		for lines.Scan() {
			var l logged
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				t.Fatalf("%s: %v", lines.Text(), err)
			}
			if l.Msg == msg {
				l.before = before
				return l
			}
			before = append(before, l.Msg)
		}
		t.Fatalf("no %q in the log", msg)
		return logged{}
	}
}

// SIGHUP applies what the file has for it, says what needs a restart, and changes nothing if the file has faults.
func TestHangUpReloads(t *testing.T) {
	t.Parallel()
	file := writeConfig(t, "serve:\n  connections-max: 50\n  origins: [https://was.example]\n")
	p, next := hearing(t, "--config", file, "--addr", "127.0.0.1:0")
	url := "http://" + next("listening").Addr + "/echo/info"
	hangUp := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	status := func(origin string) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}

	hangUp("serve:\n  connections-max: fifty\n  origins: [is.example]\n")
	want := []string{file + ":2: connections-max: ", file + ":3: origins: "}
	if got := next("not reloaded").Faults; len(got) != 2 || !strings.HasPrefix(got[0], want[0]) ||
		!strings.HasPrefix(got[1], want[1]) {
		t.Errorf("faults are %q, want %q", got, want)
	}
	if got := status("https://was.example"); got != http.StatusOK {
		t.Errorf("after a faulty file: %d", got)
	}

	hangUp("serve:\n  connections-max: 40\n  origins: [https://is.example]\n  log-level: debug\n  gather: 5ms\n")
	got := next("reloaded").Changed
	want = []string{"origins: [https://was.example] to [https://is.example]", "connections-max: 50 to 40",
		"sessions-max: 100 to 80", "log-level: info to debug"}
	if !slices.Equal(got, want) {
		t.Errorf("changed %q, want %q", got, want)
	}
	if got := next("changed, but needs a restart").Flags; !slices.Equal(got, []string{"gather: 0s to 5ms"}) {
		t.Errorf("%q need a restart", got)
	}
	if was, is := status("https://was.example"), status("https://is.example"); was != 403 || is != 200 {
		t.Errorf("after the reload: %d and %d", was, is)
	}

	hangUp("serve:\n  connections-max: 40\n  origins: [https://is.example]\n  log-level: debug\n")
	if got := next("reloaded").Changed; len(got) > 0 {
		t.Errorf("changed %q", got)
	}

	hangUp("serve:\n  connections-max: 30\n  log-level: warn\n  gather: 6ms\n")
	if got := next("changed, but needs a restart").before; len(got) > 0 {
		t.Errorf("logged at the level warn: %q", got)
	}
}

// The flags with the tag reload are those that the server can change while it runs.
func TestReloadTagsAreTheServers(t *testing.T) {
	t.Parallel()
	others := map[string]string{ // a value that no flag has by default
		"addr": "127.0.0.1:1", "prefix": "/x", "sockjs-url": "/x.js", "base-url": "/x", "transports": "websocket",
		"origins": "https://x.example", "slow-consumer": "skip", "compress-level": "2", "reader-rate": "1M",
		"log-bytes-max": "33554432", "websocket": "false", "share-port": "true", "jsessionid": "true",
		"compress": "true", "trusted-proxies": "10.0.0.0/8", "proxy-protocol": "true",
		"memory-max": "12M",
	}
	notOfTheServer := []string{"cpu", "conformance", "log-level", "log-format"}
	discard := slog.New(slog.DiscardHandler)
	i, err := read([]string{"--addr=127.0.0.1:0"}, &streams{io.Discard, io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	c, err := i.check(&i.commands.Serve, discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range i.settings() {
		name := s.flag.Name
		if slices.Contains(notOfTheServer, name) || strings.HasPrefix(name, "admin-") ||
			strings.HasPrefix(name, "broker") || name == "pprof" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, err := server.New(c)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- srv.Run(ctx) }()
			defer func() { cancel(); <-ended }()
			<-srv.Ready()
			other, ok := others[name]
			if !ok && strings.ContainsAny(s.flag.Default, "smh") || name == "p99" || name == "gather" {
				other = "1234ms"
			} else if !ok {
				other = "12345"
			}
			args := []string{"--addr=127.0.0.1:0", "--" + name + "=" + other}
			if name == "proxy-protocol" {
				args = append(args, "--trusted-proxies=10.0.0.0/8")
			}
			next, err := read(args, &streams{io.Discard, io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			nc, err := next.check(&next.commands.Serve, discard)
			if err != nil {
				t.Fatal(err)
			}
			changed, needsRestart, err := srv.Reload(func(c *server.Config) { *c = nc })
			if reload := s.flag.Tag.Has("reload"); err != nil || reload != (len(changed) > 0) ||
				reload != (len(needsRestart) == 0) {
				t.Errorf("reload is %v; changed %v, needs a restart %v, %v", reload, changed, needsRestart, err)
			}
		})
	}
}

func TestDefaultsFillInOnceOnly(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	i, err := read(nil, &streams{&out, &out})
	if err != nil {
		t.Fatal(err)
	}
	s := &i.commands.Serve
	c, err := i.check(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if all := i.filledSettings(s, c); all["connections-max"].value != c.ConnectionsMax || s.ConnectionsMax != 0 {
		t.Errorf("%v is in force, and the flag says %d", all["connections-max"].value, s.ConnectionsMax)
	}
}
