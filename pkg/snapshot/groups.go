package snapshot

import (
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
)

// Group returns the group of the key with the given hash; see [dataset.GroupBits].
func Group(hash uint64) uint32 { return uint32(hash >> (64 - dataset.GroupBits)) }

// Groups sums the records of a version by group, so that a publisher can refuse a version that no instance could load.
// Records arrive in the order of (hash, key), so a Groups keeps the sum of only one group.
type Groups struct {
	seed  uint64
	group uint32
	bytes int
}

// NewGroups returns an empty Groups for records in the order of the given seed.
func NewGroups(seed uint64) *Groups { return &Groups{seed: seed} }

// Add adds r, which must not be a removal. It returns an error that wraps [ErrGroupSize] if r's group now exceeds
// [dataset.MaxGroupBytes].
func (g *Groups) Add(r dataset.Record) error {
	if group := Group(dataset.Hash(g.seed, r.Key)); group != g.group {
		g.group, g.bytes = group, 0
	}
	if g.bytes += r.EncodedBytes(); g.bytes > dataset.MaxGroupBytes {
		return fmt.Errorf("%w: group %d at key %.64q", ErrGroupSize, g.group, r.Key)
	}
	return nil
}

// Cut calls write, which writes one file with the given [WriterConfig].RawBytes. If write fails with [ErrBlockSize], because
// many long values have similar hashes, Cut calls write again with 16 times as many partitions, up to one for each group.
// With that many partitions, every version that passes [Groups] fits.
func Cut(rawBytes int64, write func(rawBytes int64) error) error {
	for {
		err := write(rawBytes)
		if !errors.Is(err, ErrBlockSize) || bitsFor(rawBytes) >= dataset.GroupBits {
			return err
		}
		rawBytes = min(16*max(rawBytes, maxTarget), maxTarget<<dataset.GroupBits)
	}
}
