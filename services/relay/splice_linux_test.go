package relay_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// withoutSplice is a variable that makes the system refuse splice(2) to the test binary.
const withoutSplice = "RELAY_TEST_WITHOUT_SPLICE"

// refuseSplice makes splice(2) fail with EPERM in all threads of this process, as some sandboxes do, but not vmsplice(2).
func refuseSplice() error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_SPLICE},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if _, err := unix.Splice(-1, nil, -1, nil, 1, 0); err != unix.EPERM { //nolint:errorlint // a bare errno
		return fmt.Errorf("splice is not refused: %w", err)
	}
	return nil
}

// Large objects arrive whole where the system refuses splice and not vmsplice.
func TestObjectsWhereSpliceIsRefused(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestStormOnAnObjectAboveTheBudget$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), withoutSplice+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
