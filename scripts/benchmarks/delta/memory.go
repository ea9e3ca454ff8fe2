package delta

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"freshet.dev/pkg/table"
	"freshet.dev/scripts/benchmarks/internal/proc"
)

// memory is what refreshes cost in a process of their own, in bytes of resident memory.
type memory struct {
	Before int64 // with the table and the delta's bytes, without garbage
	Table  int64 // what the table says that it occupies
	// Growth is the peak during a refresh beyond what was resident right before it; of several, the most.
	Growth int64
	// Peak is the most that there was at any time, After what remained without garbage.
	Peak, After int64
	// Replaced is what the new table does not share with the old one; of several refreshes, the most.
	Replaced int64
	// TableAfter and Payload are what the last table says, Median and Slowest nanoseconds of a refresh.
	TableAfter, Payload, Median, Slowest int64
}

// measureMemory applies deltas one after the other, as an instance does that is up to date all the time: with a
// [table.Reclaimer], and otherwise with the collector as it is.
func measureMemory(ctx context.Context, base file, deltas []file) (memory, error) {
	var served atomic.Pointer[table.Table]
	t, err := base.loadFile(ctx)
	if err != nil {
		return memory{}, err
	}
	m := memory{Table: t.Bytes()}
	served.Swap(t)
	t = nil
	var files [][]byte
	for _, f := range deltas {
		b, err := os.ReadFile(f.Path)
		if err != nil {
			return memory{}, err
		}
		files = append(files, b)
	}
	if m.Before, err = proc.Settle(); err != nil {
		return memory{}, err
	}
	var reclaimer table.Reclaimer
	var took []int64
	for i, f := range deltas {
		var replaced int64
		growth, ns, err := measureOne(func() error {
			next, changes, err := f.apply(ctx, served.Load(), bytes.NewReader(files[i]))
			if err == nil {
				served.Swap(next)
				replaced = changes.Replaced()
			}
			return err
		})
		if err != nil {
			return memory{}, err
		}
		m.Growth, took = max(m.Growth, growth), append(took, ns)
		if reclaimer.Replaced(replaced, served.Load().Bytes()) {
			runtime.GC()
		}
		m.Replaced = max(m.Replaced, replaced)
		peak, err := proc.PeakResident()
		if err != nil {
			return memory{}, err
		}
		m.Peak = max(m.Peak, peak)
	}
	m.Median, m.Slowest = proc.Median(took), slices.Max(took)
	if m.After, err = proc.Settle(); err != nil {
		return memory{}, err
	}
	m.TableAfter, m.Payload = served.Load().Bytes(), served.Load().PayloadBytes()
	runtime.KeepAlive(files)
	return m, nil
}

// measureOne returns by how much f made resident memory grow at its peak, and how long it took.
func measureOne(f func() error) (growth, nanoseconds int64, err error) {
	if err := proc.ResetPeak(); err != nil {
		return 0, 0, err
	}
	before, err := proc.Resident()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return 0, 0, err
	}
	took := time.Since(start)
	peak, err := proc.PeakResident()
	return peak - before, int64(took), err
}
