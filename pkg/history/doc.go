// Package history reads the committed versions of a dataset out of its store: single records and all records of any version, the
// differences between two versions, and one record through the versions.
//
//	reader := history.New(history.Config{}, st)
//	version, err := reader.Open(ctx, "prices", 41) // 0 is the newest
//	values, err := version.Get(ctx, []byte("A1"))
//
// # What it costs
//
//   - [Version.Get] reads the blocks that may have the keys: of each delta of the version's chain, and of the snapshot.
//   - [Version.Records], [Version.Keys] and a [Diff] without deltas read the objects of the versions block by block, and merge them as
//     a compaction does. They start at any key for the cost of the rest, hold one decoded block of each object in memory, and write no
//     temporary files.
//   - A [Diff] of versions that the store has all deltas between reads those deltas, and the old values of the changed keys.
//   - A [Timeline] reads the footer and at most one block of the delta of each version, or all of a delta of up to 8 KiB.
//
// A Reader caches 16 MiB of blocks and footers, for all datasets together.
//
// # What it guarantees
//
// Every block is verified by its checksums. A version that is read from its first record to its last is also verified by its state
// checksum. An object that is lost or damaged is an [ErrLost], which names the object, its place in the store and the version. If a
// version can be read without the object, because a compaction has written a copy of the records, it is.
package history
