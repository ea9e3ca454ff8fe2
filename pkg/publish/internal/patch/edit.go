package patch

import (
	"context"
	"math/bits"
	"slices"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// editor applies entries to the sums of a version.
type editor struct {
	counts  Counts
	rec     dataset.VersionRecord // its State and PayloadBytes
	changed uint64                // bytes of the keys and new values of the records that change in place
	changes *tape.Tape            // gets the entries that change a record
	buf     []byte
}

// edit looks up the patch's entries in the version of e, which c leads to, and applies them.
func (p *Patch) edit(ctx context.Context, c versions.Chain, e *editor) error {
	before := e.rec
	for batch, err := range versions.Batches(p.Seed, p.entries.Records()) {
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
	if op == snapshot.Changed {
		e.changed += uint64(len(q.Key) + len(q.Value))
	}
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
