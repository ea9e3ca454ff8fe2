// Package subscribe keeps datasets in the memory of a service, at their newest version.
//
// [Open] starts a [Subscriber]. [Subscriber.Dataset] returns the handle of a dataset, through which readers look up records with
// one atomic load, at any time and from any goroutine. Readers never wait for a refresh, and a table that a reader holds never
// changes.
//
// # Refreshing
//
// The event log (NATS) announces new versions, and relays (HTTP) send their bytes. One supervised goroutine decides and swaps; a
// fixed number of refreshes load versions at a time. At most one refresh of a dataset runs at a time, and loads the newest version that is
// announced when it begins. Versions are ordered by their numbers and identified by their ids. An event never leads to a lower
// version.
//
// The store decides which version is the newest, and the store of an instance is the one that its relays read:
//
//   - Messages of other stores are ignored and counted.
//   - If all relays that are up read another store than before, the instance follows them.
//   - An instance whose version is not in the store's history is diverged. The instance moves to the store's newest version (up, down, or to
//     another version of the same number) once a beacon and a relay of its store both name that version.
//   - If publishers on copies of one store contradict each other, the instance keeps its version.
//   - A version that only an event names, that cannot be loaded and that the store lacks costs one failed attempt.
//
// A version is made from the served version with deltas if these are fewer bytes than a snapshot with the deltas after it. The
// versions in between are not served. The snapshot replaces the deltas if they do not lead to the version, if no relay has them,
// or if their content is refused twice in a row; the log, the report, the status and the [Observer] then say so.
//
// A failure (a server that is down, a damaged file, no progress for [Config].StallTimeout, a panic) is logged, reported and
// retried with exponential backoff and jitter, without end. The last good version stays served. A newer version does not wait
// for a version that fails.
//
// A refresh that hangs is cancelled. If it does not end then, it is abandoned: Go cannot kill its goroutine, but nothing waits
// for it, and another goroutine loads the next version. At most four refreshes of a dataset hang at a time; after that the
// dataset's error says that only a restart helps.
//
// A slow part does not delay the others:
//
//   - A refresh that makes no progress for 0.2 s passes its turn to another dataset. To continue it waits for a free turn. Turns
//     alternate between such refreshes and datasets that wait. [Config].Lanes is the number of turns.
//   - Failing datasets never occupy all turns, and their retries come after the first attempts of others.
//   - The answer of the event log is applied at once. Queries of the relays run in parallel, one for each dataset.
//   - A swap does not wait until the version before is in the cache folder.
//   - A request to a relay that does not answer for 0.4 s is hedged: another relay gets it too, and the first answer counts. If a
//     slow store makes all relays slow, about one request in twenty is hedged.
//
// # Lanes
//
// [Subscriber.Lanes] has the lanes of package lane that all refreshes and eager views of the subscriber share: the CPU lane, where they decode
// and index, leaves a processor to lookups, and the I/O lane has their requests. A service runs its own heavy work in the CPU lane
// ([lane.Lane.Do]), so that it delays neither lookups nor, for long, refreshes.
//
// # Never silently stale
//
// [Subscriber.Status] reports for each dataset its state (see [fleet.State]) and since when, the served version and the newest
// known one, since when it is behind, and the age of the data. The state is judged during the call. Every change of state is
// logged, reported to the fleet and passed to the [Observer].
//
// Events can be lost. A publisher therefore sends beacons, which name the newest version of each dataset in its store (package
// events). If a beacon names a version of which no event came, the instance queries the event log, and then the relays. A version
// that it learns of this way is counted as healed.
//
// An instance without a beacon for three of its periods is blind: its version may still be the newest, but nothing confirms that.
// No timer makes it query anything, so an outage of the publisher does not become a storm on the relays. An instance is blind from
// its start until the event log, a relay or a beacon names the newest version, also while it serves the version in its cache
// folder.
//
// A version may promise when the next one comes ([dataset.VersionRecord].ExpectEvery). If the next one is late, the dataset is
// overdue: the pipeline is at fault, not the instance. Only this state and the age of the data depend on the wall clock. A clock
// that jumps makes them wrong and stops nothing.
//
// # Deleted datasets
//
// A version may delete its dataset ([dataset.VersionRecord].Deleted). The subscriber keeps the table that it has, and lookups go on; the
// status is deleted and says who deleted the dataset and why, as [Dataset.Deleted] does. If the version drops tables, it replaces the
// table by an empty one: lookups find nothing. A subscriber without a table has none then; its waits and lookups end with a
// [DeletedError]. A version after that begins again, from its snapshot.
//
// The cache folder keeps the table too. After a restart it is served, and is deleted again once the event log or a relay says so.
//
// # Labels and remote gets
//
// [Config].Labels are in the status; operators choose instances by them. With [Config].RemoteGet the instance answers requests over
// NATS for the records that it serves ([fleet.Get], the command `freshet get --instance`). One goroutine answers them, one at a time,
// from the served table. Requests that arrive faster are dropped, and neither lookups nor refreshes wait for them.
//
// # Replays
//
// An operator can make the instance take the version that it serves in again, over NATS ([fleet.Replay], the command `freshet replay`):
// functions given to OnSwap are called again with [Swap].Replayed, and eager views are rebuilt. A full replay pulls the snapshot again,
// as a refresh does, and replaces the table and the files in the cache folder. Lookups read the old table
// until then, and go on with it if the replay fails. One full replay of a dataset runs at a time, and a newer version comes first.
//
// # Verification
//
// A table is served only if all of the following hold. No part of another table is ever served.
//
//   - Every byte of its file was read and is covered by a digest and by checksums.
//   - Its records add up to the state checksum that the publisher committed.
//
// # Starting
//
// Open fails only for a [Config] that cannot work; it does not wait for servers that are down. With [Config].CacheDir the versions
// served last are there at once, verified like pulled versions, even if NATS, Redis and the relays are all down. The log and the
// status say that they come from the cache. A dataset without a version is no error: the instance waits for the first.
//
// After the start, after every reconnect and whenever events may have been missed, the instance queries the event log for the
// newest versions, and the relays for datasets that the log does not know. While NATS does not answer, it queries the relays only
// for datasets that have no version yet.
//
// # Connections
//
// The subscriber makes its connections to NATS and to the relays, and closes them in [Subscriber.Close]. [Config].NATSConn and
// [Config].Transport replace them by the caller's. The subscriber never closes the caller's: the caller closes them after Close.
//
// # Cache folder
//
// The cache folder has a snapshot and the deltas applied since, so that the cost of storing a version follows its changes. The
// table is written as a new snapshot on a separate goroutine when
//
//   - the deltas are more than 256, or more than half of the snapshot's bytes, or
//   - a version was not stored because writes of earlier versions were in progress, or because the disk hung.
//
// A new snapshot needs space for a second one. Without it, deltas continue to be added, the dataset's warning in
// [Subscriber.Status] says how much space is needed, and the write is retried after a pause that doubles from a second to ten
// minutes.
//
// If an operation in the folder takes longer than half a second, or one that syncs a file longer than half a minute, the disk
// hangs. Versions then bypass the folder, the boot guard is off, and the status warns with the operation's path. Open and Close do
// not wait for a disk that hangs; Close waits up to 10 seconds for writes to a slow one. When the operation returns, the folder is
// used again: the served versions are written to it, and datasets without a version are read from it.
//
// If a delta in the folder is damaged or lost, a restarted instance serves the version that the intact snapshot and the deltas
// before the damage make. Its warning names the object, and the next version from a relay replaces the damaged files.
//
// # Boot guard
//
// With [Config].CacheDir, a mark in the cache folder names each version before it is loaded. The mark is removed
// [Config].ConfirmAfter after the swap, by [Subscriber.Confirm], or when the subscriber is closed. A mark that the next process
// finds is a death, unless the machine was booted in between. After two deaths a version without confirmation is quarantined: the
// version before is served, the status says quarantined and names the version, and the next version is loaded.
//
// A process that ends without [Subscriber.Close], by SIGTERM too, counts as dead. If Close comes late, call
// [Subscriber.Stopping] first. A function of the service that panics in a call by the subscriber does not kill the process and
// does not count.
//
// For each dataset, a death counts for the version that was attempted last. If one death would quarantine versions of several
// datasets, only the one that arrived last is quarantined. If a version is not confirmed when the next one comes, the folder keeps
// both it and the last confirmed one. Content that is served under another id of the store keeps its confirmation; deaths stay
// with the id that they happened at. Without a cache folder there is no guard.
//
// # Bounds
//
// [Config].Bounds keep a version that would not fit from being loaded: one with too many records or bytes, or for which too little memory
// is left. The refusal costs no pull, the version before stays served, and the status has the bound and the numbers.
//
// # Goroutines and memory
//
// All goroutines that Open started have ended when [Subscriber.Close] returns, with two exceptions: the goroutines of closed
// connections, which end soon after, and those of abandoned refreshes, which end when their operation returns. The number of
// goroutines does not grow with the number of refreshes.
//
// Tables of earlier versions are kept within Config.KeepRoots, so that a rollback to one of them pulls nothing.
//
// During a refresh the old and the new table are both in memory. When refreshes have replaced memory of a twentieth of the live
// heap, and of at least 4 MiB, a goroutine of the subscriber calls runtime.GC, so that the next refreshes reuse the memory before
// the heap doubles. The collection runs concurrently with readers and refreshes, only while tables are more than half of the live heap, and at
// most a twentieth of the time. See [table.Reclaimer].
package subscribe
