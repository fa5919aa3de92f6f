package tuning

import (
	"fmt"
	"os"
	"path/filepath"
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

// cgroupMemory is the least memory.max from the process's cgroup up to the root (cgroup v2). A container often sees its
// own as the root.
func cgroupMemory(self, root string) (int, error) {
	content, err := os.ReadFile(self)
	if err != nil {
		return 0, err
	}
	_, path, ok := strings.Cut(strings.TrimSpace(string(content)), "0::")
	if !ok {
		return 0, fmt.Errorf("%s: no cgroup of version 2", self)
	}
	path, _, _ = strings.Cut(path, "\n")
	least := -1
	for at := filepath.Clean("/" + path); ; at = filepath.Dir(at) {
		if n, err := readLimit(filepath.Join(root, at, "memory.max")); err == nil && (least < 0 || n < least) {
			least = n
		}
		if at == "/" {
			break
		}
	}
	if least < 0 {
		return 0, fmt.Errorf("%s: no limit", path)
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
