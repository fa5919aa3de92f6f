package tuning

import (
	"os"

	"golang.org/x/sys/unix"
)

// RaiseDescriptors lifts the soft limit of open files to the hard one and returns it. (Go lifts it too, but only for
// programs that import os, and it puts the old one back for children; saying it keeps it true.)
func RaiseDescriptors() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	if l.Cur < l.Max {
		l.Cur = l.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
			return 0, os.NewSyscallError("setrlimit", err)
		}
	}
	return int(min(l.Cur, 1<<30)), nil
}
