package table

import (
	"runtime/metrics"
	"sync"
	"unsafe"
)

// Reclaimer tells when to run the collector to free what replaced tables leave behind, so that the refreshes after it use
// that memory again. The collector by itself runs when the heap has doubled. It finds so little to do in tables that it
// can run much sooner: a process of one table of 10 M records that is refreshed by deltas of 1 % otherwise grows to two
// and a half times the table.
//
// Its zero value is ready for use, by any number of goroutines. One is enough for a process.
type Reclaimer struct {
	mu     sync.Mutex
	bytes  int64  // replaced since the last collection
	cycles uint64 // collections there were when bytes was counted
}

const (
	// reclaimShare is the part of the live heap that may be replaced before it is collected.
	reclaimShare = 20
	// reclaimLeast is replaced at least.
	reclaimLeast = 4 << 20
)

// Replaced says that a table was replaced, how many bytes can be freed with that ([Changes.Replaced] or, if the new one
// was loaded, [Table.Bytes] of the old one), and how many all tables of the process have now. It reports whether a
// runtime.GC is worth its time: it is not while what is not tables has the larger part of the heap, because a collection
// takes as long as that is large.
func (r *Reclaimer) Replaced(bytes, tables int64) bool {
	now := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(now)
	live := int64(now[0].Value.Uint64())
	r.mu.Lock()
	defer r.mu.Unlock()
	if cycles := now[1].Value.Uint64(); cycles != r.cycles {
		r.bytes, r.cycles = 0, cycles // what was replaced before may be free by now
	}
	r.bytes += bytes
	// What was replaced is still among what lived at the last collection: after a load it is another table's worth.
	if tables+r.bytes < live/2 || r.bytes < max(reclaimLeast, live/reclaimShare) {
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
