package build

import (
	"context"
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/internal/versions"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// deltaScale makes the blocks of a delta an eighth of a snapshot's: 32 KiB raw. A patch reads the blocks that may hold its keys
// from every delta of the chain, and decodes each whole.
const deltaScale = 8

// Delta is a delta in a temporary file. The zero Delta is none.
type Delta struct {
	Path   string
	Object dataset.Object
}

// Write writes entries, which are in order, as the delta from the version before to the version after it, whose state checksum
// is state. It returns a *DeltaSizeError if a group of entries does not fit into a block.
func (b *Builder) Write(ctx context.Context, folder *scratch.Folder, entries *tape.Tape, before dataset.VersionRecord, state dataset.Checksum) (Delta, error) {
	path := folder.Path("delta")
	var key []byte // of the last record read
	records := func(yield func(dataset.Record, error) bool) {
		n := 0
		for r, err := range entries.Records() {
			if n%checkEvery == 0 && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			key = append(key[:0], r.Key...)
			if !yield(r, err) {
				return
			}
			n++
		}
	}
	var totals snapshot.Totals
	err := snapshot.Cut(deltaScale*entries.RawBytes(), func(rawBytes int64) (err error) {
		totals, err = WriteFile(path, snapshot.WriterConfig{
			Kind: snapshot.Delta, Seed: uint64(before.Seed), RawBytes: rawBytes, Base: before.State, Workers: b.cfg.Workers,
		}, records, func(w *snapshot.Writer) (snapshot.Totals, error) { return w.CloseDelta(state) })
		return err
	})
	if errors.Is(err, snapshot.ErrBlockSize) {
		err = &DeltaSizeError{string(key), err}
	}
	if err != nil {
		return Delta{}, fmt.Errorf("write the delta from version %s: %w", before.ID(), err)
	}
	return Delta{
		Path:   path,
		Object: dataset.Object{Version: before.Version + 1, Digest: totals.Digest, Bytes: totals.FileBytes, From: before.VersionID()},
	}, nil
}

// DeltaSizeError is returned when a group of entries, including removals, has more bytes than a block of a delta.
type DeltaSizeError struct {
	Key string // in the group
	err error
}

func (e *DeltaSizeError) Error() string {
	return fmt.Sprintf("the delta cannot hold the changes up to key %.64q: %v", e.Key, e.err)
}

func (e *DeltaSizeError) Unwrap() error { return e.err }

// comparison is the result of comparing a draft with the version before.
type comparison struct {
	delta   Delta // empty if no file can hold the changes
	changes dataset.Changes
	bytes   uint64          // of the keys and new values of the records that change in place
	base    snapshot.Totals // of the snapshot that the version before is read from
}

// unreadableError is returned when there is no delta because the version before cannot be read. Only the next version can heal
// a dataset whose newest version is lost, so this error must not prevent a commit.
type unreadableError struct {
	before dataset.VersionRecord
	err    error
}

func (e *unreadableError) Error() string {
	return fmt.Sprintf("the changes from version %s are not counted and there is no delta from it, because it cannot be read: %v", e.before.ID(), e.err)
}

func (e *unreadableError) Unwrap() error { return e.err }

// compare writes the delta from the version before, which c leads to, to the draft. It reads both as streams, the draft as it is
// sorted, so that memory does not depend on their size. It returns an *unreadableError if the version before is lost.
func (d *Draft) compare(ctx context.Context, before dataset.VersionRecord, c versions.Chain) (comparison, error) {
	made, err := d.diff(ctx, before, c)
	if err != nil && versions.IsLost(err) {
		err = &unreadableError{before, err}
	}
	return made, err
}

func (d *Draft) diff(ctx context.Context, before dataset.VersionRecord, c versions.Chain) (made comparison, err error) {
	old, err := d.builder.history.Open(ctx, d.folder, before, c)
	if err != nil {
		return comparison{}, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	// The size of a delta decides how it is cut into blocks, and is known only at the end.
	entries := tape.New(d.folder.Path("changes"))
	defer func() { err = errors.Join(err, entries.Close()) }()
	for change, err := range snapshot.Diff(d.seed, old.Records(ctx), d.Records(ctx)) {
		if err != nil {
			return comparison{}, fmt.Errorf("compare with version %s: %w", before.ID(), err)
		}
		Count(&made.changes, change.Op)
		r := change.Record()
		if change.Op == snapshot.Changed {
			made.bytes += uint64(len(r.Key) + len(r.Value))
		}
		if err := entries.Add(r); err != nil {
			return comparison{}, err
		}
	}
	made.delta, err = d.builder.Write(ctx, d.folder, entries, before, d.State())
	if _, ok := errors.AsType[*DeltaSizeError](err); ok {
		made.delta, err = Delta{}, nil
	}
	made.base = old.SnapshotTotals()
	return made, err
}

// Count adds one change to c.
func Count(c *dataset.Changes, op snapshot.Op) {
	switch op {
	case snapshot.Added:
		c.Added++
	case snapshot.Changed:
		c.Changed++
	case snapshot.Removed:
		c.Removed++
	}
}
