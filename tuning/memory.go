package tuning

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory is how much memory the process may have, in bytes: the machine's, or less if a cgroup says so.
func Memory() (int, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, os.NewSyscallError("sysinfo", err)
	}
	total := int(info.Totalram) * int(info.Unit)
	if limit, err := cgroupMemory("/proc/self/cgroup", "/sys/fs/cgroup"); err == nil && limit < total {
		return limit, nil
	}
	return total, nil
}

// cgroupMemory is the least limit from the process's cgroup up to the root, in version 2 (memory.max) and in version 1
// (memory.limit_in_bytes), see cgroups(7). A container often sees its own cgroup as the root.
func cgroupMemory(self, root string) (int, error) {
	content, err := os.ReadFile(self)
	if err != nil {
		return 0, err
	}
	least := -1
	for line := range strings.Lines(string(content)) {
		_, of, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(of, ":")
		folder, file := root, "memory.max"
		if controllers != "" { // version 1
			if !slices.Contains(strings.Split(controllers, ","), "memory") {
				continue
			}
			folder, file = filepath.Join(root, "memory"), "memory.limit_in_bytes"
		}
		for at := filepath.Clean("/" + path); ; at = filepath.Dir(at) {
			if n, err := readLimit(filepath.Join(folder, at, file)); err == nil && (least < 0 || n < least) {
				least = n
			}
			if at == "/" {
				break
			}
		}
	}
	if least < 0 {
		return 0, fmt.Errorf("%s: no limit of memory", self)
	}
	return least, nil
}

func readLimit(file string) (int, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(content)))
}
