// Package dataset defines freshet's vocabulary as Go types: dataset names, records, state checksums, digests,
// version records and the events that announce them. It does no network and no file I/O.
//
// # Records
//
// A record is a key (1 byte to [MaxKeyBytes]) and a value (0 bytes to [MaxValueBytes]), unique by key. Files, tables
// and checksums share one encoding, so a record has the same bytes in each of them:
//
//	+----------------------+-------------------+-----------+-------------+
//	| uvarint 2*len(key)+r | uvarint len(value)|    key    |    value    |
//	+----------------------+-------------------+-----------+-------------+
//
// r is 0 for a record (in a delta: an upsert). r is 1 for a removal, which ends after the key and has no value
// length. Every uvarint (encoding/binary's unsigned varint) has its shortest form; readers refuse any other.
//
// # Order and hash
//
// Records are ordered by (Hash(seed, key), key). [Hash] is XXH3-64 with the dataset's seed. The publisher draws the
// seed for the dataset's first version; it never changes afterwards.
//
// The records whose hashes have the same [GroupBits] leading bits form a group. The encoded records of a group have at
// most [MaxGroupBytes]. This package defines this limit and all others of a version, for publishers and instances alike.
//
// # State checksum
//
// The state checksum of a set of records is their number and the sum modulo 2^128 of XXH3-128, with the dataset's
// seed, over each record's encoding. It does not depend on the order, and a change alone is enough to update it.
package dataset
