// Package tuning is what a process may ask of its machine: the CPUs it runs on and who comes first there, descriptors,
// and a report of how the machine is set. Linux only.
package tuning

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CPUs is a set of CPU numbers in ascending order.
type CPUs []int

// cpuMax is the largest number a set can hold, that of unix.CPUSet.
const cpuMax = 1023

// ParseCPUs reads a set as taskset writes it: 0, 1-3, 0,2 or 0-1,4.
func ParseCPUs(s string) (CPUs, error) {
	var set CPUs
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.Atoi(low)
		to := from
		if err == nil && isRange {
			to, err = strconv.Atoi(high)
		}
		if err != nil || from < 0 || to < from || to > cpuMax {
			return nil, fmt.Errorf("CPU set %q: want numbers and ranges from 0 to %d, such as 0, 1-3 or 0,2", s, cpuMax)
		}
		for n := from; n <= to; n++ {
			set = append(set, n)
		}
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

// UnmarshalText lets a flag or a configuration hold a set.
func (c *CPUs) UnmarshalText(text []byte) error {
	set, err := ParseCPUs(string(text))
	if err == nil {
		*c = set
	}
	return err
}

// String writes the set the way ParseCPUs reads it.
func (c CPUs) String() string {
	var parts []string
	for i := 0; i < len(c); {
		j := i
		for j+1 < len(c) && c[j+1] == c[j]+1 {
			j++
		}
		part := strconv.Itoa(c[i])
		if j > i {
			part += "-" + strconv.Itoa(c[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// Allowed is the set of CPUs that this process may run on.
func Allowed() (CPUs, error) {
	var mask unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var set CPUs
	for n := range cpuMax + 1 {
		if mask.IsSet(n) {
			set = append(set, n)
		}
	}
	return set, nil
}

// Online is the set of CPUs that the machine runs on (/sys/devices/system/cpu/online, cputopology.rst), which may be
// more than this process may.
func Online() (CPUs, error) {
	p, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return nil, err
	}
	return ParseCPUs(strings.TrimSpace(string(p)))
}

// Cut splits the set in what the process may run on and what it may not. A set of which nothing is there is an error.
func (c CPUs) Cut(allowed CPUs) (here, missing CPUs, err error) {
	for _, n := range c {
		if slices.Contains(allowed, n) {
			here = append(here, n)
		} else {
			missing = append(missing, n)
		}
	}
	if len(here) == 0 {
		return nil, missing, fmt.Errorf("no CPU of the set %s is there: this process may run on %s", c, allowed)
	}
	return here, missing, nil
}

// Besides are the CPUs of the set that are no threads of a CPU's core, and so take nothing of its speed. If there are
// none, they are all but the CPU.
func (c CPUs) Besides(cpu int) CPUs {
	if others := (machine{root: "/"}).elsewhere(c, cpu); len(others) > 0 {
		return others
	}
	return c.without(CPUs{cpu})
}

// elsewhere are those of a set that are no threads of a CPU's core (thread_siblings_list, cputopology.rst).
func (m machine) elsewhere(set CPUs, cpu int) CPUs {
	core, err := ParseCPUs(m.read(fmt.Sprintf("sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu)))
	if err != nil { // it is not told
		core = nil
	}
	return set.without(append(core, cpu))
}

func (c CPUs) without(these CPUs) CPUs {
	return slices.DeleteFunc(slices.Clone(c), func(n int) bool { return slices.Contains(these, n) })
}

func (c CPUs) mask() *unix.CPUSet {
	var mask unix.CPUSet
	for _, n := range c {
		mask.Set(n)
	}
	return &mask
}

// PinThread keeps the calling goroutine's thread on the set; it must be locked to the thread.
func PinThread(set CPUs) error {
	return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, set.mask()))
}

// Start starts a program whose threads all stay on the set: a child inherits its parent thread's.
func Start(cmd *exec.Cmd, set CPUs) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := Allowed()
	if err != nil {
		return err
	}
	if err := PinThread(set); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), PinThread(before))
}

// PinProcess keeps every thread of the process on the set, and threads made later inherit it. GOMAXPROCS becomes one
// more than the set has CPUs: a loop that is locked to its thread never has to give up its place to a timer or a
// collection, the kernel shares the CPU between them.
func PinProcess(set CPUs) error {
	err := eachThread(func(id int) error {
		return os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(id, set.mask()))
	})
	if err == nil {
		runtime.GOMAXPROCS(len(set) + 1)
	}
	return err
}

// Pin keeps the process on those CPUs of the set that are there, and tells which they are and which are not; see Cut
// and PinProcess. An empty set changes nothing.
func Pin(set CPUs) (here, missing CPUs, err error) {
	if len(set) == 0 {
		return nil, nil, nil
	}
	allowed, err := Allowed()
	if err != nil {
		return nil, nil, err
	}
	here, missing, err = set.Cut(allowed)
	if err != nil {
		return nil, missing, err
	}
	return here, missing, PinProcess(here)
}
