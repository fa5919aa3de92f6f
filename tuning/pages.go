package tuning

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseStartupPages takes the program's own read-only pages out of the process's resident memory. Most of them were
// touched by initialization alone; what is needed comes back from the page cache with a minor fault each. Go maps its
// text and constants privately and never writes to them, so nothing is lost.
func ReleaseStartupPages() error {
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer maps.Close() //nolint:errcheck // only read from
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uintptr
		var mode, offset, device string
		var inode uint64
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %d", &from, &to, &mode, &offset, &device, &inode); err != nil {
			return fmt.Errorf("/proc/self/maps: %q: %w", lines.Text(), err)
		}
		if inode == 0 || strings.Contains(mode, "w") || !strings.HasPrefix(mode, "r") {
			continue
		}
		if err := madvise(from, to-from); err != nil {
			return err
		}
	}
	return lines.Err()
}

func madvise(at, size uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, at, size, unix.MADV_DONTNEED); errno != 0 {
		return os.NewSyscallError("madvise", errno)
	}
	return nil
}
