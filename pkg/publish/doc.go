// Package publish turns a pipeline's records into versions of a dataset.
//
// [Publisher.Publish] reads all records of a dataset from a reader, puts the delta from the version before and, when
// one is due, a snapshot into the store, and commits the next version there. Then it announces the version to the event
// log and to the catalog, so that every instance refreshes. A version exists once its version record is in the store:
// before that nothing of a failed publish can be seen, after that nothing is lost, because what a publisher that died
// left unannounced is completed by a [Repairer], and by the next publish of the dataset.
//
// # Input
//
// Three formats are read, each plain or compressed with gzip or zstd (told by their first bytes), in UTF-8 with or
// without a byte order mark, with LF or CRLF line ends:
//
//   - NDJSON: one JSON object a line. Lines of nothing but spaces and tabs are passed over.
//   - JSON: one array of objects, laid out in any way.
//   - CSV (RFC 4180), comma-separated, with a header line. Empty lines are passed over; a CRLF within a quoted field
//     is read as LF.
//
// A record's key is what its member (column) Input.Key holds: a JSON string that is not empty, or a JSON number, taken
// by its literal text, so that 7 and "7" are the same key and 7 and 7.0 are not. Its value is the object's bytes as
// they stand in the input, without the blanks around them; for CSV it is a JSON object of the row's fields in column
// order, all of them strings.
//
// JSON is read strictly, as RFC 7493 asks: UTF-8 only, no member name twice in an object, nothing after the object.
// Any record that cannot be taken, a key that comes twice, an input that is cut short or has no record at all refuses
// the whole input with an [*InputError] that names the line, and nothing is published.
//
// # Limits
//
// The limits of package dataset bound what is published, and an instance loads everything below them. The records of a
// version whose keys have hashes with the same [dataset.GroupBits] leading bits, a group, have at most
// [dataset.MaxGroupBytes], encoded: a block of a file holds a group at least. Publish adds up the groups of all records, in
// their order, so that this takes no memory. Patch adds up those that it may make too large, and reads no more than it looks
// up unless the blocks of a group hold more than the limit; if they hold half as much again, it compacts the dataset first. Both
// refuse with an [*InputError] that names a record of the group.
//
// A delta of a group can be larger than the group before and after it. Publish then writes a snapshot without a delta, and
// Patch refuses the changes.
//
// # Memory and disk
//
// Memory is bounded by Config.MemoryBytes and some tens of megabytes more, whatever the size of the input. Records
// beyond it are spilled to files in a folder of their own under Config.TempDir, by ranges of the key's hash; each
// range is then sorted alone. Disk use is up to the size of the uncompressed input, twice, and that of its snapshot. The
// folder is removed before Publish returns; that of a process which died is removed by the next [New] with the same
// Config.TempDir.
//
// # Snapshots and deltas
//
// The first version has a snapshot. Each later one has a delta, made by comparing the new records as they are sorted
// with those of the version before, two streams in the same order, and a new snapshot only once more than
// Config.MaxDeltas deltas follow the last one, or deltas with more than Config.MaxDeltaPercent of its bytes: what does
// not change is neither compressed nor stored again. A new snapshot does not cut the chain: a version record goes on
// naming up to 64 deltas, back beyond the snapshot, while together they are not larger than it. A delta that is itself
// larger than that is not kept. If the version before cannot be read any more, the next one has a snapshot and begins a
// new chain.
//
// # Patches
//
// [Publisher.Patch] takes changes instead of all records, and costs what it changes: the present records are looked up
// in the blocks of the chain that they may be in, and only a delta is written. That is one block of the snapshot for each
// changed record, some 70 KB, and a smaller one of each delta. A Publisher remembers up to 64 MiB of what it read for
// patches, so that one Publisher should serve them all. A [Compactor] writes the snapshots that
// this makes due, in the background; the store keeps a snapshot record of each, which the versions to come refer to.
//
// # Concurrent publishers
//
// Any number of processes may publish the same dataset. Each version number is committed by exactly one of them. The
// one that comes second takes the next number, its delta made anew from what was committed before it; one that loses
// again and again gets [ErrConflict]. Patches through one Publisher wait for one another, and for a publish of all records
// that was overtaken twice. A publish of all records that was overtaken three times puts a claim into the store, which commits of other
// processes wait for ([freshet.dev/pkg/dataset.Claim]), three times as long as its comparison took and five minutes at most; then it
// wins. Earlier releases do not know claims. Content equal to the newest version's creates no version, with two
// exceptions: see below.
//
// # Repeated requests
//
// A commit whose answer is lost may have happened: [ErrUnknown] says so. A caller that gives each request an id of its own
// (Input.RequestID) repeats it until it has an answer. The version record keeps the id, and a call that finds it in the
// versions of the last hour, 1,000 at most, returns that version instead of making another, also if Base is not the newest version any more for that reason.
//
// # Promised cadence
//
// A pipeline can promise how often it publishes (Input.ExpectEvery). The promise is kept in the version records, from one to
// the next, until another is made; a dataset that has no newer version by then is overdue, which every instance says. So
// that data which is confirmed to be unchanged is not taken for data that was forgotten, input that changes nothing makes
// a version once a third of the promised time has passed since the last, and when the promise changes: the delta to it is
// empty, some 150 bytes, and every such delta of one state is the same object.
//
// # Beacon and repair
//
// Two things run beside publishes, in one process at least for each store. The publisher service does both; who publishes
// with this package alone runs them itself, as the example of [NewBeacon] does.
//
// A [Beacon] tells all instances every few seconds the newest committed version of every dataset, as it has just read it
// in the store. An instance that missed an event learns of the version by it, and one that hears no beacon for three
// periods says that it is blind.
//
// A [Repairer] compares the event log and the catalog with the store, when it starts and with what each round of a Beacon
// has read, and brings what they lack: what a publisher that died did not tell, and what a log that was deleted or a
// Redis that was wiped had. It announces the last 1,000 versions of a dataset at most, in order, because an event goes to
// every instance; a publish that comes before it does the same for its dataset. Older versions are then in the store alone. Concurrent
// repairs are safe: [Announcer] and [Indexer] take each version once.
//
// Whatever they hold that is not in the store's history is replaced by the store's newest version, down or up: the store was
// restored from an older copy, or created again. Versions of another store are replaced at most once a minute for each
// dataset. If they come back sooner, two stores share the log and the catalog: the repair
// reports [freshet.dev/pkg/events.ErrConflict] and [freshet.dev/pkg/catalog.ErrConflict].
//
// # Identity
//
// A version record names its store and the id of the version before, and its own id covers both (see
// [freshet.dev/pkg/dataset.VersionRecord.VersionID]). The store id is drawn by the first publisher that finds none.
//
// # Objects that were lost or damaged
//
// Publishing all records again heals a dataset whose newest version has lost an object or has a damaged one: a file that was
// removed or cut short by hand, a copy of a store that left one out, a bit that flipped on the disk. A publish of equal
// content reads every object that the version record names, and verifies its digest: see [Publisher.Publish]. If the
// snapshot is wrong, and the snapshot of the input is the same object (equal content written by the same release of freshet
// is), it is put back; else the content is committed once more, as the next version with a snapshot of its own, which
// instances reach by a delta without changes. Result.Warnings says which, and why, with the object's digest and its file or key.
//
// Whatever else reads an object verifies what it reads: comparisons and compactions the digest of the whole, patches the
// checksum of each block. An object that fails is in doubt for this Publisher until all its bytes are verified. It commits
// no version that names an object in doubt: a publish of other content begins a new chain, a patch and a compaction return
// [ErrLost], a snapshot that a compaction wrote and no version names yet is passed over. An object that is already in
// the store when it is to be put is verified too, and replaced if it is damaged. A patch does not read what it does not need,
// so that damage elsewhere in the snapshot stays until a publish of all records or a compaction reads it.
//
// # Failpoints
//
// Between every two steps stands a comment that go.etcd.io/gofail makes a failpoint of, in test builds only. A publish goes
// by bodyRead, snapshotStored and deltaStored (in this order, either may be missing: objects are in the store, no version
// names them), committed (nobody is told), announced (the catalog does not know it) and indexed; a patch by patchRead and
// patchDeltaStored, then as a publish from committed on, which is also where a publish goes by that created no version; a
// compaction by snapshotMerged (it is in a temporary file) and snapshotWritten (it is in the store, without a snapshot
// record). The failpoint clockAhead takes a duration by which the clock is wrong that Created, and the time of a beacon, is read from.
package publish
