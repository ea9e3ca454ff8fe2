package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/publish/internal/scratch"
	"freshet.dev/pkg/snapshot"
)

// past is a committed version, opened to be read as a stream. Its memory does not follow the version's size: the
// snapshot comes from the store as it is read, and its deltas lie in temporary files, because a connection to the store
// for each would be idle for most of the time.
type past struct {
	rec      dataset.VersionRecord
	snapshot *snapshot.Reader
	deltas   []*snapshot.Reader
	closers  []io.Closer

	chain  chain
	doubts *doubts // gets the objects that cannot be read
}

// past opens the version of rec, which c leads to. Its files in folder are gone once it is closed.
func (p *Publisher) past(ctx context.Context, folder *scratch.Folder, rec dataset.VersionRecord, c chain) (_ *past, err error) {
	s := &past{rec: rec, chain: c, doubts: p.doubts}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, o := range c.deltas {
		f, err := p.spool(ctx, folder, o)
		if err != nil {
			return nil, fmt.Errorf("read the delta to version %d of dataset %q: %w", o.Version, rec.Dataset, p.doubts.failed(o, err))
		}
		s.closers = append(s.closers, f)
		r, err := snapshot.NewReader(f, snapshot.Expect(o))
		if err != nil {
			return nil, fmt.Errorf("read the delta to version %d of dataset %q: %w", o.Version, rec.Dataset, p.doubts.failed(o, err))
		}
		s.deltas = append(s.deltas, r)
	}
	f, err := p.deps.Store.OpenObject(ctx, c.snapshot.Digest, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read version %s: %w", rec.ID(), p.doubts.failed(c.snapshot, err))
	}
	s.closers = append(s.closers, f)
	if s.snapshot, err = snapshot.NewReader(f, snapshot.Expect(c.snapshot)); err != nil {
		return nil, fmt.Errorf("read version %s: %w", rec.ID(), p.doubts.failed(c.snapshot, err))
	}
	return s, nil
}

// temporary is a file that is removed when it is closed.
type temporary struct{ *os.File }

func (t temporary) Close() error { return errors.Join(t.File.Close(), os.Remove(t.Name())) }

// spool copies an object into a temporary file.
func (p *Publisher) spool(ctx context.Context, folder *scratch.Folder, o dataset.Object) (_ io.ReadCloser, err error) {
	r, err := p.deps.Store.OpenObject(ctx, o.Digest, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := os.OpenFile(folder.Path("from-"+strconv.FormatUint(o.Version, 10)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(f, r); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, temporary{f}.Close())
	}
	return temporary{f}, nil
}

// records yields the version's records in order. It ends with an error when ctx ends, and unless every object has its
// digest and all records together have the version's state checksum.
func (s *past) records(ctx context.Context) iter.Seq2[dataset.Record, error] {
	deltas := make([]iter.Seq2[dataset.Record, error], len(s.deltas))
	for i, d := range s.deltas {
		deltas[i] = s.read(d, s.chain.deltas[i])
	}
	seed := uint64(s.rec.Seed)
	merged := snapshot.Merge(seed, s.read(s.snapshot, s.chain.snapshot), deltas...)
	return func(yield func(dataset.Record, error) bool) {
		var state dataset.Checksum
		var buf []byte
		n := 0
		for r, err := range merged {
			if n%progressEvery == 0 && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(dataset.Record{}, fmt.Errorf("read version %s: %w", s.rec.ID(), err))
				return
			}
			n++
			buf = dataset.AppendRecord(buf[:0], r)
			state.Add(seed, buf)
			if !yield(r, nil) {
				return
			}
		}
		if state != s.rec.State {
			yield(dataset.Record{}, fmt.Errorf("%w: the objects of version %s make state %v, its record says %v",
				snapshot.ErrCorrupt, s.rec.ID(), state, s.rec.State))
		}
	}
}

// read yields what r reads of the object o. A Reader reports a wrong digest at the end of the file, when it has read all.
func (s *past) read(r *snapshot.Reader, o dataset.Object) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		for rec, err := range r.Records() {
			if !yield(rec, s.doubts.failed(o, err)) {
				return
			}
		}
	}
}

// Close closes what is open and removes the temporary files.
func (s *past) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
