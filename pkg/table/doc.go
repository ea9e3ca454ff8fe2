// Package table is the form in which an instance holds one version of a dataset in memory: immutable, built for
// lookups, and nearly invisible to the garbage collector. It knows no network and no file; [Load] reads a
// [snapshot.Reader].
//
// # What it guarantees
//
//   - A [Table] never changes. Any number of goroutines may read it, also while another version is loaded and swapped
//     in through a [Handle]. No lookup takes a lock, waits or allocates.
//   - Load returns a table only after the whole snapshot was read and every checksum of it was right, the state
//     checksum of the version among them. Whatever goes wrong before is an error, also a panic; no goroutine is
//     left behind.
//   - A value that a lookup returned stays what it is for as long as it is held, whatever becomes of the table.
//
// # What it costs
//
// The payload and about 12 bytes a record (records of some 100 bytes; never more than 30), and for each 256 KiB three
// objects without inner pointers for the collector to look at. A lookup reads one line of an index and then the record
// itself. [Table.GetMany] asks for the memory of many lookups at once, and so takes a third of the time for a key.
//
// A value aliases the table's memory: it must not be modified, and it keeps alive the slab that it lies in (about
// 256 KiB), also after the table has been replaced. Copy what is kept for long.
//
// # In memory
//
// A table has one partition for each partition of the snapshot, the leading bits of the hash. A partition is a slab
// and an index:
//
//	hash   +--------------+---------------------- - - - ------+---------+
//	       |  partition   |  home: where in the index         |   tag   |
//	       +------+-------+---------------------- - - - ------+---------+
//	              |
//	directory     v                   partition
//	+---+---+---+---+- -+---+         +-------------------------------------------------------------+
//	| * | * | * | * |   | * | ------> | slab   record record record record ... (encoded, hash order)|
//	+---+---+---+---+- -+---+         | index  [tag|offset] [   0   ] [tag|offset] [tag|offset] ... |
//	                                  +-------------------------------------------------------------+
//
// The slab is the snapshot's block, uncompressed: records as package dataset encodes them, in the order of their
// hashes. The index is an open-addressing table of uint32 slots. A slot holds a record's offset in the slab and, in
// the bits above, a tag of its hash; 0 is a free slot. A record's home is its hash (without the partition) scaled to
// the number of slots, so that the index is filled in one sweep, and its size need not be a power of two; it lies in
// its home or in the next free slot after it.
//
// Because the slab is sorted by hash, the hash also tells about where in it a record lies, before the index has been
// read. A lookup uses that to have the processor begin to resolve that page's address while it waits for the index.
//
// On Linux the slabs of a table of several MiB are offered to the kernel for huge pages (see [Config]).
package table
