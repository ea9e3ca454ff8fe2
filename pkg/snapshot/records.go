package snapshot

import (
	"io"
	"iter"

	"freshet.dev/pkg/dataset"
)

// Records returns the file's entries in order, including the removals of a delta. It yields records only from blocks with
// valid checksums; a record is valid until the next iteration. At the end, Records checks the footer and, in a
// snapshot, the state checksum: a consumer that must not act on part of a file waits for the end. Records yields an
// error once, last, with a zero record. The sequence is for a single use.
func (r *Reader) Records() iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		var stored, raw []byte
		var sum Tally
		for {
			s, err := r.Next(stored)
			if err == io.EOF {
				if err := r.Check(sum); err != nil {
					yield(dataset.Record{}, err)
				}
				return
			}
			if err == nil {
				stored = s.Bytes
				if need := s.RawBytes + DecodeSlack; cap(raw) < need {
					raw = make([]byte, 0, need+need/8) // blocks differ in size: do not grow for each
				}
				raw, err = s.Decode(raw)
			}
			if err != nil {
				yield(dataset.Record{}, err)
				return
			}
			w := s.Walk(raw)
			for w.Next() {
				if !yield(w.Record(), nil) {
					return
				}
			}
			if err := w.Err(); err != nil {
				yield(dataset.Record{}, err)
				return
			}
			sum.Merge(w.Tally())
		}
	}
}
