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

// memory is the cost of refreshes in their own process, in bytes of resident memory.
type memory struct {
	Before int64 // with the table and the delta's bytes, after a collection
	Table  int64 // the size that the table reports
	// Growth is the peak of resident memory during a refresh minus the value before the refresh; the maximum of several refreshes.
	Growth int64
	// Peak is the maximum of resident memory, After its value after a collection at the end.
	Peak, After int64
	// Replaced is the memory that the new table does not share with the old one; the maximum of several refreshes.
	Replaced int64
	// TableAfter and Payload are the sizes that the last table reports, Median and Slowest nanoseconds of a refresh.
	TableAfter, Payload, Median, Slowest int64
}

// measureMemory applies deltas one after the other, as an instance that is always up to date does: with a [table.Reclaimer] and the
// default settings of the collector.
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

// measureOne returns the peak growth of resident memory during f, and the duration of f.
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
