package keep

import (
	"encoding/binary"

	"freshet.dev/pkg/dataset"
)

// key stands for an object in memory: 8 bytes of its digest. Two objects with one key only keep each other.
type key uint64

func keyOf(d dataset.Digest) key { return key(binary.LittleEndian.Uint64(d[:])) }

// keys is a set of objects.
type keys map[key]struct{}

func (k keys) add(d dataset.Digest) { k[keyOf(d)] = struct{}{} }

func (k keys) has(d dataset.Digest) bool {
	_, ok := k[keyOf(d)]
	return ok
}

// addRecord adds the objects that a version record names.
func (k keys) addRecord(rec dataset.VersionRecord) {
	k.add(rec.Snapshot.Digest)
	for _, o := range rec.Deltas {
		k.add(o.Digest)
	}
}
