// Package feed commits versions of a dataset whose objects lie in the store beforehand, and announces them. While instances are
// measured, a version then costs its maker one small file and one event.
//
// The states of the dataset form a ring: each delta changes 1 % of the records, those in its first half to their next generation and
// those in its second half back. Any number of versions comes from the files of one ring. Neighbouring versions always differ.
package feed

import (
	"context"
	"errors"
	"os"
	"slices"

	"freshet.dev/pkg/store"
	"freshet.dev/scripts/benchmarks/internal/objects"
)

// changed is the part of the records that a delta changes, one in so many.
const changed = 100

// Ring has the files of a dataset.
type Ring struct {
	Records int
	// Deltas lead from each state to the next, the last one to the first state.
	Deltas []objects.File
	// Snapshots are of the first state and of the one in the middle.
	Snapshots [2]objects.File
}

// NewRing writes the files of a ring into the folder: a snapshot of count records, 2*half deltas, and a snapshot after half of them. Each
// half must change less than all records: half is at most 50, and count at least 1000.
func NewRing(dir string, count, half int) (Ring, error) {
	if count < 1000 || half < 1 || half > changed/2 {
		return Ring{}, errors.New("a ring has at least 1000 records and at most 50 deltas in each half")
	}
	m := objects.NewMaker(dir, count)
	r := Ring{Records: count}
	var err error
	if r.Snapshots[0], err = m.Snapshot(1); err != nil {
		return Ring{}, err
	}
	parts := parts(m, half)
	other := func(g int) int { return 1 - g }
	for i := range 2 * half {
		if i == half {
			if r.Snapshots[1], err = m.Snapshot(1); err != nil {
				return Ring{}, err
			}
		}
		f, err := m.Delta(1, parts[i%half], other, true)
		if err != nil {
			return Ring{}, err
		}
		r.Deltas = append(r.Deltas, f)
	}
	if r.Deltas[2*half-1].State != r.Snapshots[0].State || r.Deltas[half-1].State != r.Snapshots[1].State {
		return Ring{}, errors.New("the deltas do not lead around the ring")
	}
	return r, nil
}

// parts returns n disjoint sets of random positions, each sorted.
func parts(m *objects.Maker, n int) [][]int {
	size := len(m.Order) / changed
	all := m.Random.Perm(len(m.Order))
	sets := make([][]int, n)
	for i := range sets {
		sets[i] = all[i*size : (i+1)*size]
		slices.Sort(sets[i])
	}
	return sets
}

// Bytes returns the size of all files.
func (r Ring) Bytes() (sum int64) {
	for _, f := range r.files() {
		sum += f.Object.Bytes
	}
	return sum
}

func (r Ring) files() []objects.File { return append(slices.Clone(r.Deltas), r.Snapshots[:]...) }

// Put puts all objects of the ring into the store, and removes their files.
func (r Ring) Put(ctx context.Context, st store.Store) error {
	for _, f := range r.files() {
		if err := put(ctx, st, f); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, st store.Store, f objects.File) error {
	in, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	err = st.PutObject(ctx, f.Object.Digest, f.Object.Bytes, in)
	return errors.Join(err, in.Close(), os.Remove(f.Path))
}
