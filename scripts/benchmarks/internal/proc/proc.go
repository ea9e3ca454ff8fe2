// Package proc runs measurements in child processes and reads what the kernel knows about a process's memory, so
// that what one measurement leaves behind does not count for the next.
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

// Child runs this program again with args and decodes the JSON that it prints into result.
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

// PeakResident returns the most resident memory that this process has had, in bytes.
func PeakResident() (int64, error) { return status("self", "VmHWM:") }

// ResetPeak makes what the process has now its peak.
func ResetPeak() error {
	// proc(5): writing 5 resets the peak of resident memory.
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

// Settle collects garbage and gives what is free back to the system. It returns the resident memory that is left.
func Settle() (int64, error) {
	runtime.GC()
	debug.FreeOSMemory()
	return Resident()
}

// PeakResidentOf returns the most resident memory that another process has had, in bytes.
func PeakResidentOf(pid int) (int64, error) { return status(strconv.Itoa(pid), "VmHWM:") }

// status reads a field of a process's status, which gives sizes in KiB. Only Linux has it.
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
