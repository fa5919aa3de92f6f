package loadclient

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sockloop/sockloop/tuning"
)

// Usage is what the server's process used during a trial.
type Usage struct {
	CPU float64 `json:"cpu"`       // CPU seconds a second; 1 is one core
	RSS int64   `json:"rss_bytes"` // resident memory at the end
}

// ServerProbe reads a server's CPU time and memory from /proc. A nil probe reads nothing.
type ServerProbe struct{ pid int }

// NewServerProbe probes the process with a number.
func NewServerProbe(pid int) (*ServerProbe, error) {
	p := &ServerProbe{pid}
	if _, _, err := p.read(); err != nil {
		return nil, fmt.Errorf("server process %d: %w", pid, err)
	}
	return p, nil
}

type usageSample struct {
	at  time.Time
	cpu time.Duration
}

func (p *ServerProbe) sample() usageSample {
	if p == nil {
		return usageSample{}
	}
	cpu, _, _ := p.read()
	return usageSample{time.Now(), cpu}
}

// since is the usage since a sample; nil when the process cannot be read.
func (p *ServerProbe) since(s usageSample) *Usage {
	if p == nil {
		return nil
	}
	cpu, rss, err := p.read()
	if err != nil {
		return nil
	}
	return &Usage{CPU: (cpu - s.cpu).Seconds() / time.Since(s.at).Seconds(), RSS: rss}
}

func (p *ServerProbe) read() (cpu time.Duration, rss int64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0, 0, err
	}
	// The name, in brackets, may hold anything; what follows it are numbers from the third field on (proc(5)).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 22 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", p.pid, len(fields))
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return time.Duration(user+system) * tuning.ClockTick, pages * int64(os.Getpagesize()), nil
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
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		if list, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			set, err := tuning.ParseCPUs(strings.TrimSpace(list))
			if all, errAll := tuning.Online(); err == nil && errAll == nil && len(set) < len(all) {
				return set
			}
		}
	}
	return nil
}
