package tuning

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseStartupPages takes the program's own read-only pages out of the process's resident memory. Most of them were
// touched by initialization alone; what is needed comes back from the page cache with a minor fault each. Mappings of
// which a page was ever written are left alone (a dynamic linker writes to read-only data): that could not come back.
func ReleaseStartupPages() error {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read from
	var from, to uintptr
	var clean bool // the mapping is of a file and cannot be written to
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"):
			if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err != nil {
				return fmt.Errorf("/proc/self/smaps: %q: %w", lines.Text(), err)
			}
			clean = fields[4] != "0" && strings.HasPrefix(fields[1], "r-")
		case clean && len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0":
			if err := madvise(from, to-from); err != nil {
				return err
			}
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
