package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sockloop/sockloop/loadclient/results"
	"github.com/sockloop/sockloop/tuning"
)

// small are flags that are quick, on the CPUs that there are.
func small(t *testing.T) flags {
	t.Helper()
	allowed, err := tuning.Allowed()
	if err != nil {
		t.Fatal(err)
	}
	return flags{
		Connections: []int{1, 5}, Bytes: []int{16, 256 << 10}, Window: 50 * time.Millisecond,
		CPU: allowed[0], ReaderCPU: allowed[len(allowed)-1],
	}
}

// A line for each pair, whose figures agree with each other; that every byte arrived is checked by measure itself.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(&out, small(t)); err != nil {
		t.Fatal(err)
	}
	var got []results.Wall
	for d := json.NewDecoder(&out); d.More(); {
		var r results.Wall
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != 4 {
		t.Fatalf("%d lines, want 4", len(got))
	}
	for i, want := range [][2]int{{1, 16}, {1, 256 << 10}, {5, 16}, {5, 256 << 10}} {
		r := got[i]
		if r.Connections != want[0] || r.Bytes != want[1] || r.Window < 0.05 || r.SendsRate <= 0 || r.CPU <= 0 ||
			r.BytesRate > r.SendsRate*float64(r.Bytes)*1.001 || r.CongestionControl == "" {
			t.Errorf("%+v", r)
		}
	}
}

// Rounds are sent at their rate, and not faster.
func TestRounds(t *testing.T) {
	f := small(t)
	f.Connections, f.Bytes, f.Rounds, f.Window = []int{5}, []int{26}, 1000, 100*time.Millisecond
	var out bytes.Buffer
	if err := run(&out, f); err != nil {
		t.Fatal(err)
	}
	var r results.Wall
	err := json.Unmarshal(out.Bytes(), &r)
	if err != nil || r.Rounds != 1000 || r.SendsRate <= 0 || r.SendsRate > 7000 {
		t.Errorf("%+v %v, want 5000 sends a second", r, err)
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	first := count{at: at, bytes: 100, sends: 10, full: 1, cpu: time.Second}
	last := count{at: at.Add(2 * time.Second), bytes: 4100, sends: 20, full: 4, cpu: 2 * time.Second}
	want := results.Wall{
		Connections: 25, Bytes: 400, Window: 2, BytesRate: 2000, SendsRate: 5, Full: 3, CPU: 1, BytesPerCPU: 4000,
		CPUPerSend: 1e8, ReaderCPU: 3,
	}
	if got := summary(25, 400, first, last, count{cpu: 3 * time.Second}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestFlagsThatAreWrong(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(f *flags){
		"--connections 0": func(f *flags) { f.Connections = []int{0} },
		"--bytes 0":       func(f *flags) { f.Bytes = []int{0} },
		"--rounds -1":     func(f *flags) { f.Rounds = -1 },
		"--window":        func(f *flags) { f.Window = 0 },
		"no CPU":          func(f *flags) { f.ReaderCPU = 1023 },
		"descriptors":     func(f *flags) { f.Connections = []int{1 << 30} },
	} {
		f := small(t)
		change(&f)
		if err := run(&bytes.Buffer{}, f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
