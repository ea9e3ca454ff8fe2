package table

import (
	"iter"
	"math/bits"
	"unsafe"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// Table is one version of a dataset in memory. It is immutable and safe for concurrent use.
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
	// huge records the huge pages that this version and earlier ones have requested; nil if they have requested none.
	huge *hugePages
	// patched is true for a table built by Apply.
	patched bool
}

// tableBytes is the size of the struct Table alone.
const tableBytes = int64(unsafe.Sizeof(Table{}))

// Get returns the value of the record with the given key. ok reports whether there is such a record.
//
// The value aliases the table's memory. It must not be modified, and has no spare capacity. It never changes, and keeps
// its slab or patch (about 256 KiB) alive, also after the table has been replaced. An empty value is not nil.
func (t *Table) Get(key []byte) (value []byte, ok bool) { return t.get(key) }

// GetString is [Table.Get] for a string key.
func (t *Table) GetString(key string) (value []byte, ok bool) {
	return t.get(unsafe.Slice(unsafe.StringData(key), len(key)))
}

// get implements Get. The whole lookup except for the hash is one function; probe.go explains why.
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

// Record returns the record with the given key. Key and value alias the table's memory; see [Table.Get].
func (t *Table) Record(key []byte) (r dataset.Record, ok bool) { return t.lookup(key) }

// Len returns the number of records.
func (t *Table) Len() int { return int(t.state.Records) }

// Bytes returns the memory of the table. It includes memory that the table shares with other versions.
func (t *Table) Bytes() int64 { return t.bytes }

// PayloadBytes returns the sum of the lengths of all keys and values.
func (t *Table) PayloadBytes() int64 { return t.payload }

// Version returns the version from the [Config] of Load or Apply.
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

// extent returns the range [first, end) of the directory entries with the partition of entry i.
func (t *Table) extent(i int) (first, end int) {
	p := t.partitions[i]
	if p.records == 0 {
		return i, i + 1 // ranges that are far apart share the empty partition
	}
	n := 1 << (t.dirBits() - p.bits)
	first = i &^ (n - 1)
	return first, first + n
}

// assemble returns a table of verified partitions, with the numbers of the snapshot with header h.
func assemble(h snapshot.Header, built []numbered, sum snapshot.Tally, version uint64) *Table {
	// At least one bit, so that a lookup's shift is below 64, which saves an instruction.
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
