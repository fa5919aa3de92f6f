package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockloop/sockloop/loadclient/internal/room"
	"github.com/sockloop/sockloop/loadclient/results"
)

// What a ramp prints as JSON is what the file has, and a target that refuses is exit code 4.
func TestIdleCommand(t *testing.T) {
	t.Parallel()
	r := room.New(room.Faults{RefuseAfter: 5})
	defer r.Close()
	file := filepath.Join(t.TempDir(), "idle.jsonl")
	var out, notes bytes.Buffer
	err := run(t.Context(), []string{
		"idle", "--target", r.URL(), "--connections", "6", "--step", "4", "--hold", "1ms", "--json", "--out", file,
	}, &out, &notes)
	if exitCode(err) != exitTarget || !strings.Contains(err.Error(), "1 of 6 connections did not open") {
		t.Errorf("%v", err)
	}
	printed, err := results.Read(&out)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := results.ReadFile(file)
	if err != nil || len(kept) != 5 || len(printed) != 4 || kept[0].Machine == nil {
		t.Fatalf("%v %d %d", err, len(kept), len(printed))
	}
	for i, open := range []int{0, 4, 5} {
		if s := printed[i].Idle; s == nil || s.Connections != open || s.Step != i || s.ClientVersion == "" {
			t.Errorf("%+v", s)
		}
	}
	if h := kept[4].Hold; h == nil || h.Connections != 5 || h.ServerVersion == "" {
		t.Errorf("%+v", h)
	}
}

// What a user sees of a ramp, word for word.
func TestIdleLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := console{out: &out}
	refused := []results.Failure{{Reason: "full", Count: 7}, {Reason: "no answer in time", Count: 2}}
	c.line("%s\n", idleHead)
	for _, r := range []results.Record{
		{Idle: &results.IdleStep{Server: &results.Usage{Anon: 4_600_000, File: 4_100_000, KernelSockets: 300_000}}},
		{Idle: &results.IdleStep{
			Connections: 2991, Opened: 2993, Failed: 7, Lost: 2, Rate: 8912, Failures: refused,
			Handshake:     results.Latency{Mean: 3.4, P50: 2.9, P99: 9.26},
			Server:        &results.Usage{Anon: 10_000_000, File: 8_000_000},
			PerConnection: &results.ConnectionMemory{Anon: 1812, KernelSockets: -98},
		}},
		{Hold: &results.IdleHold{Connections: 2991, Hold: 2.04}},
		{Hold: &results.IdleHold{Connections: 2991, Hold: 10, Lost: 7, Failures: refused[:1]}},
	} {
		c.idle(r)
	}
	golden(t, "testdata/idle.txt", out.String())
}
