// Package subscribe keeps datasets in the memory of a service, always at their newest version.
//
// [Open] starts a [Subscriber]; [Subscriber.Table] gives the version that is served now, as one atomic load, at any
// time from any goroutine. Readers never wait for a refresh, and what they have got hold of never changes under them.
//
// # Refreshing
//
// New versions are learned of from the event log (NATS), and their bytes pulled from relays (HTTP). One supervised
// goroutine decides and swaps; a fixed number of lanes do the work. Of each dataset one refresh runs at a time, to
// the newest version announced when it begins. Version numbers order versions, and ids tell them apart. An event leads
// upwards only.
//
// The store decides, and an instance's store is the one that its relays read. Messages of other stores are ignored and
// counted. If all relays that are up read another store than before, the instance follows them. An instance whose version is
// not in the store's history is diverged: it moves to the store's newest version, down, up, or to another version of the same
// number, once a beacon and a relay of its store both name that version. If publishers on copies of one store contradict each
// other, the instance stays where it is. A version that an event alone names, that cannot be loaded and that the store does
// not have costs one failed attempt.
//
// A version is made from the one that is served by the deltas that lead on from it, where they are fewer bytes than a
// snapshot with the deltas after it; the versions in between are not served. Deltas that turn out not to lead to the
// version, that no relay has, or that are refused twice in a row for their content, are given up for the snapshot; the
// log, the report, the status and the Observer then say so.
//
// Whatever goes wrong (a server that is down, a damaged file, no progress for [Config].StallTimeout, a panic) is
// logged, reported and tried again with exponential backoff and jitter, forever, while the last good version is
// served. A newer version does not wait for one that fails.
//
// A refresh that hangs is cancelled. If the refresh does not end then, it is abandoned: its goroutine cannot be killed, but nothing
// waits for it, and another one brings up the next version. At most four hang at versions of one dataset; beyond that the dataset's
// error says that only a restart helps.
//
// One slow thing does not hold up the rest:
//
//   - A refresh that makes no progress for 0.2 s lends its lane to another dataset. When it can go on, it waits for a free lane;
//     lanes go in turn to such refreshes and to datasets that wait.
//   - Datasets that fail never have all lanes, and their retries stand behind the first attempts of others.
//   - What the event log says is taken in at once. Queries of the relays go on beside that, one for each dataset.
//   - No swap waits until the version before is in the cache folder.
//   - A relay that does not answer for 0.4 s is hedged: another one is asked too, and the first answer counts. A slow store, which makes
//     all relays slow, is hedged for about one request in twenty.
//
// # Never silently stale
//
// [Subscriber.Status] says of every dataset how fresh it is: its state (see [fleet.State]) and since when, the version that
// is served and the newest known, since when it is behind, and how old the data is. It is judged at the moment of asking.
// Every change of a state is logged, reported to the fleet and told to the Observer.
//
// Events can be lost. A publisher therefore sends beacons, which name the newest version of each dataset in its store
// (package events). An instance that hears of a version of which no event came asks the event log, and if that does not know
// the version the relays; when it has learned of it that way, it is counted as healed. And an instance that has heard no
// beacon for three of its periods says that it is blind: what it serves may still be the newest, but nobody has said so. It
// asks for nothing by a timer of its own, so that an outage of the publisher is not a storm on the relays. It is blind from
// its start until the event log, or a relay, or a beacon says what the newest version is, also if it serves the version in
// its cache folder meanwhile.
//
// A version may promise when the next one comes ([dataset.VersionRecord].ExpectEvery). If that does not come the dataset is
// overdue, which is the pipeline's fault and not the instance's. That, and the age of the data, is all that is decided by
// the clock on the wall; a clock that jumps makes these two wrong and stops nothing.
//
// # What is certain about a table
//
// Every byte of its file was read and is covered by a digest and by checksums, and its records add up to the state
// checksum that the publisher committed. What does not is never served, not even in part.
//
// # Starting
//
// Open fails only for a [Config] that cannot work; servers that are down are waited for. With [Config].CacheDir the
// versions that were served last are there at once, verified like pulled ones, also when NATS, Redis and the relays
// are all down; the log and the status then say that they come from the cache. A dataset that has no version yet is
// no error: the instance waits for the first. Right after the start, after every reconnect and whenever events may
// have been missed, the event log is asked for the newest versions; the relays are asked about datasets that the log
// does not know. While NATS does not answer, the relays are asked only about datasets of which nothing is served yet.
//
// The cache folder has a snapshot and the deltas that were applied since, so that keeping a version costs what it
// changed. When these deltas are more than 256, or more than half of the snapshot's bytes, the table is written as a
// new snapshot, on a goroutine of its own beside the refreshes. So is a version that could not be kept because versions before it were
// still being written, or because the disk hung. That needs room for a second snapshot: without it
// deltas go on being added, the dataset's warning in [Subscriber.Status] says how much is needed, and the next try is
// made after a pause that doubles from a second to ten minutes.
//
// An operation at the folder that takes longer than half a second says that the disk hangs; one that writes a file out, longer than half
// a minute. Versions then go past the folder, the boot guard is off, and the status warns of the operation's path. Open and Close do
// not wait for a disk that hangs; Close waits 10 seconds at the most for versions on their way to a slow one. When the operation
// returns, the folder is used again: the served versions are written to it, and datasets of which nothing is served yet are read from
// it.
//
// If a delta in the folder is damaged or lost, a restarted instance serves the version that the intact snapshot and the
// deltas before the damage make. Its warning names the object, and the next version from a relay replaces what is there.
//
// # Boot guard
//
// With [Config].CacheDir, a mark in the cache folder names each version before it is loaded. The mark goes [Config].ConfirmAfter after
// the swap, by [Subscriber.Confirm], or when the subscriber is closed. A mark that the next process finds is a death, unless the
// machine was booted in between. After two deaths a version that is not confirmed is quarantined: the version before is served, the
// status says quarantined and names the version, and the next version is taken. A process that ends without [Subscriber.Close], by
// SIGTERM too, counts as dead; one where Close comes late calls [Subscriber.Stopping] first. A function of the service that panics
// where the subscriber calls it kills no process and does not count.
//
// Of each dataset, a death counts for the version that was tried last; of several that would be quarantined for one death, the one
// that arrived last is. If a version is not confirmed when the next one comes, the folder keeps both it
// and the last confirmed one. Content that is served on under another id of the store takes the confirmation over with the id; the
// deaths stay with the id that they happened at. Without a cache folder there is no guard.
//
// # Goroutines and memory
//
// Everything that Open started has ended when [Subscriber.Close] returns, but for the goroutines of the connections
// that it closed, which end right after, and for those of refreshes that hang and were given up, which end when the hanging
// does. The number of goroutines does not follow the number of refreshes.
//
// During a refresh the old and the new table are both in memory. When refreshes have replaced memory of a twentieth of the
// live heap, and of 4 MiB at least, a goroutine of the subscriber calls runtime.GC, so that the next refreshes use it again
// and the heap does not double first. It does so beside readers and refreshes, only while tables are more than half of the
// live heap, and at most a twentieth of the time. See [table.Reclaimer].
package subscribe
