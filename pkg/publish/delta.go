package publish

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/history"
	"freshet.dev/pkg/publish/internal/scratch"
	"freshet.dev/pkg/publish/internal/tape"
	"freshet.dev/pkg/snapshot"
)

// deltaScale makes the blocks of a delta an eighth of a snapshot's: 32 KiB raw. A patch reads the blocks that may hold
// its keys out of every delta of the chain, and has to decode each whole.
const deltaScale = 8

// lostError says that there is no delta from the version before, because it cannot be read. Only the next version can
// heal a dataset whose newest version is lost, so this must not be in the way of a commit.
type lostError struct {
	before dataset.VersionRecord
	err    error
}

func (e *lostError) Error() string {
	return fmt.Sprintf("the changes from version %s are not counted and there is no delta from it, because it cannot be read: %v", e.before.ID(), e.err)
}

func (e *lostError) Unwrap() error { return e.err }

// delta is the delta file of a version to be, in a temporary file.
type delta struct {
	path    string // empty if no file can hold the changes
	object  dataset.Object
	changes dataset.Changes
	base    snapshot.Totals // of the snapshot that the version before is read from
}

// diff writes the delta that leads from the version before to the draft. It reads both as streams, the draft's as they are
// sorted: memory does not follow their size. The error is a *lostError if the version before is damaged for good.
func (p *Publisher) diff(ctx context.Context, d *draft, before dataset.VersionRecord, c history.Chain) (delta, error) {
	made, err := p.compare(ctx, d, before, c)
	if err == nil {
		return made, nil
	}
	if history.IsLost(err) {
		return delta{}, &lostError{before, err}
	}
	return delta{}, err
}

func (p *Publisher) compare(ctx context.Context, d *draft, before dataset.VersionRecord, c history.Chain) (made delta, err error) {
	old, err := p.history.Open(ctx, d.folder, before, c)
	if err != nil {
		return delta{}, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	// How large a delta is decides how it is cut into blocks, and is known only at the end.
	entries := tape.New(d.folder.Path("changes"))
	defer func() { err = errors.Join(err, entries.Close()) }()
	var changes dataset.Changes
	for change, err := range snapshot.Diff(d.seed, old.Records(ctx), d.records(ctx)) {
		if err != nil {
			return delta{}, fmt.Errorf("compare with version %s: %w", before.ID(), err)
		}
		count(&changes, change.Op)
		if err := entries.Add(change.Record()); err != nil {
			return delta{}, err
		}
	}
	made, err = p.writeDelta(ctx, d.folder, entries, before, d.state(), changes)
	if _, ok := errors.AsType[*deltaSizeError](err); ok {
		made, err = delta{changes: changes}, nil
	}
	made.base = old.SnapshotTotals()
	return made, err
}

func count(c *dataset.Changes, op snapshot.Op) {
	switch op {
	case snapshot.Added:
		c.Added++
	case snapshot.Changed:
		c.Changed++
	case snapshot.Removed:
		c.Removed++
	}
}

// deltaSizeError says that a group of entries, removals among them, has more bytes than a block of a delta. Key is in it.
type deltaSizeError struct {
	key string
	err error
}

func (e *deltaSizeError) Error() string {
	return fmt.Sprintf("the delta cannot hold the changes up to key %.64q: %v", e.key, e.err)
}

func (e *deltaSizeError) Unwrap() error { return e.err }

// writeDelta writes entries, which are in order and make the given changes, as the delta from the version before to
// the one after it, whose state checksum is state. It may return a *deltaSizeError.
func (p *Publisher) writeDelta(ctx context.Context, folder *scratch.Folder, entries *tape.Tape, before dataset.VersionRecord,
	state dataset.Checksum, changes dataset.Changes,
) (made delta, err error) {
	path := folder.Path("delta")
	var key []byte // of the last record read
	records := func(yield func(dataset.Record, error) bool) {
		n := 0
		for r, err := range entries.Records() {
			if n%progressEvery == 0 && ctx.Err() != nil {
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
	err = snapshot.Cut(deltaScale*entries.RawBytes(), func(rawBytes int64) (err error) {
		totals, err = writeFile(path, snapshot.WriterConfig{
			Kind: snapshot.Delta, Seed: uint64(before.Seed), RawBytes: rawBytes, Base: before.State, Workers: p.cfg.Workers,
		}, records, func(w *snapshot.Writer) (snapshot.Totals, error) { return w.CloseDelta(state) })
		return err
	})
	if errors.Is(err, snapshot.ErrBlockSize) {
		err = &deltaSizeError{string(key), err}
	}
	if err != nil {
		return delta{}, fmt.Errorf("write the delta from version %s: %w", before.ID(), err)
	}
	return delta{
		path: path, changes: changes,
		object: dataset.Object{Version: before.Version + 1, Digest: totals.Digest, Bytes: totals.FileBytes, From: before.VersionID()},
	}, nil
}

// writeFile writes records into the file at path, over what is there, and has end close the Writer.
func writeFile(path string, cfg snapshot.WriterConfig, records iter.Seq2[dataset.Record, error],
	end func(*snapshot.Writer) (snapshot.Totals, error),
) (_ snapshot.Totals, err error) {
	f, err := os.Create(path)
	if err != nil {
		return snapshot.Totals{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := snapshot.NewWriter(f, cfg)
	if err != nil {
		return snapshot.Totals{}, err
	}
	defer w.Abort()
	for r, err := range records {
		if err == nil {
			err = w.Add(r)
		}
		if err != nil {
			return snapshot.Totals{}, err
		}
	}
	return end(w)
}
