// Package table is the form in which an instance holds one version of a dataset in memory: immutable, built for
// lookups, and nearly invisible to the garbage collector. It knows no network and no file; [Load] reads a snapshot and
// [Apply] a delta from a [snapshot.Reader].
//
// # What it guarantees
//
//   - A [Table] never changes. Any number of goroutines may read it, also while other versions are made of it and swapped
//     in through a [Handle]. No lookup takes a lock, waits or allocates.
//   - Load and Apply return a table only after the whole file was read and every checksum of it was right, the state
//     checksum of the version among them. Whatever goes wrong before is an error, also a panic; no goroutine is
//     left behind, and the table that a delta was to be applied to is what it was.
//   - A value that a lookup returned stays what it is for as long as it is held, whatever becomes of the table.
//
// # What it costs
//
// The payload and about 12 bytes a record (records of some 100 bytes; never more than 30), and for each 256 KiB three
// objects without inner pointers for the collector to look at. A lookup reads one line of an index and then the record
// itself. [Table.GetMany] asks for the memory of many lookups at once, and so takes a third of the time for a key.
//
// A delta costs, in time and in memory, what it holds: for each change about 2 KiB are copied, and of the index never more
// than all of it, a twentieth of the table. A table that has taken in many deltas also holds records that they have
// replaced, up to an eighth of its bytes, or a quarter if each has changed more than some 0.5 %. It is
// nearly as fast as a fresh one: records in a patch are the slower to look up, since no hash tells where about they lie.
// What a delta has replaced is garbage once nobody uses the old table; see [Reclaimer].
//
// A value aliases the table's memory: it must not be modified, and it keeps alive what it lies in, a slab or a patch (about
// 256 KiB), also after the table has been replaced. Copy what is kept for long.
//
// # In memory
//
// A table has a directory of partitions by the leading bits of the hash; after a load, they are those of the snapshot. A
// partition is a slab, an index and, after a delta, a patch:
//
//	hash   +-----------+------+------------------------ - - - --+-------+------
//	       | partition | page | home: where in the page         |  tag  | rest
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
// The slab is the snapshot's block, uncompressed: records as package dataset encodes them, in the order of their
// hashes. The index is an open-addressing table of uint32 slots, in 8 pages of equal size. A slot holds a record's offset
// in slab and patch and, in the bits above, a tag of its hash; 0 is a free slot. Page and home are the hash, without the
// bits of the partition, scaled to the number of homes, and the tag is the highest bits of the fraction that is left. A
// record lies in its home or in a slot soon after it, and slots are in the order of (hash, key). So the index is filled
// in one sweep, its size need not be a power of two, and going through it is going through the records in order,
// wherever they lie.
//
// Because the slab is sorted by hash, the hash also tells about where in it a record lies, before the index has been
// read. A lookup uses that to have the processor begin to resolve that page's address while it waits for the index.
//
// On Linux the slabs of a table of several MiB are offered to the kernel for huge pages (see [Config]), and what deltas
// add to one of more than some 100 MiB.
//
// # A delta
//
// Apply copies the directory, the partitions that the delta touches (128 bytes each) and of these the pages of the index that
// change; records that are new go to the patch; all else is shared with the table before. A replaced record's slot is
// pointed to the new one, a removed record's slot is closed; the bytes of either are dead from then on. To insert or to
// close a slot, the records next to it are hashed, and only these.
//
//   - A partition whose dead and patched bytes pass a quarter is compacted: all its records go to a new slab, in order. Its
//     index stays but for the offsets, and nothing is hashed.
//   - One with an index too full or too empty, or that has outgrown twice the size of a fresh one, is made anew, and
//     split if it is too large; the directory then doubles if need be. Partitions are not joined again.
//   - Long values with similar hashes are split as far as they must be, up to the 20 leading bits of
//     [dataset.GroupBits]. Apply takes 256 MiB of records that have these in common, and a snapshot's block 64 MiB.
//
// What a delta makes due is bounded to a part of the table, so that the work is spread over the deltas to come and the memory
// does not grow by much at a time; only a partition that is worn to the half does not wait.
package table
