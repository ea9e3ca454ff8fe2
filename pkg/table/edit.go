package table

import (
	"bytes"
	"cmp"
	"context"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/lane"
)

// An edit yields about every yieldEntries entries. Copying rebuildRecords records takes as long as an entry.
const (
	yieldEntries   = 128
	rebuildRecords = 16
)

// editor edits partitions, one after the other. An editor is for one goroutine.
type editor struct {
	*applier
	ctx    context.Context // of the worker, for its lane
	edited edited
	// unyielded is about how many records were edited since the last yield.
	unyielded int

	// The current edit. draft is the new partition. own has a bit for each page of its index that is a copy. added holds new
	// records that slab and patch do not have yet; their offsets begin at start.
	draft   partition
	own     uint8
	added   []byte
	start   int
	touched bool

	refs []ref // of a merge
}

// edit edits the partitions of es, entries in order.
func (e *editor) edit(es []entry) error {
	prefetched := 0 // the number of es whose records have been prefetched
	for len(es) > 0 {
		i := int(es[0].hash >> e.base.shift)
		first, end := e.base.extent(i)
		n := 1
		for n < len(es) && int(es[n].hash>>e.base.shift) < end {
			n++
		}
		if prefetched < n {
			prefetched = min(len(es), n+batch)
			e.prefetchRecords(es[:prefetched])
		}
		prefetched -= n
		if e.unyielded += n; e.unyielded >= yieldEntries {
			lane.Yield(e.ctx)
			e.unyielded = 0
		}
		p := e.base.partitions[i]
		by, err := e.partition(p, es[:n])
		if err != nil {
			return err
		}
		es = es[n:]
		if len(by) == 1 && by[0] == p {
			continue
		}
		e.edited.replacements = append(e.edited.replacements, replacement{first, end, by})
		e.edited.bytes -= p.bytes()
		if len(by) == 1 {
			e.edited.unshared += p.unshared(by[0])
		} else {
			e.edited.unshared += p.bytes()
		}
		for _, q := range by {
			e.edited.bytes += q.bytes()
		}
	}
	return nil
}

// prefetchRecords prefetches the base's records with the keys of es, as GetMany does.
func (e *editor) prefetchRecords(es []entry) {
	for i := range es {
		s, _, _ := e.base.partitions[es[i].hash>>(e.base.shift&63)].find(es[i].hash)
		prefetch(s.at)
	}
	for i := range es {
		p := e.base.partitions[es[i].hash>>(e.base.shift&63)]
		for s, tag, limit := p.find(es[i].hash); s.load() != 0; s = s.next() {
			if off := s.load() ^ tag; off < limit {
				prefetchRecord(p.record(off).at)
				break
			}
		}
	}
}

// partition returns the partitions that replace p after its entries es.
func (e *editor) partition(p *partition, es []entry) ([]*partition, error) {
	upserted := 0 // bytes
	for i := range es {
		if !e.removal(&es[i]) {
			upserted += es[i].size
		}
	}
	choice := e.assess(p, len(es), upserted)
	if choice != patch {
		e.unyielded += int(p.records) / rebuildRecords
	}
	if choice != merge {
		before := e.edited
		if q := e.change(p, es, choice == compact); q != nil {
			return []*partition{q}, nil
		}
		e.edited = before
	}
	return e.merge(p, es)
}

// change returns p with the entries es applied, with new records in its patch or, if compact is true, with all its records
// in a new slab. It returns p itself if the entries change nothing, and nil if the index has no free slot.
func (e *editor) change(p *partition, es []entry, compact bool) *partition {
	e.draft, e.own, e.added, e.start, e.touched = *p, 0, e.added[:0], p.nextOffset(), false
	if compact {
		e.ownAll()
	} else {
		pages := uint8(0)
		for i := range es {
			pages |= 1 << (es[i].hash << (p.bits & 63) >> (64 - pageBits))
		}
		if bits.OnesCount8(pages) > indexPages/2 {
			e.ownAll()
		}
	}
	for i := range es {
		if !e.applyEntry(&es[i]) {
			return nil
		}
	}
	switch {
	case !e.touched:
		return p
	case e.draft.records == 0:
		return emptyPartition()
	case compact:
		e.compact()
	default:
		e.draft.appendPatch(e.added, e.hugeAll)
	}
	q := e.draft
	return &q
}

