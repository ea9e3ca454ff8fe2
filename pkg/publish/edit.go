package publish

import (
	"context"
	"iter"
	"math/bits"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

const (
	// batchRecords and batchBytes bound the records of a patch that are looked up together, and with that their memory. A batch
	// reads each block once; the block between two batches is read twice.
	batchRecords = 1024
	batchBytes   = 8 << 20
)

// edit applies entries to the sums of a version.
type edit struct {
	result  PatchResult
	rec     dataset.VersionRecord // its State and PayloadBytes
	changes *tape.Tape
	buf     []byte
}

// edit looks up the entries in the version of e, which c leads to, and has e take them.
func (p *Publisher) edit(ctx context.Context, seed uint64, c history.Chain, entries *tape.Tape, e *edit) error {
	newest := e.rec
	for batch, err := range batches(seed, entries) {
		if err == nil {
			err = p.history.Blocks.Lookup(ctx, newest, c, batch)
		}
		if err != nil {
			return err
		}
		for i := range batch {
			if err := e.take(&batch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// take applies one entry that was looked up.
func (e *edit) take(w *history.Query) error {
	var op snapshot.Op
	switch {
	case w.Removed && !w.Exists:
		e.result.Missing++
		return nil
	case w.Equal:
		e.result.Unchanged++
		return nil
	case w.Removed:
		op = snapshot.Removed
	case w.Exists:
		op = snapshot.Changed
	default:
		op = snapshot.Added
	}
	count(&e.result.Changes, op)
	if w.Exists {
		e.rec.State = without(e.rec.State, w.Sum)
		e.rec.PayloadBytes -= w.Payload
	}
	if !w.Removed {
		e.buf = dataset.AppendRecord(e.buf[:0], w.Record)
		e.rec.State.Add(uint64(e.rec.Seed), e.buf)
		e.rec.PayloadBytes += uint64(len(w.Key) + len(w.Value))
	}
	return e.changes.Add(w.Record)
}

// without takes the records of part, which are all in c, out of it.
func without(c, part dataset.Checksum) dataset.Checksum {
	lo, borrow := bits.Sub64(c.Lo, part.Lo, 0)
	hi, _ := bits.Sub64(c.Hi, part.Hi, borrow)
	return dataset.Checksum{Records: c.Records - part.Records, Hi: hi, Lo: lo}
}

// clone returns a copy of r.
func clone(r dataset.Record) dataset.Record {
	data := append(slices.Clone(r.Key), r.Value...)
	return dataset.Record{Key: data[:len(r.Key):len(r.Key)], Value: data[len(r.Key):], Removed: r.Removed}
}

// batches yields the entries in parts of bounded size. A part is valid until the next.
func batches(seed uint64, entries *tape.Tape) iter.Seq2[[]history.Query, error] {
	return func(yield func([]history.Query, error) bool) {
		var batch []history.Query
		size := 0
		for r, err := range entries.Records() {
			if err != nil {
				yield(nil, err)
				return
			}
			batch = append(batch, history.Query{Record: clone(r), Hash: dataset.Hash(seed, r.Key)})
			if size += len(r.Key) + len(r.Value); len(batch) == batchRecords || size >= batchBytes {
				if !yield(batch, nil) {
					return
				}
				batch, size = batch[:0], 0
			}
		}
		if len(batch) > 0 {
			yield(batch, nil)
		}
	}
}
