package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
)

func TestBadInputIsOneLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string
		want string
		code int
	}{
		{"unknown flag", []string{"run", "--speed", "9"}, "unknown flag --speed", exitUsage},
		{"unknown command", []string{"fly"}, "unexpected argument fly", exitUsage},
		{"levels", []string{"run", "--levels", "some"}, "want quick, full, or numbers", exitUsage},
		{"protocol", []string{"run", "--protocol", "carrier-pigeon"}, "sockjs", exitUsage},
		{"target", []string{"run", "--target", "there"}, "want a URL such as ws://", exitUsage},
		{"no such CPU", []string{"run", "--cpus", "999"}, "no CPU of the set 999 is there: this process may run on",
			exitUsage},
		{"speed below none", []string{"run", "--work-us=-1", "--cpus", "0"}, "want a time in µs", exitUsage},
		{"speed that is none", []string{"run", "--work-us=NaN", "--cpus", "0"}, "want a time in µs", exitUsage},
		{"speed of no CPU", []string{"trial", "--work-us", "20"}, "and the --cpus that it was measured on", exitUsage},
		{"no CPU set", []string{"run", "--cpus", "few"}, "want numbers and ranges", exitUsage},
		{"descriptors", []string{"run", "--levels", "10000000"}, "raise it (ulimit -n", exitUsage},
		{"no such process", []string{"run", "--server-pid", "999999999"}, "server process 999999999", exitUsage},
		{"results", []string{"run", "--out", "/nonexistent/x"}, "results cannot be written", exitUsage},
		{"CSV", []string{"run", "--csv", "/nonexistent/x"}, "results cannot be written", exitUsage},
		{"precision", []string{"run", "--precision", "2"}, "want 0.001 to 1", exitUsage},
		{"profile", []string{"run", "--profile", "lazy"}, "quick", exitUsage},
		{"exact", []string{"run", "--profile", "classic-2011", "--window", "1s"}, "only --levels may be changed",
			exitUsage},
		{"thresholds", []string{"run", "--threshold", "2s"}, "the second longer than the first", exitUsage},
		{"confirm", []string{"run", "--confirm", "1s"}, "want at least the window", exitUsage},
		{"curve", []string{"run", "--curve", "0"}, "want shares", exitUsage},
		{"payload", []string{"run", "--payload-bytes", "1000000"}, "want 0 to", exitUsage},
		{"template", []string{"trial", "--payload", "{id}"}, "want {id} and {time}, each once", exitUsage},
		{"header", []string{"trial", "--header", "A, b: c"}, "want 'Name: value'", exitUsage},
		{"authority", []string{"trial", "--target", "wss://127.0.0.1:1/", "--ca", "/nonexistent"}, "no such file",
			exitUsage},
		{"room", []string{"trial", "--target", "ws://127.0.0.1:1/{room}"}, "give their size with --rooms", exitUsage},
		{"sample of TLS", []string{"trial", "--target", "wss://127.0.0.1:1/", "--verify", "sample"},
			"use --verify all, or a target without TLS", exitUsage},
		{"insecure without TLS", []string{"trial", "--insecure"}, "are for wss:// and https://", exitUsage},
		{"quiet and JSON", []string{"run", "--quiet", "--json"}, "can't be used together", exitUsage},
		{"metrics", []string{"run", "--prometheus", "/nonexistent/x"}, "results cannot be written", exitUsage},
		{"histograms", []string{"trial", "--hdr", "/nonexistent/x"}, "results cannot be written", exitUsage},
		{"no connections", []string{"idle", "--connections", "0"}, "want at least 1", exitUsage},
		{"connections a second", []string{"idle", "--rate=-1"}, "want connections a second", exitUsage},
		{"time to open", []string{"idle", "--timeout", "1m"}, "want a time up to 10s", exitUsage},
		{"payload of nothing", []string{"idle", "--payload", "{id}:{time}"}, "idle sends nothing", exitUsage},
		{"sample of nothing", []string{"idle", "--verify", "sample"}, "idle sends nothing", exitUsage},
		{"time to hold", []string{"idle", "--hold=-1s"}, "want a time", exitUsage},
		{"descriptors of a ramp", []string{"idle", "--connections", "10000000"}, "raise it (ulimit -n", exitUsage},
		{"full disk for histograms", []string{"trial", "--hdr", "/dev/full"}, "no space left on device", exitUsage},
		{"full disk", []string{"run", "--out", "/dev/full"}, "no space left on device", exitUsage},
		{"full disk for the table", []string{"run", "--csv", "/dev/full"}, "no space left on device", exitUsage},
		{"drain", []string{"run", "--drain", "0s"}, "want a time", exitUsage},
		{"a target as an argument", []string{"trial", "ws://127.0.0.1:1/x"},
			"did you mean --target ws://127.0.0.1:1/x? see sockload trial --help", exitUsage},
		{"no results", []string{"report", "/nonexistent"}, "no such file", exitUsage},
		{"window", []string{"trial", "--window", "1ms"}, "at least 100ms", exitUsage},
		{"nothing listens", []string{"run", "--target", "ws://127.0.0.1:1/broadcast", "--levels", "1"},
			"nothing listens on 127.0.0.1:1: start the server first", exitTarget},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, log bytes.Buffer
			err := run(context.Background(), tt.args, &out, &log)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v, want one line with %q", err, tt.want)
			}
			if got := exitCode(err); got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
		})
	}
	if exitCode(errInvalid) != exitInvalid {
		t.Error("an invalid measurement has another exit code")
	}
}

