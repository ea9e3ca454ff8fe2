package versions

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/internal/scratch"
	"freshet.dev/pkg/snapshot"
)

// ErrNoDelta is returned when no version record names a delta that leads to one of the versions between two others.
var ErrNoDelta = errors.New("the store has no delta")

// Between returns the deltas that lead from version after to rec's version, in order, most at most. It returns ErrNoDelta if one of them
// does not exist or there are more.
//
// A record names the deltas of the versions before it back to a bound. Older deltas are named by the records in between.
func (h *History) Between(ctx context.Context, after uint64, rec dataset.VersionRecord, most int) ([]dataset.Object, error) {
	if after >= rec.Version || rec.Version-after > uint64(most) {
		return nil, fmt.Errorf("%w: %d versions lead from version %d to version %s, more than %d", ErrNoDelta, rec.Version-after, after, rec.ID(), most)
	}
	if deltas := rec.DeltasFrom(after); deltas != nil {
		return deltas, nil
	}
	named := uint64(len(rec.Deltas)) // of the newest versions
	deltas := make([]dataset.Object, 0, rec.Version-after)
	err := h.Records.Each(ctx, rec.Dataset, after+1, rec.Version-named, func(r dataset.VersionRecord) error {
		if own, ok := r.OwnDelta(); ok && own.Version == after+1+uint64(len(deltas)) {
			deltas = append(deltas, own)
			return nil
		}
		return fmt.Errorf("%w that leads to version %d of dataset %q", ErrNoDelta, after+1+uint64(len(deltas)), rec.Dataset)
	})
	return append(deltas, rec.Deltas...), err
}

// OpenDeltas opens deltas, in order, which lead to the version of rec. Their copies in folder exist until Close.
func (h *History) OpenDeltas(ctx context.Context, folder *scratch.Folder, rec dataset.VersionRecord, deltas []dataset.Object) (*Deltas, error) {
	s := &Stream{rec: rec, chain: Chain{Deltas: deltas}, objects: h.Objects}
	if err := s.openDeltas(ctx, h, folder); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &Deltas{s}, nil
}

// Deltas reads deltas that follow one another.
type Deltas struct{ stream *Stream }

// Entries yields, for each key, the last entry of the deltas, in order. It ends with an error when ctx ends, and when an object has
// another digest.
func (d *Deltas) Entries(ctx context.Context) iter.Seq2[dataset.Record, error] {
	return func(yield func(dataset.Record, error) bool) {
		n := 0
		for r, err := range snapshot.MergeDeltas(uint64(d.stream.rec.Seed), d.stream.readDeltas()...) {
			if n%checkEvery == 0 && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				yield(dataset.Record{}, fmt.Errorf("read the deltas to version %s: %w", d.stream.rec.ID(), err))
				return
			}
			n++
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Close closes the deltas and removes their copies.
func (d *Deltas) Close() error { return d.stream.Close() }
