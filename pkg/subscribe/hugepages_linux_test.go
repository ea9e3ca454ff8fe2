package subscribe_test

import (
	"os"

	"golang.org/x/sys/unix"
)

// withoutHugePages turns off huge pages for this process: the kernel refills a partly freed one some seconds or minutes later, with
// memory that the process has returned.
func withoutHugePages() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0))
}
