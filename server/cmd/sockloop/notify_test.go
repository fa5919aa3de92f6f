package main

import (
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// systemd is told when the server listens, while its loop answers, and when it begins to stop.
func TestNotify(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	for name, end := range map[string]func(*process) error{
		"signal": func(p *process) error { return p.Process.Signal(syscall.SIGTERM) },
		"admin plane": func(*process) error {
			resp, err := http.Post("http://"+addr+"/api/drain", "application/json", nil)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := "off"
			if name != "signal" {
				at = addr
			}
			testNotify(t, at, end)
		})
	}
}

func testNotify(t *testing.T, adminAddr string, end func(*process) error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = manager.Close() })
	if err := manager.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "NOTIFY_SOCKET="+path+" WATCHDOG_USEC=20000 ", build(t), "--admin-addr", adminAddr)
	told := func() string {
		t.Helper()
		buf := make([]byte, 256)
		n, err := manager.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := told(); got != "READY=1" {
		t.Fatalf("told %q first", got)
	}
	for range 3 {
		if got := told(); got != "WATCHDOG=1" {
			t.Fatalf("told %q, want the watchdog's", got)
		}
	}
	if err := end(p); err != nil {
		t.Fatal(err)
	}
	var got string
	for got = told(); got == "WATCHDOG=1"; got = told() {
	}
	if got != "STOPPING=1" {
		t.Errorf("told %q, want that it stops", got)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}
