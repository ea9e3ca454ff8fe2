package table

import (
	"runtime/metrics"
	"sync"
)

// Reclaimer decides when to run the garbage collector to free the memory of replaced tables, so that later refreshes
// reuse it. The collector runs automatically only when the heap has doubled. Tables cost it so little that it can run
// much sooner: without a Reclaimer, a process with one table of 10 M records and deltas of 1 % grows to two and a half
// times the table.
//
// The zero value is ready for use, and safe for concurrent use. A process needs only one.
type Reclaimer struct {
	mu     sync.Mutex
	bytes  int64  // replaced since the last collection
	cycles uint64 // the number of collections at the last call of Replaced
}

const (
	// reclaimShare divides the live heap: a collection is due when a reclaimShare-th of the heap has been replaced.
	reclaimShare = 20
	// reclaimLeast is the least number of replaced bytes for a collection.
	reclaimLeast = 4 << 20
)

// Replaced records that a table was replaced. bytes is the memory that this makes free: [Changes.Replaced] or, if the new
// table was loaded, [Table.Bytes] of the old one. tables is the memory of all tables of the process now. Replaced reports
// whether the caller should run runtime.GC. It does not while other objects have the larger part of the heap, because
// the time of a collection depends on them.
func (r *Reclaimer) Replaced(bytes, tables int64) bool {
	now := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(now)
	live := int64(now[0].Value.Uint64())
	r.mu.Lock()
	defer r.mu.Unlock()
	if cycles := now[1].Value.Uint64(); cycles != r.cycles {
		r.bytes, r.cycles = 0, cycles // a collection since the last call may have freed those bytes
	}
	r.bytes += bytes
	// live still includes the replaced bytes: after a load they are the size of another table.
	if tables+r.bytes < live/2 || r.bytes < max(reclaimLeast, live/reclaimShare) {
		return false
	}
	r.bytes = 0
	return true
}
