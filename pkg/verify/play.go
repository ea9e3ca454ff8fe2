package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// play is a snapshot and deltas, open for a replay.
type play struct {
	base    *snapshot.Reader // nil without a snapshot
	deltas  []*snapshot.Reader
	changes []tally // by how much each delta changes the sums of the version before it
	closers []io.Closer
}

// localError is an error of a temporary file.
type localError struct{ err error }

func (e *localError) Error() string {
	return fmt.Sprintf("the temporary folder failed: %v; a folder with more room can be named as TempDir", e.err)
}

func (e *localError) Unwrap() error { return e.err }

// deltaError is the error of a delta.
type deltaError struct {
	number int // in the order of the deltas
	err    error
}

func (e *deltaError) Error() string { return fmt.Sprintf("delta %d: %v", e.number+1, e.err) }

func (e *deltaError) Unwrap() error { return e.err }

// open opens the snapshot o in the store, unless it is zero, and the copies of the deltas to the versions. The caller closes the play, also
// after an error.
func (w *walk) open(ctx context.Context, seed uint64, o dataset.Object, to []*facts) (*play, error) {
	p := &play{}
	for i, f := range to {
		file, err := os.Open(f.path)
		if err != nil {
			return p, &localError{err}
		}
		p.closers = append(p.closers, file)
		r, err := newReader(file, f.delta, snapshot.Delta, seed)
		if err != nil {
			return p, &deltaError{i, err}
		}
		p.deltas = append(p.deltas, r)
	}
	if o.Version == 0 {
		return p, nil
	}
	body, err := w.store.OpenObject(ctx, o.Digest, 0, -1)
	if err != nil {
		return p, err
	}
	p.closers = append(p.closers, body)
	p.base, err = newReader(body, o, snapshot.Snapshot, seed)
	return p, err
}

// newReader returns a reader of object o, which must be of the kind and in the order of the seed.
func newReader(src io.Reader, o dataset.Object, kind snapshot.Kind, seed uint64) (*snapshot.Reader, error) {
	r, err := snapshot.NewReader(src, snapshot.Expect(o))
	if err != nil {
		return nil, err
	}
	if h := r.Header(); h.Kind != kind || h.Seed != seed {
		return nil, fmt.Errorf("%w: it is a %v in the order of seed %016x; want a %v in that of %016x", snapshot.ErrCorrupt, h.Kind, h.Seed, kind, seed)
	}
	return r, nil
}

// run replays the deltas over the snapshot.
func (p *play) run(ctx context.Context, seed uint64) (err error) {
	p.changes, err = replay(ctx, seed, p.base.Records(), p.sequences())
	return err
}

// sequences returns the entries of each delta. An error of a delta becomes a *deltaError.
func (p *play) sequences() []records {
	all := make([]records, len(p.deltas))
	for i, d := range p.deltas {
		all[i] = named(i, d.Records())
	}
	return all
}

func named(number int, entries iter.Seq2[dataset.Record, error]) records {
	return func(yield func(dataset.Record, error) bool) {
		for r, err := range entries {
			if err != nil {
				err = &deltaError{number, err}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Close closes the files.
func (p *play) Close() error {
	var errs []error
	for _, c := range p.closers {
		errs = append(errs, c.Close())
	}
	p.closers = nil
	return errors.Join(errs...)
}
