package tuning

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// CPUTime is what CPUs did since the machine started.
type CPUTime struct {
	Busy   time.Duration // for processes
	Idle   time.Duration // with nothing to do, or waiting for a disk
	Stolen time.Duration // the hypervisor ran somebody else when they had work
}

// ClockTick is the unit of the times in /proc: USER_HZ is 100 on every architecture that Go runs on.
const ClockTick = time.Second / 100

// Time reads what the CPUs of the set did (/proc/stat, proc_stat(5)), in ticks of 10 ms.
func (c CPUs) Time() (CPUTime, error) {
	p, err := os.ReadFile("/proc/stat")
	if err != nil {
		return CPUTime{}, err
	}
	return c.timeIn(string(p))
}

func (c CPUs) timeIn(stat string) (sum CPUTime, err error) {
	lines := map[string][]string{}
	for line := range strings.Lines(stat) {
		if f := strings.Fields(line); len(f) > 8 && strings.HasPrefix(f[0], "cpu") {
			lines[f[0]] = f[1:]
		}
	}
	for _, n := range c {
		f, ok := lines["cpu"+strconv.Itoa(n)]
		if !ok {
			return sum, fmt.Errorf("/proc/stat has no line for CPU %d", n)
		}
		// user, nice, system, idle, iowait, irq, softirq, steal
		for i, s := range f[:8] {
			ticks, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return sum, fmt.Errorf("/proc/stat, CPU %d: %w", n, err)
			}
			switch i {
			case 3, 4:
				sum.Idle += time.Duration(ticks) * ClockTick
			case 5, 6: // interrupts: of whom nobody knows, and many kernels do not charge them to a process either
			case 7:
				sum.Stolen += time.Duration(ticks) * ClockTick
			default:
				sum.Busy += time.Duration(ticks) * ClockTick
			}
		}
	}
	return sum, nil
}