func TestTrialCommand(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"trial", "--target", r.URL(), "--connections", "3", "--rate", "300",
		"--window", "100ms", "--count", "2", "--json"}, &out, &log)
	if err != nil && !errors.Is(err, errInvalid) { // a machine that is busy with other tests may well be the limit
		t.Fatal(err)
	}
	d := json.NewDecoder(&out)
	for range 2 {
		var x results.Trial
		if err := d.Decode(&x); err != nil || x.Sent != 10 || x.Received != 30 {
			t.Errorf("%+v %v", x, err)
		}
	}
}

// A rate at which not all connections send is said.
func TestTrialOfFewMessagesSaysSo(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	for rate, says := range map[string]bool{"50": true, "500": false} {
		var out, log bytes.Buffer
		err := run(t.Context(), []string{"trial", "--target", r.URL(), "--connections", "5", "--rate", rate,
			"--window", "100ms", "--json"}, &out, &log)
		if err != nil && !errors.Is(err, errInvalid) {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "only 1 messages are sent, by as many of 5 connections"); got != says {
			t.Errorf("at %s/s: %q", rate, log.String())
		}
	}
}

// A server that loses messages fails the trial, which is printed all the same.
func TestTrialOfALossFails(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{LoseEvery: 10})
	defer r.Close()
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"trial", "--target", r.URL(), "--connections", "3", "--rate", "300",
		"--duration", "200ms", "--json"}, &out, &log)
	var x results.Trial
	if decoded := json.Unmarshal(out.Bytes(), &x); decoded != nil || exitCode(err) != exitTarget || x.Lost != 2 {
		t.Errorf("%v, %v: %+v", err, decoded, x)
	}
}

// A target that breaks ends the run with its exit code, and what was measured until then is in the file.
func TestRunKeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{CloseAfter: 100})
	defer r.Close()
	dir := t.TempDir()
	file, table := filepath.Join(dir, "results.jsonl"), filepath.Join(dir, "trials.csv")
	var out, log bytes.Buffer
	err := run(t.Context(), []string{"run", "--target", r.URL(), "--levels", "3", "--window", "100ms",
		"--threshold", "20ms", "--overload", "100ms", "--confirm", "100ms", "--curve", "0.5", "--precision", "1",
		"--drain", "300ms", "--out", file, "--csv", table}, &out, &log)
	if exitCode(err) != exitTarget {
		t.Fatalf("got %v\n%s", err, out.String())
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // only read from
	if records, err := results.Read(f); err != nil || len(records) == 0 || records[0].Machine == nil {
		t.Errorf("%d records, %v", len(records), err)
	}
	if p, err := os.ReadFile(table); err != nil || !strings.HasPrefix(string(p), "concurrency,") {
		t.Errorf("%q %v", p, err)
	}
}

