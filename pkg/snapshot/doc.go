// Package snapshot implements the file format of snapshots and deltas: a [Writer], a streaming [Reader], [Diff]
// and [Merge]. It depends on no network and no store.
//
// A snapshot holds every record of one version. A delta holds the records added, changed and removed between two
// versions. Both consist of entries in the order of (hash, key), so that comparing, merging and applying files are
// streaming merges, in memory that does not grow with the dataset. A file contains neither the dataset's name nor a
// version number: equal records make equal files.
//
// # Guarantees
//
//   - A Reader refuses a file with any flipped bit, a file that is cut short, and a file with bytes after its end. It
//     does not need the digest of the file for that, but also verifies a digest that it has ([Expect]). It never
//     returns a record of a damaged block.
//   - Allocations are bounded by the input. A Reader checks each length against the bytes that remain, or grows its
//     buffer as bytes arrive. A block's raw bytes are bounded by its stored bytes, so a caller may allocate
//     [Stored.RawBytes]. Reading a file allocates at most some 100 times the bytes read, and 2 MiB.
//   - A Reader also refuses a file with valid checksums that no Writer would write: entries out of order, in another
//     partition, or malformed.
//
// # Format, version 1
//
// All integers are little-endian. Every checksum is XXH3-64 with seed 0 unless stated otherwise. "Bits" is a field of
// the header; partition p holds exactly the entries whose hash begins with the Bits bits of p.
//
//	+--------+---------+-----+---------+--------+---------+
//	| header | block   | ... | block   | footer | trailer |   nothing follows the trailer
//	+--------+---------+-----+---------+--------+---------+
//	          one for each partition that has entries, in ascending order
//
// Header, 32 bytes. Magic, format version and checksum have the same offsets in every format version.
//
//	 0         8         9       10      11         16        24         32
//	+---------+---------+-------+-------+----------+---------+----------+
//	| magic   | format  | kind  | Bits  | reserved | seed    | checksum |
//	| 8 bytes | version | 1 or  | 0..24 | 5 bytes, | of the  | of bytes |
//	|         | = 1     | 2     |       | zero     | hash    | 0..23    |
//	+---------+---------+-------+-------+----------+---------+----------+
//
// The magic is 8F "FRESHET". Kind 1 is a snapshot, 2 a delta. The seed is that of [dataset.Hash].
//
// Block: a prefix of 48 bytes, then the stored bytes.
//
//	 0      4           8        12      16        20         24         32         40         48
//	+------+-----------+--------+-------+---------+----------+----------+----------+----------+--------
//	| BLCK | partition | stored | raw   | entries | reserved | checksum | checksum | checksum | stored
//	|      | < 1<<Bits | bytes  | bytes | >= 1    | 4 bytes, | of       | of       | of bytes | bytes
//	|      |           |        |       |         | zero     | stored   | raw      | 0..39    |
//	+------+-----------+--------+-------+---------+----------+----------+----------+----------+--------
//
// The raw bytes are the partition's entries, in the encoding of package dataset, one after the other, in strictly
// ascending order of (hash, key); only a delta has removals. A block has 1 byte to 64 MiB ([MaxBlockRaw]) of raw bytes; a
// Writer aims at 192 to 384 KiB. If a partition's records exceed one block, the file needs more partitions ([Cut]), up to
// one for each group ([Groups]). The stored bytes are the raw bytes in zstd (RFC 8878). A Writer writes one frame,
// single-segment, with content size and without checksum or dictionary. Two inequalities hold:
//
//	raw <= 64*stored + 65536   and   stored <= raw + raw/1024 + 64
//
// A Writer adds a skippable frame of zeros to a frame that is too short for the first.
//
// Footer, 8 + 32 for each block + 80 bytes.
//
//	 0      4        8                                             8+32n     88+32n
//	+------+--------+---------------------------------------------+---------+
//	| FOOT | n      | n rows, one for each block:                  | totals  |
//	|      | blocks | offset 8, partition 4, stored 4, raw 4,     |         |
//	|      |        | entries 4, checksum of raw 8                |         |
//	+------+--------+---------------------------------------------+---------+
//
// A row's offset is that of the block's prefix in the file. The other fields repeat the prefix.
//
//	 0         8          16         24        32              56              80
//	+---------+----------+----------+---------+---------------+---------------+
//	| entries | removals | raw      | payload | state         | base state    |
//	|         | among    | bytes in | bytes   | records 8,    | likewise      |
//	|         | them     | all      |         | high 8, low 8 |               |
//	+---------+----------+----------+---------+---------------+---------------+
//
// Payload bytes are the lengths of the entries' keys and values. The state of a snapshot is the state checksum (see
// package dataset) of its records, and its base state is zero. A delta leads from the version with the base state to
// the version with the state. A snapshot or a delta without entries has no block; the two states of such a delta are
// equal.
//
// Trailer, 24 bytes.
//
//	 0           8             16        24
//	+-----------+-------------+---------+
//	| length of | checksum of | end     |
//	| footer    | footer      | mark    |
//	+-----------+-------------+---------+
//
// The end mark is "TEHSERF" 8F. A reader with random access finds any block from the trailer: see [Index]. [Reader]
// never seeks, and verifies that the footer agrees with the blocks that it has read.
//
// The directory testdata has example files as hexadecimal text, with the name of every field.
package snapshot
