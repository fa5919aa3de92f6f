package loadclient

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"

	"github.com/sockloop/sockloop/internal/version"
	"github.com/sockloop/sockloop/tuning"
)

// ServerProbe reads a server's CPU time and memory from /proc. A nil probe reads nothing.
type ServerProbe struct {
	pid     int
	proc    procfs.Proc
	machine procfs.FS
}

// NewServerProbe probes the process with a number.
func NewServerProbe(pid int) (*ServerProbe, error) {
	machine, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	p := &ServerProbe{pid: pid, machine: machine}
	if p.proc, err = machine.Proc(pid); err == nil {
		_, err = p.cpu()
	}
	if err != nil {
		return nil, fmt.Errorf("server process %d: %w", pid, err)
	}
	return p, nil
}

// Version is that of the server's program, if Go built it and we may read it; empty otherwise.
func (p *ServerProbe) Version() string {
	if p == nil {
		return ""
	}
	v, err := version.Of(fmt.Sprintf("/proc/%d/exe", p.pid))
	if err != nil {
		return ""
	}
	return v
}

type usageSample struct {
	at  time.Time
	cpu time.Duration
}

func (p *ServerProbe) sample() usageSample {
	if p == nil {
		return usageSample{}
	}
	cpu, _ := p.cpu()
	return usageSample{time.Now(), cpu}
}

// since is the usage since a sample; nil when the process cannot be read.
func (p *ServerProbe) since(s usageSample) *Usage {
	if p == nil {
		return nil
	}
	cpu, err := p.cpu()
	if err != nil {
		return nil
	}
	u := p.memory()
	if u != nil {
		u.CPU = (cpu - s.cpu).Seconds() / time.Since(s.at).Seconds()
	}
	return u
}

const (
	// quietCPU is the CPU that a server uses that has nothing to do, or hardly any.
	quietCPU  = 0.2
	quietTime = 250 * time.Millisecond
)

// atWork tells whether the server is busy, which takes quietTime to see. It is false if its process cannot be read or
// is this one, whose CPU is the client's own, or if ctx ends.
func (p *ServerProbe) atWork(ctx context.Context) bool {
	if p == nil || p.pid == os.Getpid() {
		return false
	}
	before := p.sample()
	if wait(ctx, quietTime) != nil {
		return false
	}
	used := p.since(before)
	return used != nil && used.CPU >= quietCPU
}

// memory is the usage now, without CPU time; nil when the process cannot be read.
func (p *ServerProbe) memory() *Usage {
	if p == nil {
		return nil
	}
	status, err := p.proc.NewStatus()
	if err != nil {
		return nil
	}
	return &Usage{
		RSS: int64(status.VmRSS), Anon: int64(status.RssAnon), File: int64(status.RssFile),
		KernelSockets: p.kernelSockets(),
	}
}

// cpu is the time that the process has used. It is reckoned here, because procfs gives seconds as a float.
func (p *ServerProbe) cpu() (time.Duration, error) {
	stat, err := p.proc.Stat()
	if err != nil {
		return 0, err
	}
	return time.Duration(stat.UTime+stat.STime) * tuning.ClockTick, nil
}

// kernelSockets is the memory of all TCP sockets in the network namespace, in bytes; 0 when it cannot be read. The
// kernel counts it in pages, and for IPv4 and IPv6 together (proc_pid_net(5), tcp_mem); it may be a mebibyte for each
// CPU too little or too much (net.core.mem_pcpu_rsv).
func (p *ServerProbe) kernelSockets() int64 {
	sockets, err := p.machine.NetSockstat()
	if err != nil {
		return 0
	}
	for _, protocol := range sockets.Protocols {
		if protocol.Protocol == "TCP" && protocol.Mem != nil {
			return int64(*protocol.Mem) * int64(os.Getpagesize())
		}
	}
	return 0
}

// CPU is the one that the process is pinned to, -1 if there is none or it may run on several.
func (p *ServerProbe) CPU() int {
	if set := p.pinned(); len(set) == 1 {
		return set[0]
	}
	return -1
}

// pinned is the set of CPUs that the process may run on, if that is not all of the machine's (proc_pid_status(5)).
func (p *ServerProbe) pinned() tuning.CPUs {
	if p == nil {
		return nil
	}
	status, err := p.proc.NewStatus()
	if err != nil {
		return nil
	}
	var set tuning.CPUs
	for _, cpu := range status.CpusAllowedList {
		set = append(set, int(cpu))
	}
	if all, err := tuning.Online(); err == nil && len(set) < len(all) {
		return set
	}
	return nil
}
