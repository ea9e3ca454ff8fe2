// Package publish turns a pipeline's records into versions of a dataset.
//
// [Publisher.Publish] reads all records of a dataset from a reader or a sequence. It puts the delta from the version before and, when one is due, a
// snapshot into the store, and commits the next version there. Then it announces the version to the event log and adds it to the catalog,
// so that every instance refreshes. A version exists once its version record is in the store. Before that, nothing of a failed publish is
// visible. After that, nothing is lost: what a publisher that died left unannounced is completed by [Publisher.Run], and by the next
// publish of the dataset.
//
// # Input
//
// Four formats are supported, each plain or compressed with gzip or zstd (detected by their first bytes), in UTF-8 with or without a byte
// order mark, with LF or CRLF line ends. An input may be one body or several files, each in its own format:
//
//   - NDJSON: one JSON object a line. Lines of only spaces and tabs are skipped.
//   - JSON: one array of objects, laid out in any way.
//   - CSV (RFC 4180), with a header line. Empty lines are skipped; a CRLF within a quoted field is kept.
//   - Parquet. A row becomes a JSON object with its columns in order. Numbers and decimals are exact, nulls are null, dates and times strings
//     of RFC 3339, without a zone if they are local, bytes base64, lists arrays, maps with keys of strings and groups objects. The
//     documentation of package publish/internal/parquet has the table. A column of another type is refused by its name.
//
// A record's key is the value of its member (column) Input.Key: a JSON string that is not empty, or a JSON number, by its text, so that 7
// and "7" are the same key. Several members make a key as [dataset.JoinKey] does. The record's value is the object's bytes as they stand in
// the input, without the blanks around them; for CSV it is a JSON object of the row's fields in column order.
//
// The settings of the dataset, [dataset.InputRules], fix the key, which numbers are keys, and the delimiter and the types of columns of CSV.
// The first publish sets the key, and that only plain integers are keys, through Config.FillSettings, before it commits version 1. Without
// settings every number is a key as it is written, and every field of CSV is a string. To compare an input with the records of the dataset,
// a publish reads up to 1,000 of them, and at most about 1 MiB: if the dataset has no key yet, and for CSV without types of columns.
//
// JSON is read strictly, as RFC 7493 demands: UTF-8 only, no member name twice in an object, nothing after the object. A record that is not
// accepted, a duplicate key, an input that is cut short or has no record refuses the whole input with an [*InputError] that names the
// file and the line, or the row of a Parquet file, and nothing is published.
//
// # Records from Go
//
// A Go program needs no text: Input.Records is a sequence of records, each a key, a value and, in a patch, the mark of a removal. The bytes
// are published as they are, so that values may be protocol buffers, images or empty. Records that fail half-way yield an error, and then
// nothing is published. A server answers a lookup of a value that is not a JSON object with the type application/octet-stream, and has
// values that are not JSON in base64 in the answer to many keys; such a request cannot name a key that is not UTF-8.
//
// # Limits
//
// The limits of package dataset bound what is published, and an instance loads everything below them. The records of a version whose keys
// have hashes with the same [dataset.GroupBits] leading bits, a group, have at most [dataset.MaxGroupBytes], encoded: a block of a file
// holds a group at least. Publish adds up the groups of all records in their order, which takes no memory. Patch adds up those that it may
// make too large, and reads only the blocks that it looks up, unless the blocks of a group hold more than the limit; if they hold half as
// much again, it compacts the dataset first. Both refuse with an [*InputError] that names a record of the group.
//
// A delta of a group can be larger than the group before and after it. Publish then writes a snapshot without a delta, and Patch refuses the
// changes.
//
// # Memory and disk
//
// Memory is bounded by Config.MemoryBytes and some tens of megabytes more, whatever the size of the input. Records beyond it are spilled to
// files in a separate folder under Config.TempDir, by ranges of the key's hash; each range is then sorted alone. Disk use is up to twice the
// size of the uncompressed input, and that of its snapshot. Publish removes the folder before it returns; the next [New] with the same
// Config.TempDir removes the folder of a process that died.
//
// A Parquet file that is no [os.File] on disk is copied there first. The pages of its row groups that are in memory at a time, one of each
// column and its dictionary, count as the window of zstd data does: half of Config.MemoryBytes at most, for a patch a quarter, never
// over 128 MiB. A row group that needs more is refused by its number and its largest column.
//
// # Snapshots and deltas
//
// The first version has a snapshot. Each later one has a delta, made by comparing the new records as they are sorted with those of the
// version before, two streams in the same order. It has a new snapshot only once more than Config.MaxDeltas deltas follow the last one, or
// deltas with more than Config.MaxDeltaPercent of its bytes: unchanged records are neither compressed nor stored again. A new snapshot does
// not cut the chain: a version record names up to 64 deltas, also from before the snapshot, while together they are not larger than it. A
// delta that is larger than the snapshot is not kept. If the version before cannot be read, the next one has a snapshot and begins a new
// chain.
//
// # Patches
//
// [Publisher.Patch] takes changes instead of all records, and its cost depends on their number: it looks up the present records in the
// blocks of the chain that they may be in, and writes only a delta. That is one block of the snapshot for each changed record, some 70 KB,
// and a smaller one of each delta. A Publisher caches up to 16 MiB of what it read for patches, so that one Publisher should serve them all.
// [Publisher.Run] writes the snapshots that patches make due, in the background; the store keeps a snapshot record of each, which later
// versions refer to.
//
// # Gates and dry runs
//
// Each version must meet the gates of its dataset (Config.Settings) before it is committed: see [freshet.dev/pkg/dataset.Gates]. A version that
// does not is refused with a [*GateError], and nothing of it is in the store. The verdict is about the newest version: if another publisher
// commits first, the version is compared and judged again. By default a version that removes more than half of the records is refused; AllowShrink and
// a Reason pass it. Content equal to the newest version's meets every gate.
//
// With Input.DryRun a call prepares its version and judges it, and writes nothing to the store: Result.Preview has what it would do.
//
// # Deletes
//
// [Publisher.Delete] makes a new version without records, which says that the dataset is deleted. It names an empty snapshot and no
// delta, and the version after it has a snapshot: no delta leads from the records before to those after. Instances keep the table that they
// have. A rollback brings the content back for as long as the store has its objects.
//
// # Rollbacks
//
// [Publisher.Rollback] makes a new version with the content of an earlier one. It combines the deltas since that version, which tell the keys
// that differ, looks these up in the earlier version as a patch does, and writes the delta back. Its cost follows the changes. If a delta is
// missing, or if the deltas have more bytes than both versions, it reads all records of the earlier version and publishes them. Either way the
// state checksum of the new version is that of the earlier one.
//
// # Concurrent publishers
//
// Any number of processes may publish the same dataset. Exactly one of them commits each version number. A publisher that loses the race
// takes the next number, and makes its delta again from the version that won; one that loses again and again returns [ErrConflict]. Patches
// through one Publisher wait for one another, and for a publish of all records that lost two races. A publish of all records that lost three
// races puts a claim into the store, which commits of other processes wait for ([freshet.dev/pkg/dataset.Claim]): three times as long as its
// comparison took and five minutes at most. Then it wins. Earlier releases ignore claims. Content equal to the newest version's creates no
// version, with two exceptions: see below.
//
// # Repeated requests
//
// A commit whose answer is lost may have happened: the call returns [ErrUnknown]. A caller that gives each request a separate id
// (Input.RequestID) retries until it has an answer. The version record keeps the id. A call that finds its id in the versions of the last
// hour, 1,000 at most, returns that version instead of making another, even if Base is not the newest version any more for that reason.
//
// # Promised cadence
//
// A pipeline can promise how often it publishes (Input.ExpectEvery). Version records carry the promise from one to the next, until another
// is made. A dataset without a newer version by then is overdue, which every instance reports. Confirmed data must not look overdue: input
// that changes nothing makes a version once a third of the promised time has passed since the last, and when the promise changes. The delta
// to that version is empty, some 150 bytes, and every such delta of one state is the same object.
//
// # Beacon and repair
//
// [Publisher.Run] does the background work of a publisher. At least one process for each store needs it. The publisher service runs it; a
// program that publishes with this package alone runs it itself, as the example does.
//
// Run sends a beacon to all instances every few seconds: the newest committed version of every dataset, as the store has it. An instance
// that missed an event learns of the version by the beacon. An instance that receives no beacon for three periods reports that it is blind.
//
// Run also compares the event log and the catalog with the store, when it starts and with each round of the beacon, and adds what they lack:
// versions of a publisher that died, and all that a deleted log or a wiped Redis had. It announces the last 1,000 versions of a dataset at
// most, in order, because an event goes to every instance; a publish that comes first does the same for its dataset. The store alone has
// older versions. Concurrent repairs are safe: [EventLog] and [Catalog] add each version once.
//
// A repair replaces versions that are not in the store's history by the store's newest version, down or up: the store was restored from an
// older copy, or created again. Versions of another store are replaced at most once a minute for each dataset. If they come back sooner, two
// stores share the log and the catalog: the repair reports [freshet.dev/pkg/events.ErrConflict] and [freshet.dev/pkg/catalog.ErrConflict].
//
// # Identity
//
// A version record names its store and the id of the version before, and its id covers both (see
// [freshet.dev/pkg/dataset.VersionRecord.VersionID]). The first publisher that finds no store id draws one.
//
// # Objects that were lost or damaged
//
// Publishing all records again heals a dataset whose newest version has lost an object or has a damaged one: a file that was removed or cut
// short by hand, a copy of a store that lacks one, a bit that flipped on the disk. A publish of equal content reads every object that the
// version record names, and verifies its digest: see [Publisher.Publish].
//
//   - If the snapshot is damaged, and the snapshot of the input is the same object (which the same release of freshet writes for equal
//     content), Publish puts it back.
//   - Else Publish commits the content once more, as the next version with a new snapshot, which instances reach by a delta without changes.
//
// Result.Warnings says which, and why, with the object's digest and its file or key.
//
// Every other reader of an object verifies what it reads: comparisons and compactions the digest of the whole, patches the checksum of each
// block. An object that fails is a suspect for this Publisher until all its bytes are verified. The Publisher commits no version that names a
// suspect: a publish of other content begins a new chain, a patch and a compaction return [ErrLost], a snapshot that a compaction wrote and no
// version names yet is ignored. An object that the store already has when it is put is verified too, and replaced if it is damaged. A patch
// reads only the blocks that it needs, so that damage elsewhere in the snapshot stays until a publish of all records or a compaction reads it.
//
// # Failpoints
//
// Between stages stand comments that go.etcd.io/gofail turns into failpoints, in test builds only. A publish passes bodyRead, snapshotStored
// and deltaStored (in this order, each of the last two only if its object is written: the store has the objects, no version names them),
// committed (before the announcement), announced (before the catalog) and indexed. A patch passes patchRead and patchDeltaStored, a rollback
// only the second, then both as a publish from committed on, which a publish that created no version passes too. A compaction passes
// snapshotMerged (the snapshot is in a temporary file) and snapshotWritten (it is in the store, without a snapshot record). The failpoint
// clockAhead takes a duration that is added to the clock from which Created, and the time of a beacon, is read.
package publish
