package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// onSmallDisk calls test with a folder on its own file system, in memory and with the given size. Only root may mount it. Without root,
// onSmallDisk runs the test again in a process that is root in its own namespaces, and fails the test if the system does not allow that.
func onSmallDisk(t *testing.T, bytes int, test func(t *testing.T, folder string)) {
	t.Helper()
	folder := t.TempDir()
	err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+strconv.Itoa(bytes))
	if err == nil {
		t.Cleanup(func() {
			if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount the small disk: %v", err)
			}
		})
		test(t, folder)
		return
	}
	if !errors.Is(err, syscall.EPERM) || os.Getenv(namespaceMark) != "" {
		t.Fatalf("this test needs a small disk: mount a tmpfs on %s: %v", folder, err)
	}
	rows := filepath.Join(t.TempDir(), "rows")
	again := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), namespaceMark+"="+rows)
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, failed := again.CombinedOutput()
	t.Logf("in namespaces of its own:\n%s", out)
	if failed != nil {
		t.Fatalf("this test needs a small disk, so root, or leave to make user and mount namespaces (sysctl kernel.unprivileged_userns_clone, "+
			"user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns): mount a tmpfs: %v; in namespaces: %v", err, failed)
	}
	if err := table.read(rows); err != nil {
		t.Error(err)
	}
}

// fill writes a file to the folder until its disk is full. free removes the file.
func fill(t *testing.T, folder string) (free func()) {
	t.Helper()
	path := filepath.Join(folder, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; { // in ever smaller pieces, to the last byte
		_, err := f.Write(make([]byte, size))
		if errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(fmt.Errorf("make room on the disk: %w", err))
		}
	}
}
