package build

import (
	"freshet.dev/pkg/dataset"
	"freshet.dev/pkg/snapshot"
)

// WriteEmpty writes the snapshot of a version without records, in the order of seed, into the file at path. Equal seeds make equal files.
func WriteEmpty(path string, seed dataset.Seed) (dataset.Object, error) {
	none := func(func(dataset.Record, error) bool) {}
	totals, err := WriteFile(path, snapshot.WriterConfig{Kind: snapshot.Snapshot, Seed: uint64(seed), Workers: 1}, none, (*snapshot.Writer).Close)
	return dataset.Object{Digest: totals.Digest, Bytes: totals.FileBytes}, err
}
