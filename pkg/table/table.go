package table

import (
	"iter"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// Table is one version of a dataset in memory. It is immutable: its methods may be called from any number of
// goroutines.
type Table struct {
	seed uint64
	// shift is 64 minus the number of leading bits of a hash that select a partition.
	shift uint8
	// partitions is the directory. An entry is never nil; several entries may be the same partition.
	partitions []*partition
	version    uint64
	state      dataset.Checksum
	bytes      int64
	payload    int64
	// huge is what huge pages were asked for, by the versions before too; nil if none were.
	huge *hugePages
	// patched says that the table was made by a delta.
	patched bool
}

// tableBytes is the size of a table without what it points to.
const tableBytes = int64(unsafe.Sizeof(Table{}))

// Get returns the value of the record with the given key, and whether there is one.
//
// The value aliases the table's memory. It must not be modified, has no spare capacity, and stays valid for as long
// as it is held; it then keeps the slab or patch that it lies in (about 256 KiB) alive, also when the table is gone. The
// value of a record with an empty value is not nil.
func (t *Table) Get(key []byte) (value []byte, ok bool) { return t.get(key) }

// GetString is [Table.Get] for a key that is a string.
func (t *Table) GetString(key string) (value []byte, ok bool) {
	return t.get(unsafe.Slice(unsafe.StringData(key), len(key)))
}

// get is Get. It has all of a lookup in one function but the hash; see probe.go for why.
func (t *Table) get(key []byte) (value []byte, ok bool) {
	hash := dataset.Hash(t.seed, key)
	p := t.partitions[hash>>(t.shift&63)]
	prefetch(p.guess(hash))
	for s, tag, limit := p.find(hash); ; s = s.next() {
		off := s.load()
		if off == 0 {
			return nil, false
		}
		if off ^= tag; off >= limit {
			continue
		}
		if len(key) > maxShortKey {
			if value, ok := p.matchLong(off, key); ok {
				return value, true
			}
			continue
		}
		r := p.record(off)
		if head, n := r.header(); r.keyLen() == len(key) && equal(r.bytes(head, len(key)), key) {
			return r.bytes(head+len(key), n), true
		}
	}
}

// Len returns the number of records.
func (t *Table) Len() int { return int(t.state.Records) }

// Bytes returns the memory that the table occupies. What it shares with other versions counts for each.
func (t *Table) Bytes() int64 { return t.bytes }

// PayloadBytes returns the sum of the lengths of all keys and values.
func (t *Table) PayloadBytes() int64 { return t.payload }

// Version returns the version that was given to [Load] or [Apply].
func (t *Table) Version() uint64 { return t.version }

// State returns the state checksum of the records.
func (t *Table) State() dataset.Checksum { return t.state }

// Seed returns the seed of the dataset's hash.
func (t *Table) Seed() uint64 { return t.seed }

// All returns an iterator over keys and values in the order of (hash, key). Both alias the table's memory; see
// [Table.Get].
func (t *Table) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		c := t.cursor(0, len(t.partitions))
		for c.next() {
			if !yield(c.record.Key, c.record.Value) {
				return
			}
		}
	}
}

// dirBits returns the number of leading bits of a hash that select an entry of the directory.
func (t *Table) dirBits() uint8 { return 64 - t.shift }

// extent returns the range of directory entries, from first to before end, that entry i shares its partition with.
func (t *Table) extent(i int) (first, end int) {
	p := t.partitions[i]
	if p.records == 0 {
		return i, i + 1 // the empty partition also stands for ranges that are far apart
	}
	n := 1 << (t.dirBits() - p.bits)
	first = i &^ (n - 1)
	return first, first + n
}

// assemble makes a table of verified partitions, numbered as in the snapshot with header h.
func assemble(h snapshot.Header, built []numbered, sum snapshot.Tally, version uint64) *Table {
	// At least one bit, so that a lookup's shift is below 64, which is an instruction less.
	dirBits := max(h.Bits, 1)
	t := &Table{
		seed: h.Seed, shift: 64 - dirBits, partitions: make([]*partition, 1<<dirBits),
		version: version, state: sum.State, payload: int64(sum.PayloadBytes),
	}
	for _, b := range built {
		t.bytes += b.partition.bytes()
		first := b.number << (dirBits - h.Bits)
		for i := range 1 << (dirBits - h.Bits) {
			t.partitions[first+i] = b.partition
		}
	}
	empty := emptyPartition()
	for i, p := range t.partitions {
		if p == nil {
			t.partitions[i] = empty
		}
	}
	t.bytes += tableBytes + int64(len(t.partitions))*bits.UintSize/8
	return t
}
