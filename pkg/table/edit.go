package table

import (
	"bytes"
	"cmp"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/dataset"
)

// editor makes new partitions. It is used by one goroutine for one partition after the other.
type editor struct {
	*applier
	edited edited

	// The partition being edited: draft is what it becomes, own has a bit for each page of its index that is not that of
	// the one before, and added holds the records that are still to be given memory, whose offsets begin at start.
	draft   partition
	own     uint8
	added   []byte
	start   int
	touched bool

	refs []ref // of a merge
}

// edit makes new partitions for those that es, entries in order, belong to.
func (e *editor) edit(es []entry) error {
	warm := 0 // how many of es the memory has been asked for
	for len(es) > 0 {
		i := int(es[0].hash >> e.base.shift)
		first, end := e.base.extent(i)
		n := 1
		for n < len(es) && int(es[n].hash>>e.base.shift) < end {
			n++
		}
		if warm < n {
			warm = min(len(es), n+batch)
			e.warm(es[:warm])
		}
		warm -= n
		p := e.base.partitions[i]
		by, err := e.partition(p, es[:n])
		if err != nil {
			return err
		}
		es = es[n:]
		if len(by) == 1 && by[0] == p {
			continue
		}
		e.edited.partitions = append(e.edited.partitions, replaced{first, end, by})
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

// warm asks for the memory of the records that es have the keys of, as GetMany does.
func (e *editor) warm(es []entry) {
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

// partition returns what p becomes by its entries.
func (e *editor) partition(p *partition, es []entry) ([]*partition, error) {
	upserted := 0
	for i := range es {
		if !e.removal(&es[i]) {
			upserted += es[i].size
		}
	}
	how := e.assess(p, len(es), upserted)
	if how != merge {
		before := e.edited
		if q := e.change(p, es, how == compact); q != nil {
			return []*partition{q}, nil
		}
		e.edited = before
	}
	return e.merge(p, es)
}

// change returns what p becomes by its entries, with their records in its patch or, if compact is true, with all its
// records in a new slab. It returns nil if the index has no room for that.
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
		if !e.enter(&es[i]) {
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

// enter makes the change of x to the draft. It returns false if the index has no room for that.
func (e *editor) enter(x *entry) bool {
	q := &e.draft
	encoded := e.encoded(x)
	r, _ := decode(encoded)
	at := q.place(x.hash)
	slot, was, wasEncoded := e.search(at, r.Key)
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
	e.forget(was, wasEncoded)
	if !r.Removed {
		e.edited.payload += int64(len(r.Key) + len(r.Value))
		if bytes.Equal(encoded, wasEncoded) {
			return true
		}
		e.page(at.page)[slot] = at.tag | e.append(encoded)
	} else {
		e.remove(at.page, slot)
		q.records--
	}
	q.dead += uint32(len(wasEncoded))
	e.touched = true
	return true
}

// forget takes the record was from the totals.
func (e *editor) forget(was dataset.Record, encoded []byte) {
	e.edited.state.Remove(e.base.seed, encoded)
	e.edited.payload -= int64(len(was.Key) + len(was.Value))
}

// append keeps a record for the draft and returns its offset plus 1.
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

// search returns the slot in its page of the record with the given key, and the record; -1 if there is none.
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

// ownAll makes all pages the draft's own: one allocation is faster than several, and better when all are used up at the
// same time.
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

// insert puts a record, which is not there yet, into the index in its order. It returns false if there is no room.
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

// remove takes the slot out of its page: those after it that are not in their home move up.
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
