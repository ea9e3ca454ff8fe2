// Package proc runs measurements in child processes and reads a process's memory from the kernel. With separate processes, a
// measurement does not affect the next one.
package proc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
)

// Child runs this program again with args and decodes its JSON output into result.
func Child(ctx context.Context, result any, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run %q: %w", args, err)
	}
	if err := json.Unmarshal(out, result); err != nil {
		return fmt.Errorf("read the result of %q: %w", args, err)
	}
	return nil
}

// Resident returns the resident memory of this process in bytes.
func Resident() (int64, error) { return status("self", "VmRSS:") }

// ResidentOf returns the resident memory of the process in bytes.
func ResidentOf(pid int) (int64, error) { return status(strconv.Itoa(pid), "VmRSS:") }

// PeakResident returns the peak of this process's resident memory in bytes.
func PeakResident() (int64, error) { return status("self", "VmHWM:") }

// ResetPeak resets the peak to the current resident memory.
func ResetPeak() error {
	// proc(5): writing 5 resets the peak of resident memory.
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// Settle collects garbage and returns free memory to the system. It returns the remaining resident memory.
func Settle() (int64, error) {
	runtime.GC()
	debug.FreeOSMemory()
	return Resident()
}

// PeakResidentOf returns the peak of another process's resident memory in bytes.
func PeakResidentOf(pid int) (int64, error) { return status(strconv.Itoa(pid), "VmHWM:") }

// status reads a field of /proc/PID/status, a size in KiB. Only Linux has the file.
func status(process, field string) (int64, error) {
	file := "/proc/" + process + "/status"
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == field {
			kib, err := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, field)
}
