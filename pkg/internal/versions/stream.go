package versions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/snapshot"
)

// checkEvery is the number of records between two checks of the context.
const checkEvery = 1 << 14

// Stream reads all records of a version. Its memory does not depend on the version's size: the snapshot comes from the store
// as it is read. Its deltas are copied to temporary files first, because a connection to the store for each would be idle most
// of the time.
type Stream struct {
	rec      dataset.VersionRecord
	chain    Chain
	objects  *Objects // records the objects that cannot be read
	snapshot *snapshot.Reader
	deltas   []*snapshot.Reader
	closers  []io.Closer
}

// Open opens the version of rec, which c leads to. Its files in folder exist until Close.
func (h *History) Open(ctx context.Context, folder *scratch.Folder, rec dataset.VersionRecord, c Chain) (_ *Stream, err error) {
	s := &Stream{rec: rec, chain: c, objects: h.Objects}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.openDeltas(ctx, h, folder); err != nil {
		return nil, err
	}
	f, err := h.store.OpenObject(ctx, c.Snapshot.Digest, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read version %s: %w", rec.ID(), h.Objects.Failed(c.Snapshot, err))
	}
	s.closers = append(s.closers, f)
	if s.snapshot, err = snapshot.NewReader(f, snapshot.Expect(c.Snapshot)); err != nil {
		return nil, fmt.Errorf("read version %s: %w", rec.ID(), h.Objects.Failed(c.Snapshot, err))
	}
	return s, nil
}

// openDeltas copies the deltas of s to files in folder, and opens them.
func (s *Stream) openDeltas(ctx context.Context, h *History, folder *scratch.Folder) error {
	for _, o := range s.chain.Deltas {
		f, err := h.spool(ctx, folder, o)
		if err != nil {
			return fmt.Errorf("read the delta to version %d of dataset %q: %w", o.Version, s.rec.Dataset, h.Objects.Failed(o, err))
		}
		s.closers = append(s.closers, f)
		r, err := snapshot.NewReader(f, snapshot.Expect(o))
		if err != nil {
			return fmt.Errorf("read the delta to version %d of dataset %q: %w", o.Version, s.rec.Dataset, h.Objects.Failed(o, err))
		}
		s.deltas = append(s.deltas, r)
	}
	return nil
}

// temporary is a file that Close removes.
type temporary struct{ *os.File }

func (t temporary) Close() error { return errors.Join(t.File.Close(), os.Remove(t.Name())) }

// spool copies an object to a temporary file.
func (h *History) spool(ctx context.Context, folder *scratch.Folder, o dataset.Object) (_ io.ReadCloser, err error) {
	r, err := h.store.OpenObject(ctx, o.Digest, 0, -1)
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

// SnapshotTotals returns the totals of the snapshot that the version is read from. Call it after Records has ended.
func (s *Stream) SnapshotTotals() snapshot.Totals { return s.snapshot.Totals() }

// Records yields the version's records in order. It ends with an error when ctx ends, when an object has another digest, or
// when all records together have another state checksum than the version.
func (s *Stream) Records(ctx context.Context) iter.Seq2[dataset.Record, error] {
	seed := uint64(s.rec.Seed)
	merged := snapshot.Merge(seed, s.read(s.snapshot, s.chain.Snapshot), s.readDeltas()...)
	return func(yield func(dataset.Record, error) bool) {
		var state dataset.Checksum
		var buf []byte
		n := 0
		for r, err := range merged {
			if n%checkEvery == 0 && ctx.Err() != nil {
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

func (s *Stream) readDeltas() []iter.Seq2[dataset.Record, error] {
	deltas := make([]iter.Seq2[dataset.Record, error], len(s.deltas))
	for i, d := range s.deltas {
		deltas[i] = s.read(d, s.chain.Deltas[i])
	}
	return deltas
}

// read yields the records of object o that r reads. A Reader reports a wrong digest at the end of the file.
func (s *Stream) read(r *snapshot.Reader, o dataset.Object) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		for rec, err := range r.Records() {
			if !yield(rec, s.objects.Failed(o, err)) {
				return
			}
		}
	}
}

// Close closes what is open and removes the temporary files.
func (s *Stream) Close() error {
	var errs []error
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