// Targets that are no broadcast server, or not for long, end in a line that says so and in exit code 4.
func TestWrongTargets(t *testing.T) {
	t.Parallel()
	faulty := func(f room.Faults) string {
		r := room.New(f)
		t.Cleanup(r.Close)
		return r.URL()
	}
	// answering takes a connection, answers it with a text, and closes it.
	answering := func(text string) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, text)
					_ = c.Close()
				}()
			}
		}()
		return "ws://" + ln.Addr().String() + "/broadcast"
	}
	for _, tt := range []struct{ name, target, protocol, want string }{
		{"nothing listens", "ws://127.0.0.1:1/broadcast", "sockjs",
			"nothing listens on 127.0.0.1:1: start the server first"},
		{"wrong path", strings.Replace(faulty(room.Faults{}), "/broadcast", "/chat", 1), "sockjs",
			"answers 404 Not Found instead of opening a WebSocket"},
		{"wrong protocol", faulty(room.Faults{}), "socket.io", "is no packet of Engine.IO 4"},
		{"another protocol's messages", faulty(room.Faults{Garbage: "welcome"}), "sockjs", "is no SockJS frame"},
		{"no HTTP", answering("220 mail.example.org ESMTP\r\n"), "sockjs", "does not answer in HTTP"},
		{"a web page", answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), "sockjs",
			"answers 200 OK instead of opening a WebSocket"},
		{"closes at once", faulty(room.Faults{CloseAtOnce: true}), "sockjs", "closed the connection"},
		{"closes in the middle", faulty(room.Faults{CloseAfter: 300}), "sockjs", "the target failed"},
		{"stops answering in the middle", faulty(room.Faults{SilentAfter: 300}), "sockjs", "the target failed"},
		{"repeats", faulty(room.Faults{RepeatEvery: 10}), "sockjs", "duplicated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, log bytes.Buffer
			err := run(t.Context(), []string{"run", "--target", tt.target, "--protocol", tt.protocol, "--levels", "3",
				"--window", "100ms", "--threshold", "20ms", "--overload", "100ms", "--confirm", "100ms",
				"--drain", "200ms"}, &out, &log)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") ||
				exitCode(err) != exitTarget {
				t.Errorf("got %v with exit code %d, want one line with %q and %d", err, exitCode(err), tt.want,
					exitTarget)
			}
		})
	}
}

