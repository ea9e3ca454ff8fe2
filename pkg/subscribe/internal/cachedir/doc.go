// Package cachedir keeps the last good version of each dataset in a local folder. A restarted instance serves that version immediately,
// even if no relay and no server is up.
//
// # Layout
//
//	<root>/.lock                       held by the process that may write (flock)
//	<root>/<dataset>/version.json      the version record of the cached version. Its additional member "cached" has the snapshot and the
//	                                   deltas that make the version from the files here, in order; all of them are in the folder
//	<root>/<dataset>/<digest>.object   these objects, and those of the versions in previous.json
//	<root>/<dataset>/previous.json     the versions to fall back to until the cached version is confirmed, each in the form of
//	                                   version.json: the previous version and, if that is not confirmed either, an older confirmed one
//	<root>/<dataset>/boot.json         the version that the process tries, and the versions that processes died of ([Boot])
//	<root>/<dataset>/pins.json         the pins of the dataset, with a checksum ([dataset.Pins]); absent if it never had one
//	<root>/<dataset>/new-<random>.tmp  an object or version record that is being written
//
// A [Draft] writes a version. Objects go to temporary files during the pull, and get their names only after the caller has verified every
// byte. The rename of version.json changes the cached version. Each file is synced before its rename, and the folder after it. The
// objects of the previous version are removed last, so the folder has one complete version at any time. boot.json is overwritten in place,
// and only [Dir.SyncBoot] syncs it.
//
// # Space
//
// The folder needs space for two versions: a snapshot, the deltas on it, and one new snapshot. A Draft that fails frees its space
// immediately. With [Dir.Retain] the folder needs space for one more version, and for two more while versions follow each other faster
// than they are confirmed. Versions that differ by deltas share their objects. previous.json is written before version.json names another
// version.
//
// A version that deltas led to consists of the objects that were cached before and these deltas ([Draft.Extend]), so the amount written
// follows the amount changed. When there are many deltas, the caller replaces the first objects with one new snapshot ([Draft.Shorten]),
// also while later deltas are being added. A snapshot is not started without enough free space for it and for these deltas. Deltas are
// still added then, because the cache must have the newest version.
//
// # A disk that hangs
//
// Every operation of the file system is timed. If one takes longer than the patience of the [Disk], the folder hangs until that operation
// returns ([Dir.Hangs]). While it hangs, all calls in flight and all new calls return [ErrHangs]. The operations of a call that returned
// early continue: a draft undoes its work, and the other operations change nothing or are repeated by a later call. After Close they stop
// at their next operation. So the number of goroutines that hang is at most the number of calls that were in flight when the first
// operation was overdue, and one for each version that is being read.
//
// Reads of the objects of an open version continue while the folder hangs elsewhere. Only a read that hangs itself returns [ErrHangs].
// Otherwise the start of an instance with many datasets on a slow disk would restart whenever one read pauses.
//
// The Draft keeps a small version in memory until its Commit, so that a refresh uses the disk only after its swap.
//
// # Trust
//
// The package does not trust the folder: the reader of a [Stored] version verifies it like a pulled one. If a delta is damaged or lost,
// the snapshot and the deltas before it are an older version. The reader serves that version until a relay responds. Its objects stay in
// the folder until a complete version replaces them ([Dir.Damaged]).
//
// The folder belongs to one process at a time. A second process, such as the next release of a service that starts while the last one is
// stopping, reads the folder and does not write to it until the first process has ended.
package cachedir
