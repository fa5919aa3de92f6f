package tuning

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]CPUs{
		"0": {0}, "1-3": {1, 2, 3}, "0,2": {0, 2}, "3,0-1,1": {0, 1, 3}, " 1 , 2 ": {1, 2}, "1023": {1023},
	} {
		got, err := ParseCPUs(s)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v %v", s, got, err)
		}
		if again, err := ParseCPUs(got.String()); err != nil || !slices.Equal(again, want) {
			t.Errorf("%q is written as %q", s, got)
		}
	}
	for _, s := range []string{"", "a", "3-1", "-1", "1-", "0,,1", "1024", "0x1", "1 2"} {
		if got, err := ParseCPUs(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	here, missing, err := CPUs{1, 2, 3}.Cut(CPUs{0, 1})
	if err != nil || !slices.Equal(here, CPUs{1}) || !slices.Equal(missing, CPUs{2, 3}) {
		t.Errorf("%v %v %v", here, missing, err)
	}
	if _, _, err := (CPUs{7}).Cut(CPUs{0, 1}); err == nil || !strings.Contains(err.Error(), "may run on 0-1") {
		t.Errorf("got %v", err)
	}
}

// What this process may run on is a part of what there is.
func TestOnline(t *testing.T) {
	t.Parallel()
	all, err := Online()
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := Allowed()
	if _, missing, errCut := allowed.Cut(all); err != nil || errCut != nil || len(missing) > 0 {
		t.Errorf("%v of %v, %v %v", allowed, all, err, errCut)
	}
}

// Pinning is tried on a thread that ends with the test.
func TestPinThread(t *testing.T) {
	t.Parallel()
	allowed, err := Allowed()
	if err != nil || len(allowed) == 0 {
		t.Fatal(allowed, err)
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := PinThread(allowed[:1])
		if now, _ := Allowed(); err == nil && !slices.Equal(now, allowed[:1]) {
			t.Errorf("the thread runs on %v", now)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if now, err := Allowed(); err != nil || !slices.Equal(now, allowed) {
		t.Errorf("the others run on %v %v", now, err)
	}
}

func TestRaiseDescriptors(t *testing.T) {
	t.Parallel()
	n, err := RaiseDescriptors()
	if err != nil || n < 3 {
		t.Errorf("%d %v", n, err)
	}
}

// The program goes on after its pages are gone: they come back.
func TestReleaseStartupPages(t *testing.T) {
	t.Parallel()
	for range 3 {
		if err := ReleaseStartupPages(); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Repeat("x", 3); got != "xxx" {
		t.Error(got)
	}
}

// fake is a machine made of files.
func fake(t *testing.T, files map[string]string) machine {
	t.Helper()
	m := machine{root: t.TempDir()}
	for path, text := range files {
		path = filepath.Join(m.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestSteadyClocks(t *testing.T) {
	t.Parallel()
	m := fake(t, map[string]string{
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
		"sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
	})
	if got := m.steadyClocks(CPUs{0, 1, 2}); !slices.Equal(got, CPUs{1, 2}) {
		t.Errorf("%v", got)
	}
}

// Threads of one core take each other's speed: the doctor says so, and a load client stays off the server's core.
func TestThreadsOfOneCore(t *testing.T) {
	t.Parallel()
	core := func(cpus ...string) map[string]string {
		files := map[string]string{}
		for i, list := range cpus {
			files[fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i)] = list + "\n"
		}
		return files
	}
	for _, tt := range []struct {
		files            map[string]string
		allowed, besides CPUs   // CPU 0
		advice           string // a part of it
	}{
		{core("0,2", "1,3", "0,2", "1,3"), CPUs{0, 1, 2, 3}, CPUs{1, 3}, "CPUs 0-1"},
		{core("0-1", "0-1", "2-3", "2-3"), CPUs{0, 1, 2, 3}, CPUs{2, 3}, "CPUs 0,2"},
		{core("0-1", "0-1", "2-3", "2-3"), CPUs{0, 2}, CPUs{2}, ""},
		{core("0-1", "0-1"), CPUs{0, 1}, nil, "slows the server"},
		{core("0", "1"), CPUs{0, 1}, CPUs{1}, ""},
		{nil, CPUs{0, 1}, CPUs{1}, ""},
		{core("4"), CPUs{0}, nil, ""}, // not even itself
	} {
		m := fake(t, tt.files)
		f := m.cores(tt.allowed)
		if (f.Advice == "") != (tt.advice == "") || !strings.Contains(f.Advice, tt.advice) {
			t.Errorf("%v of %v: %+v", tt.allowed, tt.files, f)
		}
		if got := m.elsewhere(tt.allowed, 0); !slices.Equal(got, tt.besides) {
			t.Errorf("%v of %v: beside 0 are %v, want %v", tt.allowed, tt.files, got, tt.besides)
		}
	}
	if got := (CPUs{0}).Besides(0); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

func TestDoctorAdvises(t *testing.T) {
	t.Parallel()
	bad := fake(t, map[string]string{
		"proc/sys/net/core/somaxconn":                          "128\n",
		"proc/sys/net/ipv4/ip_local_port_range":                "32768\t40000\n",
		"proc/sys/net/ipv4/tcp_congestion_control":             "bbr\n",
		"proc/sys/net/ipv4/tcp_mem":                            "30000\t60000\t90000\n",
		"proc/stat":                                            "cpu 100 0 100 700 0 0 0 100 0 0\ncpu0 1\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
	})
	good := fake(t, map[string]string{
		"proc/sys/net/core/somaxconn":                          "4096\n",
		"proc/sys/net/ipv4/ip_local_port_range":                "10000 65535\n",
		"proc/sys/net/ipv4/tcp_congestion_control":             "cubic\n",
		"proc/sys/net/ipv4/tcp_mem":                            tcpMemoryWanted + "\n",
		"proc/stat":                                            "cpu 100 0 100 800 0 0 0 1 0 0\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
	})
	empty := fake(t, nil)
	for _, look := range []func(machine) Finding{
		machine.somaxconn, machine.portRange, machine.socketMemory, machine.congestion, machine.governor, machine.steal,
	} {
		if f := look(bad); f.Advice == "" || f.Value == "" {
			t.Errorf("nothing to say of %+v", f)
		}
		if f := look(good); f.Advice != "" {
			t.Errorf("%+v", f)
		}
		if f := look(empty); f.Advice != "" || f.Value == "" {
			t.Errorf("a machine that does not tell: %+v", f)
		}
	}
}

// Sockets that nobody reads from may have half of what TCP has without pressure.
func TestReceiveBuffer(t *testing.T) {
	t.Parallel()
	memory := fmt.Sprint((800<<20)/os.Getpagesize(), " 2000000 3000000\n")
	for _, tt := range []struct {
		memory, most  string
		sockets, want int
	}{
		{memory, "4194304", 2000, 800 << 20 / 8000},
		{memory, "4194304", 100, 2 << 20},
		{memory, "4194304", 25, 0}, // more than the kernel grants
		{memory, "212992", 500, 0},
		{memory, "4194304", 20_000, receiveBufferMin},
		{memory, "4194304", 0, 0},
		{"", "4194304", 2000, 0},
		{memory, "", 2000, 0},
	} {
		m := fake(t, map[string]string{"proc/sys/net/ipv4/tcp_mem": tt.memory, "proc/sys/net/core/rmem_max": tt.most})
		if got := m.receiveBuffer(tt.sockets); got != tt.want {
			t.Errorf("%d sockets, at most %q: %d, want %d", tt.sockets, tt.most, got, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	f := Findings{{Name: "a", Value: "1"}, {Name: "b", Value: "2", Advice: "make it 3"}}
	if err := f.Print(&b); err != nil {
		t.Fatal(err)
	}
	if want := "ok    a  1  \nlook  b  2  make it 3\n1 of 2 settings deserve a look\n"; b.String() != want {
		t.Errorf("got %q", b.String())
	}
	if len(Examine()) < 10 {
		t.Error("settings are missing")
	}
}
