// Package snapshot is the file format of snapshots and deltas: a [Writer], a streaming [Reader], [Verify] and [Diff].
// It knows no network and no store.
//
// A snapshot holds every record of one version, a delta the records added, changed and removed between two
// versions. Both are made of entries in the order of (hash, key), so that comparing, merging and applying files are
// streaming merges whose memory does not follow the dataset's size. Neither the dataset's name nor a version number
// stands in a file: equal records make equal files.
//
// # Guarantees
//
//   - Any flipped bit, anywhere in a file, is refused, and so is a file that is cut short or has something after its
//     end; this does not need the digest of the file, which is checked too if it is known ([Expect]). No record of a
//     damaged block is ever returned.
//   - Nothing is allocated that the input cannot back. Every length is checked against what remains or grows with
//     what has come, and a block's raw bytes are bounded by its stored bytes, so [Stored.RawBytes] may be allocated
//     as it is. Reading a file allocates at most some 100 times what has been read of it, and 2 MiB.
//   - A file whose checksums are right but whose content no Writer would write (entries out of order, in another
//     partition, malformed) is refused as well.
//
// # Format, version 1
//
// All integers are little-endian. Every checksum is XXH3-64 with seed 0 unless said otherwise. "Bits" is from the
// header; partition p holds the entries whose hash begins with the Bits bits of p, and all of them.
//
//	+--------+---------+-----+---------+--------+---------+
//	| header | block   | ... | block   | footer | trailer |   nothing follows the trailer
//	+--------+---------+-----+---------+--------+---------+
//	          one for each partition that has entries, in ascending order
//
// Header, 32 bytes. The places of magic, format version and checksum stay the same in every format version.
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
// The raw bytes are the partition's entries, encoded as package dataset says, one after the other, in strictly
// ascending order of (hash, key); only a delta has removals. They are 1 byte to 64 MiB ([MaxBlockRaw]); a Writer
// aims at 192 to 384 KiB. Records that do not fit into one block with so few partitions fit with more ([Cut]), up to the
// limit of a group ([Groups]). The stored bytes decode to them by zstd (RFC 8878). A Writer makes one frame, single-segment,
// with content size and without checksum or dictionary. It must be that
//
//	raw <= 64*stored + 65536   and   stored <= raw + raw/1024 + 64
//
// and a frame too short for the first is followed by a skippable frame of zeros.
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
// A row's offset is where the block's prefix begins, from the beginning of the file; the rest repeats the prefix.
//
//	 0         8          16         24        32              56              80
//	+---------+----------+----------+---------+---------------+---------------+
//	| entries | removals | raw      | payload | state         | base state    |
//	|         | among    | bytes in | bytes   | records 8,    | likewise      |
//	|         | them     | all      |         | high 8, low 8 |               |
//	+---------+----------+----------+---------+---------------+---------------+
//
// Payload bytes are the lengths of the entries' keys and values. The state of a snapshot is the state checksum (see
// package dataset) of its records, and its base state is zero. A delta leads from the version that has the base
// state to the one that has the state. A snapshot or a delta may have no entries, and then no block; such a delta
// leads from a state to the same.
//
// Trailer, 24 bytes.
//
//	 0           8             16        24
//	+-----------+-------------+---------+
//	| length of | checksum of | end     |
//	| footer    | footer      | mark    |
//	+-----------+-------------+---------+
//
// The end mark is "TEHSERF" 8F. A reader that has the file at hand finds any block from the trailer; [Reader] needs
// no seeking and checks that the footer repeats what it has read.
//
// Files as hexadecimal text with the name of every field are in testdata.
package snapshot
