// Package runqueue measures how long threads were ready to run and had no processor. A benchmark prints it with each measurement: without
// it a slow lookup may be the machine's fault.
package runqueue

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Wait is the time since its start that all threads of a process together waited for a processor. It does not count threads that have ended.
func Wait(pid int) (time.Duration, error) {
	sum, err := field(fmt.Sprintf("/proc/%d/task/*/schedstat", pid), 1)
	if err != nil {
		return 0, fmt.Errorf("read the run-queue wait of process %d: %w", pid, err)
	}
	return sum, nil
}

// Machine is the time since the boot in which at least one thread of the machine waited for a processor (pressure stall information); ok
// is false if the kernel does not count it.
func Machine() (d time.Duration, ok bool) {
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0, false
	}
	line, _, _ := bytes.Cut(text, []byte("\n")) // some avg10=... avg60=... avg300=... total=microseconds
	_, total, found := bytes.Cut(line, []byte("total="))
	us, err := strconv.ParseInt(string(bytes.TrimSpace(total)), 10, 64)
	return time.Duration(us) * time.Microsecond, found && err == nil
}

// CPU is the processor time of a process since its start, as the kernel counts it in ticks of 10 ms.
func CPU(pid int) (time.Duration, error) {
	const tick = 10 * time.Millisecond
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(text, []byte(") ")) // the name may have spaces
	f := bytes.Fields(after)
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	var sum int64
	for _, text := range f[11:13] { // utime and stime, the fields 14 and 15 of proc_pid_stat(5)
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// field sums up a field of nanoseconds over all files.
func field(pattern string, at int) (sum time.Duration, err error) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("there is no %s", pattern)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		f := bytes.Fields(text)
		if len(f) <= at {
			return 0, fmt.Errorf("%s has %d fields", file, len(f))
		}
		ns, err := strconv.ParseInt(string(f[at]), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