// results writes a result file of searches at 100 connections.
func resultFile(t *testing.T, rates ...float64) string {
	t.Helper()
	var b bytes.Buffer
	r := results.NewWriter(&b)
	for i, rate := range rates {
		made := results.Provenance{ClientVersion: "c", ServerVersion: "s", Block: i + 1}
		s := results.Saturation{
			Provenance: made, Connections: 100, Protocol: results.SockJS, Rate: rate, Limit: results.Overloaded,
		}
		if err := r.Write(results.Record{Saturation: &s}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "results.jsonl")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCompareCommand(t *testing.T) {
	t.Parallel()
	a, same := resultFile(t, 1e6, 1.1e6, 0.9e6, 1e6, 1e6), resultFile(t, 1.05e6, 1.05e6, 0.9e6, 1e6, 1e6)
	slow, few := resultFile(t, 0.8e6, 0.9e6, 0.7e6, 0.8e6, 0.8e6), resultFile(t, 0.8e6, 0.9e6, 0.7e6)
	old := filepath.Join(t.TempDir(), "old.jsonl")
	record := `{"saturation":{"connections":100,"protocol":"sockjs","saturation_rate":5e5,"limit":"OVERLOADED"}}`
	if err := os.WriteFile(old, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	notResults := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(notResults, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		out  string
		err  string
		code int
	}{
		{[]string{a, same}, "  connections  A/s nominal  B/s nominal  B/A median     interval    of  pairs\n" +
			"          100           1M           1M       1.000  0.955–1.050  94 %      5\n", "", 0},
		{[]string{a, slow}, "0.800  0.778–0.818", "B is slower than A", exitSlower},
		{[]string{a, slow, "--threshold", "0.5"}, "0.800", "", 0},
		{[]string{a, slow, "--json"}, `"connections":100,"pairs":[{"block":1,`, "B is slower", exitSlower},
		{[]string{a, few}, "0.800  0.778–0.818  75 %", "", 0},
		{[]string{a, old}, "", "record 1 does not say which versions", exitUsage},
		{[]string{old, old, "--allow-old"}, "1.000", "", 0},
		{[]string{a, old, "--allow-old"}, "", "measure A and B with one", exitUsage},
		{[]string{a, notResults}, "", "is no result file of sockload run --out", exitUsage},
		{[]string{a, "/nonexistent"}, "", "no such file", exitUsage},
		{[]string{a}, "", "expected \"<b>\"", exitUsage},
		{[]string{a, slow, "--threshold", "2"}, "", "want a share", exitUsage},
	} {
		var out, log bytes.Buffer
		err := run(t.Context(), append([]string{"compare"}, tt.args...), &out, &log)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) ||
			exitCode(err) != tt.code) {
			t.Errorf("%v: %v, want %q", tt.args[1:], err, tt.err)
		}
		if !strings.Contains(out.String(), tt.out) {
			t.Errorf("%v:\n%s\nwant\n%s", tt.args[1:], out.String(), tt.out)
		}
	}
}

// A run that is interrupted keeps the levels that it has, and the same command goes on with the others; when it is
// through, the same command is another run.
func TestInterruptedRunGoesOn(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	dir := t.TempDir()
	file, table := filepath.Join(dir, "results.jsonl"), filepath.Join(dir, "trials.csv")
	args := []string{"run", "--target", r.URL(), "--levels", "2,3", "--window", "100ms", "--threshold", "20ms",
		"--overload", "100ms", "--confirm", "100ms", "--curve", "0.5", "--precision", "1", "--drain", "300ms",
		"--out", file, "--csv", table}
	blocks := map[int]int{}
	searched := func() (levels []int, machines int) {
		t.Helper()
		records, err := results.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range records {
			if x.Saturation != nil {
				levels = append(levels, x.Saturation.Connections)
				blocks[len(levels)] = x.Saturation.Block
			}
			if x.Machine != nil {
				machines++
			}
		}
		return levels, machines
	}
	ctx, interrupt := context.WithCancel(t.Context())
	var log bytes.Buffer
	out := &watching{mark: "    2 connections: ", then: interrupt}
	if err := run(ctx, args, out, &log); !errors.Is(err, errInterrupted) {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if levels, machines := searched(); len(levels) != 1 || levels[0] != 2 || machines != 1 ||
		!strings.Contains(out.String(), "saturation/s nominal") {
		t.Fatalf("interrupted: levels %v, %d runs\n%s", levels, machines, out.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	made := []byte(`"client_version":"` + version.Own() + `"`)
	put := func(p []byte) {
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(bytes.ReplaceAll(text, made, []byte(`"client_version":"another"`)))
	err = run(t.Context(), args, &bytes.Buffer{}, &log)
	if err == nil || !strings.Contains(err.Error(), "the interrupted run was made by sockload another") {
		t.Fatalf("another version goes on: %v", err)
	}
	put(text)
	for i, want := range []int{2, 4} {
		log.Reset()
		if err := run(t.Context(), args, &bytes.Buffer{}, &log); err != nil && !errors.Is(err, errInvalid) {
			t.Fatal(err)
		}
		if levels, machines := searched(); len(levels) != want || levels[1] != 3 || machines != i+1 {
			t.Errorf("run %d: levels %v, %d runs", i+1, levels, machines)
		}
		if went := strings.Contains(log.String(), "going on with the run in"); went != (i == 0) {
			t.Errorf("run %d: %s", i+1, log.String())
		}
		p, err := os.ReadFile(table)
		if err != nil || strings.Count(string(p), "concurrency,") != 1 || i == 0 &&
			!strings.Contains(string(p), "\n2,") {
			t.Errorf("run %d: the table is %q %v", i+1, p, err)
		}
	}
	if blocks[1] != 1 || blocks[2] != 1 || blocks[3] != 2 || blocks[4] != 2 {
		t.Errorf("the blocks of the searches are %v", blocks)
	}
}

// watching is output that does something when a text appears in it.
type watching struct {
	bytes.Buffer
	mark string
	then func()
}

func (w *watching) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.mark) {
		w.then()
	}
	return n, err
}

func TestHelpAndDoctor(t *testing.T) {
	t.Parallel()
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &out, &log); err != nil ||
		!strings.Contains(out.String(), "calibrate") {
		t.Errorf("%v %s", err, out.String())
	}
	out.Reset()
	if err := run(t.Context(), []string{"doctor"}, &out, &log); err != nil ||
		!strings.Contains(out.String(), "open files") {
		t.Errorf("%v %s", err, out.String())
	}
}

// golden compares a text with that of a file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What a user sees in a pipe, word for word.
func TestConsoleLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := console{out: &out, err: &out}
	x := results.Trial{Connections: 2000, Nominal: 120e6, Delivered: 119.5e6, Verdict: results.OK,
		RTT: results.Latency{Mean: 21.234, P99: 50}, Server: &results.Usage{CPU: 0.991, RSS: 14_400_000}}
	s := results.Saturation{Connections: 2000, Rate: 168e6, Sustained: 150e6, MaxDelivered: 155e6,
		Ceiling: &results.Ceiling{Delivered: 250e6}, Best: &x, Limit: results.Overloaded}
	limited := s
	limited.Connections, limited.Limit, limited.Reason, limited.Warnings = 500, results.ClientLimited, "lag",
		[]string{"the machine was noisy"}
	c.begin([]time.Duration{time.Minute, time.Minute})
	c.level(1, 2000)
	x.Phase = results.PhaseConfirm
	c.trial(x)
	c.levelDone()
	c.done()
	c.saturation(s)
	c.saturation(limited)
	limited.Warnings = nil
	limited.Connections, limited.Limit, limited.Reason = 25, results.TargetFailed, "closed"
	c.saturation(limited)
	c.table([]results.Saturation{s, limited})
	c.ceiling(results.Ceiling{Connections: 25, Delivered: 990, Shape: results.Single})
	golden(t, "testdata/console.txt", out.String())
}

// --json prints what a file would hold, and how far the run is; --quiet only what was found.
func TestModesForScripts(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{})
	defer r.Close()
	args := []string{"run", "--target", r.URL(), "--levels", "2", "--window", "100ms", "--threshold", "20ms",
		"--overload", "100ms", "--confirm", "100ms", "--curve", "0.5", "--precision", "1", "--drain", "300ms"}
	var out, log bytes.Buffer
	if err := run(t.Context(), append(args, "--json"), &out, &log); err != nil && !errors.Is(err, errInvalid) {
		t.Fatal(err)
	}
	progress, trials, found := 0, 0, 0
	for d := json.NewDecoder(&out); ; {
		var x struct {
			results.Record
			Progress *results.Progress
		}
		if err := d.Decode(&x); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case x.Progress != nil:
			want := results.Progress{Level: 1, Levels: 1, Connections: 2, Left: x.Progress.Left}
			if *x.Progress != want || want.Left <= 0 {
				t.Errorf("%+v", *x.Progress)
			}
			progress++
		case x.Trial != nil:
			trials++
		case x.Saturation != nil:
			found += x.Saturation.Trials
		}
	}
	if progress != 1 || trials < 4 || found != trials {
		t.Errorf("%d lines of progress, %d trials, %d found", progress, trials, found)
	}
	out.Reset()
	if err := run(t.Context(), append(args, "--quiet"), &out, &log); err != nil && !errors.Is(err, errInvalid) {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 2 ||
		!strings.Contains(lines[0], "saturation/s nominal") || log.Len() > 0 {
		t.Errorf("%s%s", out.String(), log.String())
	}
}

// A run's results become a page.
func TestReportCommand(t *testing.T) {
	t.Parallel()
	file := resultFile(t, 1e6, 1.1e6)
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"report", file}, &out, &log); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(filepath.Dir(file), "report.html"))
	if err != nil || !bytes.Contains(page, []byte("2 saturation points")) ||
		!strings.Contains(log.String(), "report.html") {
		t.Errorf("%v %s", err, log.String())
	}
	empty := filepath.Join(t.TempDir(), "empty.jsonl")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{empty: "no search was finished",
		filepath.Dir(empty): "no search was finished", t.TempDir(): "has no result files"} {
		if err := run(t.Context(), []string{"report", path}, &out, &log); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := run(t.Context(), []string{"report", file, "--out", "/nonexistent/x.html"}, &out, &log); err == nil ||
		!strings.Contains(err.Error(), "cannot be written") {
		t.Error(err)
	}
}

// A level at which no rate held has a line in the table too.
func TestTableOfNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	(&console{out: &out}).table([]results.Saturation{{Connections: 25, Limit: results.Noisy}})
	if got := out.String(); !strings.Contains(got, "25") || !strings.Contains(got, "NOISY") {
		t.Errorf("%q", got)
	}
}
