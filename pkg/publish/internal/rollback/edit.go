package rollback

import (
	"context"
	"errors"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/build"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// editor reverses the changes since a version.
type editor struct {
	seed    uint64
	sums    build.Sums // those of the newest version at first
	changed uint64     // bytes of the keys and new values of the records that change in place
	changes *tape.Tape // gets the reverse of each change
	buf     []byte
}

func newEditor(newest dataset.VersionRecord, changes *tape.Tape) *editor {
	return &editor{seed: uint64(newest.Seed), sums: build.Sums{State: newest.State, PayloadBytes: newest.PayloadBytes}, changes: changes}
}

// close removes the editor's file. A nil editor has none.
func (e *editor) close() error {
	if e == nil {
		return nil
	}
	return e.changes.Close()
}

// edit passes e the keys that deltas, which lead from target to newest, change, each with its record in target, which c leads to.
func (r *Rollback) edit(ctx context.Context, newest dataset.VersionRecord, deltas []dataset.Object, target dataset.VersionRecord, c versions.Chain, e *editor) (err error) {
	from, err := r.History.OpenDeltas(ctx, r.Folder, newest, deltas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	for batch, err := range versions.Batches(e.seed, from.Entries(ctx)) {
		if err != nil {
			return err
		}
		for n := len(batch); len(batch) > 0; {
			part := batch[:min(n, len(batch))]
			if err := r.History.Blocks.Fetch(ctx, target, c, part, versions.BatchBytes); err != nil {
				return err
			}
			done, err := e.apply(part)
			if err != nil {
				return err
			}
			if done < len(part) {
				n = max(1, len(part)/2) // their values have more bytes than Fetch copies
			}
			for i := range part[done:] {
				part[done+i].Present = versions.Present{}
			}
			batch = batch[done:]
		}
	}
	return nil
}

// apply reverses the changes of the first queries, up to one whose value Fetch has not copied, and returns their number.
func (e *editor) apply(queries []versions.Query) (done int, err error) {
	for i := range queries {
		q := &queries[i]
		if q.Exists && !q.Equal && q.Held == nil {
			return i, nil
		}
		if err := e.reverse(q); err != nil {
			return i, err
		}
	}
	return len(queries), nil
}

// reverse reverses one change. The record of q is that of the newest version, a removal if that has none for the key.
func (e *editor) reverse(q *versions.Query) error {
	var op snapshot.Op
	switch {
	case q.Equal, q.Removed && !q.Exists:
		return nil // changed and changed back
	case q.Removed:
		op = snapshot.Added
	case q.Exists:
		op = snapshot.Changed
	default:
		op = snapshot.Removed
	}
	build.Count(&e.sums.Changes, op)
	if op == snapshot.Changed {
		e.changed += uint64(len(q.Key) + len(q.Held))
	}
	if !q.Removed {
		e.buf = dataset.AppendRecord(e.buf[:0], q.Record)
		e.sums.State.Remove(e.seed, e.buf)
		e.sums.PayloadBytes -= uint64(len(q.Key) + len(q.Value))
	}
	if q.Exists {
		e.sums.State.Merge(q.Sum)
		e.sums.PayloadBytes += q.Payload
	}
	return e.changes.Add(dataset.Record{Key: q.Key, Value: q.Held, Removed: !q.Exists})
}