// applyEntry applies the entry x to the draft. It returns false if the index has no free slot.
func (e *editor) applyEntry(x *entry) bool {
	q := &e.draft
	encoded := e.encoded(x)
	r, _ := decode(encoded)
	at := q.place(x.hash)
	slot, old, oldEncoded := e.search(at, r.Key)
	if slot < 0 {
		if r.Removed {
			return true
		}
		if !e.insert(at, x.hash, r.Key, e.append(encoded)) {
			return false
		}
		q.records++
		e.touched = true
		e.edited.payload += int64(len(r.Key) + len(r.Value))
		return true
	}
	e.subtract(old, oldEncoded)
	if !r.Removed {
		e.edited.payload += int64(len(r.Key) + len(r.Value))
		if bytes.Equal(encoded, oldEncoded) {
			return true
		}
		e.page(at.page)[slot] = at.tag | e.append(encoded)
	} else {
		e.remove(at.page, slot)
		q.records--
	}
	q.dead += uint32(len(oldEncoded))
	e.touched = true
	return true
}

// subtract subtracts a record of the base from the totals.
func (e *editor) subtract(r dataset.Record, encoded []byte) {
	e.edited.state.Remove(e.base.seed, encoded)
	e.edited.payload -= int64(len(r.Key) + len(r.Value))
}

// append appends a record to added and returns its offset plus 1.
func (e *editor) append(encoded []byte) uint32 {
	e.added = append(e.added, encoded...)
	return uint32(e.start + len(e.added) - len(encoded) + 1)
}

// recordAt returns the record of a slot of the draft, and its encoding.
func (e *editor) recordAt(slot uint32) (dataset.Record, []byte) {
	off := slot & (1<<(e.draft.shift&31) - 1)
	if i := int(off) - 1; i >= e.start {
		return decode(e.added[i-e.start:])
	}
	return e.draft.decode(off)
}

// search returns the slot, in its page, of the record with the given key, and the record. The slot is -1 if there is no
// such record.
func (e *editor) search(at place, key []byte) (int, dataset.Record, []byte) {
	page := e.draft.page(at.page)
	for i := at.home; page[i] != 0; i++ {
		if page[i]^at.tag < 1<<(e.draft.shift&31) {
			if r, encoded := e.recordAt(page[i]); bytes.Equal(r.Key, key) {
				return i, r, encoded
			}
		}
	}
	return -1, dataset.Record{}, nil
}

// page returns page i of the draft's index, for writing.
func (e *editor) page(i int) []uint32 {
	page := e.draft.page(i)
	if e.own&(1<<i) == 0 {
		page = append([]uint32(nil), page...)
		e.draft.pages[i] = &page[0]
		e.draft.pageBytes = uint32(4 * cap(page))
		e.draft.backed &^= 1 << i
		e.own |= 1 << i
	}
	return page
}

// ownAll copies all pages at once: one allocation is faster than several, and better for pages that die together.
func (e *editor) ownAll() {
	n := e.draft.pageSlots()
	slots := make([]uint32, 0, indexPages*n)
	e.hugeAll.advise(unsafe.Pointer(unsafe.SliceData(slots)), 4*cap(slots))
	for i := range indexPages {
		slots = append(slots, e.draft.page(i)...)
	}
	e.draft.setPages(slots)
	e.own = 1<<indexPages - 1
}

// insert inserts a new record into the index, in order. It returns false if the page has no free slot.
func (e *editor) insert(at place, hash uint64, key []byte, offset uint32) bool {
	page := e.page(at.page)
	i := at.home
	for page[i] != 0 {
		r, _ := e.recordAt(page[i])
		if cmp.Or(cmp.Compare(dataset.Hash(e.base.seed, r.Key), hash), bytes.Compare(r.Key, key)) > 0 {
			break
		}
		i++
	}
	free := i
	for page[free] != 0 {
		free++
	}
	if free == len(page)-1 {
		return false
	}
	copy(page[i+1:free+1], page[i:free])
	page[i] = at.tag | offset
	return true
}

// remove closes the slot: the following slots that are not in their home move up.
func (e *editor) remove(number, slot int) {
	page := e.page(number)
	for ; page[slot+1] != 0; slot++ {
		r, _ := e.recordAt(page[slot+1])
		if e.draft.place(dataset.Hash(e.base.seed, r.Key)).home == slot+1 {
			break
		}
		page[slot] = page[slot+1]
	}
	page[slot] = 0
}
