// Package dataset holds freshet's vocabulary as Go types: dataset names, records, state checksums, digests,
// version records and the events that announce them. It knows no network and no file.
//
// # Records
//
// A record is a key (1 byte to [MaxKeyBytes]) and a value (0 bytes to [MaxValueBytes]), unique by key. One
// encoding serves files, tables and checksums, so that the bytes of a record are the same wherever it lies:
//
//	+----------------------+-------------------+-----------+-------------+
//	| uvarint 2*len(key)+r | uvarint len(value)|    key    |    value    |
//	+----------------------+-------------------+-----------+-------------+
//
// r is 0 for a record (in a delta: an upsert). r is 1 for a removal, which ends after the key and has no value
// length. Every uvarint is in its shortest form (encoding/binary's unsigned varint); any other is refused.
//
// # Order and hash
//
// Records are ordered by (Hash(seed, key), key). [Hash] is XXH3-64 with the dataset's seed, which is drawn at the
// dataset's first version and kept for its life.
//
// The records whose hashes have the same [GroupBits] leading bits are a group. A group has at most [MaxGroupBytes], encoded.
// This and all other limits of what a version holds are constants of this package, which publishers and instances share.
//
// # State checksum
//
// The state checksum of a set of records is their number and the sum modulo 2^128 of XXH3-128, with the dataset's
// seed, over each record's encoding. It does not depend on order, and it is updated from a change alone.
package dataset
