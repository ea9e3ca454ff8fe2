package table

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"unsafe"
)

// Reclaimer has the collector free what replaced tables leave behind, in time for the refreshes after it to use that
// memory again. The collector by itself runs when the heap has doubled. It finds so little to do in tables that it can
// run much sooner: without a Reclaimer, a process of one table of 10 M records that is refreshed by deltas of 1 % grows
// to two and a half times the table.
//
// Its zero value is ready for use, by any number of goroutines. One is enough for a process.
type Reclaimer struct {
	mu     sync.Mutex
	bytes  int64  // replaced since the last collection
	cycles uint64 // collections there were when bytes was counted
}

const (
	// reclaimShare is the part of the live heap that may be replaced before it is collected. The heap counts whole,
	// with all that is not tables: a collection takes as long as that is large.
	reclaimShare = 20
	// reclaimLeast is replaced at least.
	reclaimLeast = 4 << 20
)

// Replaced says that a table was replaced, and how many bytes can be freed with that: [Changes.Replaced] or, if the new
// one was loaded, [Table.Bytes] of the old one. It runs a collection, beside readers, if that is worth it.
func (r *Reclaimer) Replaced(bytes int64) {
	if r.due(bytes) {
		runtime.GC()
	}
}

func (r *Reclaimer) due(bytes int64) bool {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(live)
	r.mu.Lock()
	defer r.mu.Unlock()
	if cycles := live[1].Value.Uint64(); cycles != r.cycles {
		r.bytes, r.cycles = 0, cycles // what was replaced before may be free by now
	}
	r.bytes += bytes
	if r.bytes < max(reclaimLeast, int64(live[0].Value.Uint64()/reclaimShare)) {
		return false
	}
	r.bytes = 0
	return true
}

// unshared returns the bytes of p that q, which was made of it, does not share.
func (p *partition) unshared(q *partition) int64 {
	if p.records == 0 {
		return 0
	}
	n := partitionBytes
	if unsafe.SliceData(p.slab) != unsafe.SliceData(q.slab) {
		n += int64(cap(p.slab))
	}
	if p.patch != q.patch {
		n += int64(p.patchCap)
	}
	backing := p.backed != 0
	for i := range indexPages {
		switch {
		case p.backed&(1<<i) == 0:
			if p.pages[i] != q.pages[i] {
				n += int64(p.pageBytes)
			}
		case p.pages[i] == q.pages[i]:
			backing = false // one page in use keeps the memory of all
		}
	}
	if backing {
		n += indexPages * 4 * int64(p.pageSlots())
	}
	return n
}
