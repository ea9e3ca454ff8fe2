package patch

import (
	"context"
	"iter"
	"math/bits"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

const (
	// batchRecords and batchBytes bound the records of one Lookup, and with that their memory. A batch
	// reads each block once; the block between two batches is read twice.
	batchRecords = 1024
	batchBytes   = 8 << 20
)

// editor applies entries to the sums of a version.
type editor struct {
	counts  Counts
	rec     dataset.VersionRecord // its State and PayloadBytes
	changes *tape.Tape            // gets the entries that change a record
	buf     []byte
}

// edit looks up the patch's entries in the version of e, which c leads to, and applies them.
func (p *Patch) edit(ctx context.Context, c versions.Chain, e *editor) error {
	before := e.rec
	for batch, err := range p.batches() {
		if err == nil {
			err = p.History.Blocks.Lookup(ctx, before, c, batch)
		}
		if err != nil {
			return err
		}
		for i := range batch {
			if err := e.apply(&batch[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply applies one entry that Lookup has answered.
func (e *editor) apply(q *versions.Query) error {
	var op snapshot.Op
	switch {
	case q.Removed && !q.Exists:
		e.counts.Missing++
		return nil
	case q.Equal:
		e.counts.Unchanged++
		return nil
	case q.Removed:
		op = snapshot.Removed
	case q.Exists:
		op = snapshot.Changed
	default:
		op = snapshot.Added
	}
	build.Count(&e.counts.Changes, op)
	if q.Exists {
		e.rec.State = subtract(e.rec.State, q.Sum)
		e.rec.PayloadBytes -= q.Payload
	}
	if !q.Removed {
		e.buf = dataset.AppendRecord(e.buf[:0], q.Record)
		e.rec.State.Add(uint64(e.rec.Seed), e.buf)
		e.rec.PayloadBytes += uint64(len(q.Key) + len(q.Value))
	}
	return e.changes.Add(q.Record)
}

// subtract returns the checksum of the records of c without those of part, which are all in c.
func subtract(c, part dataset.Checksum) dataset.Checksum {
	lo, borrow := bits.Sub64(c.Lo, part.Lo, 0)
	hi, _ := bits.Sub64(c.Hi, part.Hi, borrow)
	return dataset.Checksum{Records: c.Records - part.Records, Hi: hi, Lo: lo}
}

// clone returns a copy of r.
func clone(r dataset.Record) dataset.Record {
	data := append(slices.Clone(r.Key), r.Value...)
	return dataset.Record{Key: data[:len(r.Key):len(r.Key)], Value: data[len(r.Key):], Removed: r.Removed}
}

// batches yields the entries in batches of bounded size. A batch is valid until the next.
func (p *Patch) batches() iter.Seq2[[]versions.Query, error] {
	return func(yield func([]versions.Query, error) bool) {
		var batch []versions.Query
		size := 0
		for r, err := range p.entries.Records() {
			if err != nil {
				yield(nil, err)
				return
			}
			batch = append(batch, versions.Query{Record: clone(r), Hash: dataset.Hash(p.Seed, r.Key)})
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
