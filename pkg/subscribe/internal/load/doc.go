// Package load loads versions of datasets for package refresh, whose Loader it implements.
//
// # From a version record to a table
//
//  1. Load compares the record with the tables in memory. A record with the content of the served table, or a rollback to it or to a version
//     that package roots keeps, needs no pull: that table gets the new record.
//  2. The record lists deltas that extend earlier versions, and a snapshot with its own deltas. If the deltas from the served version
//     exist and are fewer bytes, the attempt applies them to the served table. Otherwise it pulls the snapshot and the deltas that
//     extend it.
//  3. Each object streams once, from a relay through the decoder to the table, and at the same time to a draft in the cache
//     folder. A damaged block is pulled again from another relay. The boot guard marks the version when its first object opens.
//  4. The table is checked against the record's state checksum and seed. A mismatch means ErrMismatch.
//  5. The result has a Swapped function, which tells the boot guard and the Collector, and a Finish function, which commits the draft
//     to the cache folder.
//
// Deltas that cannot lead to the version are replaced by the snapshot in the same attempt: see snapshotHelps for which. Other errors end
// the attempt, and package refresh retries it.
//
// Stored loads the version in the cache folder at the start. If a delta there is damaged, the objects before it make an older version,
// which is served with a warning. If the snapshot or the record is damaged, the cached version is discarded.
//
// # In the background
//
//   - The [Shortener] replaces cached deltas by a new snapshot when they have become many, and restores a cached version that
//     could not be written.
//   - The [Collector] runs the garbage collector after refreshes and releases free memory to the operating system.
package load
