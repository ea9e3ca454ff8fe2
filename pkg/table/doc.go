// Package table holds one version of a dataset in the memory of an instance. A table is immutable, built for lookups,
// and nearly free for the garbage collector. The package does no network and no file I/O; [Load] reads a snapshot and
// [Apply] a delta from a [snapshot.Reader].
//
// # Guarantees
//
//   - A [Table] never changes. Any number of goroutines may read it, also while Apply derives other versions from it. No
//     lookup takes a lock, waits or allocates.
//   - Load and Apply return a table only after they have read the whole file and verified every checksum, including the
//     state checksum of the version. Any failure before that, also a panic, is returned as an error. No goroutine
//     outlives the call, and the base of a delta is unchanged.
//   - A value that a lookup has returned never changes, for as long as a caller holds it.
//
// # Costs
//
// A table needs the payload and about 12 bytes a record (for records of some 100 bytes; never more than 30). For each
// 256 KiB the collector has three objects without inner pointers to mark. A lookup reads one cache line of an index and
// then the record. [Table.GetMany] fetches the memory of many lookups at once, and so takes a third of the time for a key.
//
// The time and the memory of Apply depend on the delta: it copies about 2 KiB for each change, and of the index never
// more than all of it, a twentieth of the table. After many deltas a table also holds records that they have replaced:
// up to an eighth of its bytes, or a quarter if each delta has changed more than some 0.5 %. Lookups are nearly as
// fast as after a load; those of records in a patch are slower, since the hash does not predict their position.
// Replaced memory is garbage once the old table is unused; see [Reclaimer].
//
// A value aliases the table's memory. It must not be modified. It keeps its slab or patch (about 256 KiB) alive, also
// after the table has been replaced. Copy values that are kept for long.
//
// # Memory layout
//
// A table has a directory of partitions, selected by the leading bits of the hash. After a load they are the partitions of
// the snapshot. A partition is a slab, an index and, after a delta, a patch:
//
//	hash   +-----------+------+------------------------ - - - --+-------+------
//	       | partition | page | home: slot in the page          |  tag  | rest
//	       +------+----+------+------------------------ - - - --+-------+------
//	              |
//	directory     v                   partition
//	+---+---+---+---+- -+---+         +-------------------------------------------------------------+
//	| * | * | * | * |   | * | ------> | slab   record record record record ... (encoded, hash order)|
//	+---+---+---+---+- -+---+         | patch  record record ...               (encoded, any order) |
//	                                  | page 0 [tag|offset] [   0   ] [tag|offset] [tag|offset] ... |
//	                                  |   ...                                                       |
//	                                  | page 7 [   0   ] [tag|offset] [tag|offset] [   0   ] ...    |
//	                                  +-------------------------------------------------------------+
//
// The slab is the snapshot's block, uncompressed: records in the encoding of package dataset, in the order of their
// hashes. The index is an open-addressing table of uint32 slots, in 8 pages of equal size. A slot holds a record's offset
// in slab and patch and, in the bits above, a tag of its hash; 0 is a free slot. Page and home are the hash, without the
// bits of the partition, scaled to the number of homes; the tag is the highest bits of the remaining fraction. A record
// has its home or a slot soon after it, and slots are in the order of (hash, key). This has three advantages: one
// pass fills the index, its size need not be a power of two, and iterating over it yields the records in order.
//
// Because the slab is sorted by hash, the hash also predicts the position of a record in the slab, before the index has
// been read. A lookup prefetches that address, so that the processor translates it while it waits for the index.
//
// On Linux, a table of several MiB advises the kernel to use huge pages for its slabs (see [Config]). A table of more
// than some 100 MiB does so also for the memory that deltas add.
//
// # Deltas
//
// Apply copies the directory, the partitions that the delta changes (128 bytes each) and the pages of their indexes that
// change. New records go to the patch. The new table shares everything else with its base. Apply redirects the slot of
// a replaced record to the new one, and closes the slot of a removed record; the bytes of both are dead from then on. To
// insert or to close a slot, Apply hashes only the records next to it.
//
//   - Apply compacts a partition whose dead and patched bytes exceed a quarter: all its records go to a new slab, in order.
//     The index keeps its slots and gets new offsets; nothing is hashed.
//   - Apply rebuilds a partition if its index is too full or too empty, or if it exceeds twice the size of a fresh one. It
//     splits the partition if that is too large, and doubles the directory if necessary. It never joins partitions.
//   - Apply splits long values with similar hashes as far as necessary, up to the 20 leading bits of [dataset.GroupBits]. It
//     accepts 256 MiB of records with these bits in common; a snapshot's block has at most 64 MiB.
//
// One delta compacts and rebuilds only a bounded part of the table. This spreads the work over the following deltas and
// limits the memory that each one adds. Only a partition that is half dead or patched does not wait.
package table
