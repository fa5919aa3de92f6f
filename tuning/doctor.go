package tuning

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// Finding is one setting of the machine, and what to change if it is in the way.
type Finding struct {
	Name   string
	Value  string
	Advice string // empty: fine as it is
}

// Findings is a report on the machine.
type Findings []Finding

// Examine looks at everything that limits a server with many connections, or spoils a measurement. A setting that
// cannot be read is reported as unknown.
func Examine() Findings {
	m := machine{root: "/"}
	allowed, _ := Allowed() // nil is unknown
	return Findings{
		{Name: "kernel", Value: kernelRelease()},
		cpus(allowed),
		m.cores(allowed),
		m.descriptors(),
		m.somaxconn(),
		m.portRange(),
		m.socketMemory(),
		m.congestion(),
		m.governor(),
		m.steal(),
	}
}

// Print writes the report: a line a setting, and the advice below each that has one.
func (f Findings) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	advised := 0
	for _, x := range f {
		mark := "ok"
		if x.Advice != "" {
			mark, advised = "look", advised+1
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", mark, x.Name, x.Value, x.Advice)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d of %d settings deserve a look\n", advised, len(f))
	return err
}

// machine reads settings below a root, which in tests is a folder of files.
type machine struct{ root string }

func (m machine) read(path string) string {
	p, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(p))
}

const unknown = "unknown"

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return unknown
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

func cpus(allowed CPUs) Finding {
	f := Finding{Name: "CPUs", Value: cmp.Or(allowed.String(), unknown)}
	if len(allowed) == 1 {
		f.Advice = "one CPU is all there is: server and load client will share it, and no figure will mean anything"
	}
	return f
}

// cores says which CPUs are threads of one core. A virtual machine may not be told.
func (m machine) cores(allowed CPUs) Finding {
	f := Finding{Name: "cores", Value: unknown}
	var firsts CPUs // of each core
	for rest := allowed; len(rest) > 0; rest = m.elsewhere(rest, rest[0]) {
		firsts = append(firsts, rest[0])
	}
	switch len(firsts) {
	case 0:
	case len(allowed):
		f.Value = "one for each CPU, as far as can be seen"
	case 1:
		f.Value = fmt.Sprintf("one, its threads are CPUs %s", allowed)
		f.Advice = "whatever the load client does slows the server down, by half at most: trust ratios only"
	default:
		f.Value = fmt.Sprintf("%d, with %d CPUs", len(firsts), len(allowed))
		f.Advice = fmt.Sprintf("two busy threads of a core can have half of its speed each: "+
			"use one of each, CPUs %s", firsts)
	}
	return f
}

// descriptorsWanted carries the largest level of the benchmark ten times over.
const descriptorsWanted = 20_000

func (m machine) descriptors() Finding {
	f := Finding{Name: "open files", Value: unknown}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return f
	}
	f.Value = fmt.Sprintf("%d (hard limit %d)", l.Cur, l.Max)
	if l.Max < descriptorsWanted {
		f.Advice = fmt.Sprintf("a connection needs one: ulimit -n %d, or LimitNOFILE= in the systemd unit",
			descriptorsWanted)
	}
	return f
}

func (m machine) somaxconn() Finding {
	f := Finding{Name: "accept backlog", Value: unknown}
	n, err := strconv.Atoi(m.read("proc/sys/net/core/somaxconn"))
	if err != nil {
		return f
	}
	if f.Value = strconv.Itoa(n); n < 1024 {
		f.Advice = "many clients that connect at once wait a second or more: sysctl -w net.core.somaxconn=4096"
	}
	return f
}

func (m machine) portRange() Finding {
	f := Finding{Name: "client ports", Value: unknown}
	var from, to int
	if _, err := fmt.Sscan(m.read("proc/sys/net/ipv4/ip_local_port_range"), &from, &to); err != nil {
		return f
	}
	if f.Value = fmt.Sprintf("%d-%d", from, to); to-from < descriptorsWanted {
		f.Advice = "few connections from one address: sysctl -w net.ipv4.ip_local_port_range='10000 65535'"
	}
	return f
}

// congestion is TCP's congestion control. BBR (draft-ietf-ccwg-bbr) paces what it sends, on loopback too.
func (m machine) congestion() Finding {
	f := Finding{Name: "congestion control", Value: m.read("proc/sys/net/ipv4/tcp_congestion_control")}
	switch f.Value {
	case "":
		f.Value = unknown
	case "bbr":
		f.Advice = "it paces on loopback and fast networks too, where few connections carry much: " +
			"sysctl -w net.ipv4.tcp_congestion_control=cubic"
	}
	return f
}

// SteadyClocks are those of some CPUs whose clock does not follow their load: a virtual machine's, as far as it can
// see, and those with the governor performance.
func (c CPUs) SteadyClocks() CPUs { return machine{root: "/"}.steadyClocks(c) }

func (m machine) steadyClocks(of CPUs) (steady CPUs) {
	for _, cpu := range of {
		if g := m.scaling(cpu); g == "" || g == "performance" {
			steady = append(steady, cpu)
		}
	}
	return steady
}

// scaling is a CPU's frequency governor, empty if it has none.
func (m machine) scaling(cpu int) string {
	return m.read(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", cpu))
}

func (m machine) governor() Finding {
	f := Finding{Name: "CPU governor", Value: m.scaling(0)}
	switch f.Value {
	case "":
		f.Value = "not set here (a virtual machine leaves it to its host)"
	case "performance":
	default:
		f.Advice = "the clock follows the load, and so will the figures: cpupower frequency-set -g performance"
	}
	return f
}

// steal is the share of CPU time since boot that the hypervisor gave to others.
func (m machine) steal() Finding {
	f := Finding{Name: "stolen time", Value: unknown}
	line, _, _ := strings.Cut(m.read("proc/stat"), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 {
		return f
	}
	var total, stolen float64
	for i, s := range fields[1:9] {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return f
		}
		total += n
		if i == 7 {
			stolen = n
		}
	}
	if total == 0 {
		return f
	}
	if f.Value = fmt.Sprintf("%.1f %% since boot", 100*stolen/total); stolen/total > 0.02 {
		f.Advice = "other machines take CPU time from this one: repeat measurements, and trust ratios only"
	}
	return f
}
