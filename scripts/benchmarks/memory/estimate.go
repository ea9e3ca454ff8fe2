package memory

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"freshet.dev/scripts/benchmarks/internal/markdown"
)

// The most bytes a record that a run needs. The service of the Go map has two maps during a reload, and the collector lets garbage as large
// as both grow.
const (
	serverBytes = 450
	mapBytes    = 1300
	diskBytes   = 300
)

// estimate prints what a run will take, and reports whether this machine has it.
func (b *bench) estimate(folder string, count int) (ok bool, err error) {
	memory, disk := int64(count)*max(serverBytes, mapBytes), int64(count)*diskBytes
	haveMemory, err := available()
	if err != nil {
		return false, err
	}
	haveDisk, err := free(folder)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(b.out, "%d records: at most %s MB of memory (freshet-server %s, the Go map %s, one after the other) and %s MB of disk; this machine has %s and %s MB free\n",
		count, markdown.MB(memory), markdown.MB(int64(count)*serverBytes), markdown.MB(int64(count)*mapBytes), markdown.MB(disk), markdown.MB(haveMemory), markdown.MB(haveDisk))
	if (memory > haveMemory || disk > haveDisk) && !b.force {
		fmt.Fprintf(b.out, "%d records are left out: they may not fit. -force measures them still.\n", count)
		return false, nil
	}
	return true, nil
}

// available returns the memory that processes may still take, as the kernel estimates it.
func available() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == "MemAvailable:" {
			kib, err := strconv.ParseInt(string(f[1]), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("/proc/meminfo has no MemAvailable")
}
