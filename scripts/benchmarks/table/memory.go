package table

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"freshet.dev/scripts/benchmarks/internal/proc"
)

// memory is the cost of an alternative in its own process.
type memory struct {
	// Resident and Heap are the bytes added by building the alternative.
	Resident, Heap int64
	// Collection is the median time of runtime.GC(), in nanoseconds.
	Collection int64
}

// measureMemory builds the alternative with the name. With "" it builds none and measures the collection of an empty process.
func measureMemory(ctx context.Context, name string, f files) (memory, error) {
	resident, heap, err := settled()
	if err != nil {
		return memory{}, err
	}
	var a alternative
	if name != "" {
		if a, err = build(ctx, name, f); err != nil {
			return memory{}, err
		}
	}
	residentAfter, heapAfter, err := settled()
	if err != nil {
		return memory{}, err
	}
	var collections []int64
	for range 9 {
		start := time.Now()
		runtime.GC()
		collections = append(collections, int64(time.Since(start)))
	}
	runtime.KeepAlive(a)
	return memory{residentAfter - resident, heapAfter - heap, proc.Median(collections)}, nil
}

// settled returns resident and heap bytes after a collection.
func settled() (resident, heap int64, err error) {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	resident, err = proc.Resident()
	return resident, int64(m.HeapAlloc), err
}
