package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeConfig is a configuration file with a text.
func writeConfig(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sockloop.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// All faults are named at once, each with its place, whatever they are faults of.
func TestCheckNamesAllFaults(t *testing.T) {
	file := writeConfig(t, `serve:
  addr: "8080"
  conections-max: 10
  heartbeat-delay: soon
  close-timeout: 3s
  close-timeout: 4s
  origins: [https://a.example, b.example]
  log-level: {a: b}
  cpu: 999
  memory-max: 1X
sreve: {}
`)
	t.Setenv("SOCKLOOP_PONG_TIMEOUT", "late")
	t.Setenv("SOCKLOOP_PUBLISH_RATE", "-2")
	t.Setenv("SOCKLOOP_ADDR", "") // is looked at, and wins over the file
	var out bytes.Buffer
	err := run([]string{"check", "--config", file, "--fast", "--drain-window=x", "--slow-consumer", "ask", "--prefix=a",
		"--admin-addr=0.0.0.0:1", "--broker=ftp://x",
		"--message-bytes-maxx=1"}, &out, &out)
	if err == nil {
		t.Fatal("no fault")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{
		"unknown flag --fast",
		`unknown flag --message-bytes-maxx, did you mean "--message-bytes-max"?`,
		"--drain-window: expected duration",
		`--slow-consumer: want one of "close","skip", not "ask"`,
		"SOCKLOOP_PONG_TIMEOUT: expected duration",
		file + `:3: "conections-max" under serve, which is no flag (did you mean connections-max?)`,
		file + ":6: close-timeout is there twice, first in line 5",
		file + ":8: log-level: want a value",
		file + `:11: "sreve" is no command`,
		file + ":4: heartbeat-delay: expected duration",
		file + `:10: memory-max: "1X" is no size`,
		file + ":9: cpu: no CPU of the set 999 is there",
		"--admin-addr 0.0.0.0:1 is no loopback address",
		"--broker: broker URL: want nats://",
		"--prefix: prefix \"a\": want a path",
		file + `:7: origins: origin "b.example"`,
		"SOCKLOOP_PUBLISH_RATE: PublishRate is -2",
	}
	for _, w := range want {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, w) }) {
			t.Errorf("no %q", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d faults, want %d:\n%s", len(got), len(want), err)
	}
}

func TestCheckIsContent(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "serve:\n", "serve:\n  prefix: \"\"\n  origins: []\n  cpu:\n"} {
		var out bytes.Buffer
		err := run([]string{"check", "--config", writeConfig(t, text)}, &out, &out)
		if err != nil || out.String() != "ok\n" {
			t.Errorf("%q: %v %q", text, err, out.String())
		}
	}
}

func TestFileMustBeFlags(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"- a\n": ":1: want flags under the name of a command", "serve: [a]\n": ":1: want flags and their values",
		"serve:\n  origins: [[a]]\n": ":2: origins: want a value", "serve: {a\n": "yaml: line 1",
	} {
		var out bytes.Buffer
		err := run([]string{"check", "--config", writeConfig(t, text)}, &out, &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// Each value says where it comes from: a flag wins over the environment, that over the file, that over the default.
func TestConfigPrintsSources(t *testing.T) {
	file := writeConfig(t, `serve:
  addr: 127.0.0.1:1
  memory-max: 1073741824
  pong-timeout: 7s
  origins: [https://a.example, https://b.example]
  base-url: https://joe:hidden@cdn.example/x
  websocket: false
  gather: off
  connections-max: 100
`)
	t.Setenv("SOCKLOOP_CONFIG", file)
	t.Setenv("SOCKLOOP_ADDR", "127.0.0.1:2")
	t.Setenv("SOCKLOOP_PONG_TIMEOUT", "8s")
	var out bytes.Buffer
	t.Setenv("SOCKLOOP_BROKER", "nats://a:hidden@one,nats://hidden@two,tls://three:4222")
	if err := run([]string{"config", "--addr", "127.0.0.1:3"}, &out, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"addr: 127.0.0.1:3 # flag", "pong-timeout: 8s # environment SOCKLOOP_PONG_TIMEOUT",
		"memory-max: 1G # " + file + ":3",
		"base-url: https://xxxxx@cdn.example/x # " + file + ":6", "websocket: false # " + file + ":7",
		"broker: nats://xxxxx@one,nats://xxxxx@two,tls://three:4222 # environment SOCKLOOP_BROKER",
		"gather: \"off\" # " + file + ":8", "sessions-max: 200 # default", "close-timeout: 3s # default",
		"origins: ['https://a.example', 'https://b.example'] # " + file + ":5", "log-level: info # default",
	} {
		if !strings.Contains(out.String(), "\n  "+want+"\n") {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "hidden") {
		t.Error("a password is shown")
	}
}

// What config prints can be given to --config, and is the same again.
func TestConfigCanBeFedBack(t *testing.T) {
	t.Parallel()
	var first, second bytes.Buffer
	args := []string{"config", "--connections-max=50", "--gather=off", "--no-websocket", "--origins=https://a.example",
		"--publish-bytes=100K", "--reader-rate=0", "--conformance", "--log-level=debug"}
	if err := run(args, &first, &first); err != nil {
		t.Fatal(err)
	}
	file := writeConfig(t, first.String())
	if err := run([]string{"config", "--config", file, "--json"}, &second, &second); err != nil {
		t.Fatal(err)
	}
	var got map[string]map[string]struct {
		Value  any
		Source string
	}
	if err := json.Unmarshal(second.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"connections-max": 50.0, "gather": "off", "websocket": false, "origins": []any{"https://a.example"},
		"publish-bytes": "100K", "reader-rate": "0", "response-limit": 4096.0, "log-level": "debug",
		"conformance": true,
	} {
		is := got["serve"][name]
		a, _ := json.Marshal(is.Value)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) || !strings.HasPrefix(is.Source, file+":") {
			t.Errorf("%s is %s of %s, want %s of the file", name, a, is.Source, b)
		}
	}
}

// A misspelt variable is warned of, and a fault for check.
func TestStrayVariables(t *testing.T) {
	t.Setenv("SOCKLOOP_MEMRY_MAX", "1G")
	t.Setenv("SOCKLOOP_MEMORY_MAX", "1G")
	var out, log bytes.Buffer
	err := run([]string{"check"}, &out, &log)
	if err == nil || !strings.Contains(err.Error(), "no flag's: SOCKLOOP_MEMRY_MAX;") {
		t.Errorf("check says %v", err)
	}
}
