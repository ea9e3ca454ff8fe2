package spill

import (
	"encoding/binary"

	"freshet.dev/pkg/dataset"
)

// Run is a batch of records for a [Sorter]. One goroutine fills it.
type Run struct {
	seed   uint64
	data   []byte // spilled records, one after the other
	items  []item
	totals Totals
}

// item is the place of a spilled record, and its hash.
type item struct {
	hash    uint64
	segment uint32 // which of the byte slices being sorted
	at      uint32 // where in it the record begins
}

// itemBytes is the size of an item in memory.
const itemBytes = 16

// Totals sums up records.
type Totals struct {
	// RawBytes is the sum of the encoded lengths of the records, PayloadBytes that of their keys and values.
	RawBytes, PayloadBytes int64
	// State is the state checksum of those that are no removals. It counts a duplicate key each time.
	State dataset.Checksum
	// Removals is how many removals there are.
	Removals uint64
}

// Entries returns the number of records and removals.
func (t Totals) Entries() uint64 { return t.State.Records + t.Removals }

func (t *Totals) add(o Totals) {
	t.RawBytes += o.RawBytes
	t.PayloadBytes += o.PayloadBytes
	t.State.Merge(o.State)
	t.Removals += o.Removals
}

// Append copies a record, which must pass [dataset.Record.Check], into the run. The line is its line in the input.
func (r *Run) Append(line int, key, value []byte) {
	encoded := r.append(line, dataset.Record{Key: key, Value: value})
	r.totals.State.Add(r.seed, r.data[encoded:])
	r.totals.PayloadBytes += int64(len(key) + len(value))
}

// Remove is Append for the removal of the record with the given key.
func (r *Run) Remove(line int, key []byte) {
	r.append(line, dataset.Record{Key: key, Removed: true})
	r.totals.PayloadBytes += int64(len(key))
	r.totals.Removals++
}

// append returns where in r.data the record's encoding begins.
func (r *Run) append(line int, rec dataset.Record) (encoded int) {
	at := len(r.data)
	r.items = append(r.items, item{hash: dataset.Hash(r.seed, rec.Key), at: uint32(at)})
	r.data = binary.AppendUvarint(r.data, uint64(line))
	encoded = len(r.data)
	r.data = dataset.AppendRecord(r.data, rec)
	r.totals.RawBytes += int64(len(r.data) - encoded)
	return encoded
}

// Bytes returns the length of the appended records.
func (r *Run) Bytes() int { return len(r.data) }

func (r *Run) memory() int64 { return int64(cap(r.data)) + int64(cap(r.items))*itemBytes }

func (r *Run) reset() { r.data, r.items, r.totals = r.data[:0], r.items[:0], Totals{} }

// decode splits the spilled record that b begins with. The error is dataset.ErrEncoding.
func decode(b []byte) (line int, rec dataset.Record, n int, err error) {
	l, skip := binary.Uvarint(b)
	if skip <= 0 {
		return 0, dataset.Record{}, 0, dataset.ErrEncoding
	}
	rec, n, err = dataset.DecodeRecord(b[skip:])
	return int(l), rec, skip + n, err
}
