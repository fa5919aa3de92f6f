package tuning

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is what a measurement depends on beside the programs.
type Machine struct {
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`

	CPUSet      string            `json:"cpu_set,omitempty"`     // that the process may run on
	Mitigations map[string]string `json:"mitigations,omitempty"` // of the processor's vulnerabilities, by name
	Sysctls     map[string]string `json:"sysctls,omitempty"`     // that matter to many connections
}

// Difference is the first thing in which another machine differs, with both values: what was measured on one is not
// compared with what was measured on the other. It is empty if there is none.
func (m *Machine) Difference(other Machine) (setting, is, others string) {
	type pair struct{ name, is, others string }
	pairs := []pair{
		{"cpu", m.CPU, other.CPU},
		{"cpus", strconv.Itoa(m.CPUs), strconv.Itoa(other.CPUs)},
		{"kernel", m.Kernel, other.Kernel},
		{"go", m.Go, other.Go},
	}
	for _, of := range []struct{ is, others map[string]string }{
		{m.Mitigations, other.Mitigations}, {m.Sysctls, other.Sysctls},
	} {
		names := slices.Concat(slices.Collect(maps.Keys(of.is)), slices.Collect(maps.Keys(of.others)))
		slices.Sort(names)
		for _, name := range names {
			pairs = append(pairs, pair{name, of.is[name], of.others[name]})
		}
	}
	for _, p := range pairs {
		if p.is != p.others {
			return p.name, p.is, p.others
		}
	}
	return "", "", ""
}

// sysctls are the settings below /proc/sys that a result depends on.
var sysctls = []string{
	"net/core/somaxconn", "net/core/rmem_max", "net/core/wmem_max", "net/core/busy_poll",
	"net/ipv4/tcp_mem", "net/ipv4/tcp_rmem", "net/ipv4/tcp_wmem", "net/ipv4/tcp_congestion_control",
	"net/ipv4/ip_local_port_range", "kernel/sched_autogroup_enabled",
}

// ThisMachine describes the machine that the process runs on.
func ThisMachine() Machine {
	m := Machine{
		CPU: cpuModel(), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Mitigations: mitigations(), Sysctls: settings("/proc/sys", sysctls),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if allowed, err := Allowed(); err == nil {
		m.CPUSet = allowed.String()
	}
	return m
}

// settings reads files, by name; what is not there is left out.
func settings(dir string, names []string) map[string]string {
	all := map[string]string{}
	for _, name := range names {
		if p, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			all[strings.ReplaceAll(name, "/", ".")] = strings.Join(strings.Fields(string(p)), " ")
		}
	}
	return all
}

const vulnerabilities = "/sys/devices/system/cpu/vulnerabilities"

func mitigations() map[string]string {
	entries, err := os.ReadDir(vulnerabilities)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	all := settings(vulnerabilities, names)
	for name, state := range all {
		if state == "Not affected" {
			delete(all, name)
		}
	}
	return all
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read from
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
