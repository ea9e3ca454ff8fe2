package snapshot

import (
	"errors"
	"fmt"

	"freshet.dev/pkg/dataset"
)

// Group returns the group of the key with the given hash; see [dataset.GroupBits].
func Group(hash uint64) uint32 { return uint32(hash >> (64 - dataset.GroupBits)) }

// Groups adds up the records of a version by group. A publisher refuses with it a version that no instance could load. Records
// come in the order of (hash, key), so that a Groups keeps the sum of one group.
type Groups struct {
	seed  uint64
	group uint32
	bytes int
}

// NewGroups returns the sums of no records, for the order of the given seed.
func NewGroups(seed uint64) *Groups { return &Groups{seed: seed} }

// Add adds the record r, which is no removal. Its error wraps [ErrGroupSize] if the records of r's group have more than
// [dataset.MaxGroupBytes] with r.
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
// many long values have similar hashes, Cut calls it again for 16 times as many partitions, up to one for each group. All
// records of a version fit then; see [Groups].
func Cut(rawBytes int64, write func(rawBytes int64) error) error {
	for {
		err := write(rawBytes)
		if !errors.Is(err, ErrBlockSize) || bitsFor(rawBytes) >= dataset.GroupBits {
			return err
		}
		rawBytes = min(16*max(rawBytes, maxTarget), maxTarget<<dataset.GroupBits)
	}
}
