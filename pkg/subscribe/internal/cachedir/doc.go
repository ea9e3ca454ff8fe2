// Package cachedir keeps the last good version of each dataset in a local folder, so that a restarted instance serves
// at once, also when nothing around it is up.
//
// # Layout
//
//	<root>/.lock                       held by the process that may write (flock)
//	<root>/<dataset>/version.json      the version record of the cached version, with the member "cached" more: the snapshot
//	                                   and the deltas on it that make the version here, in order; all of them are there
//	<root>/<dataset>/<digest>.object   these objects, and those of the versions in previous.json
//	<root>/<dataset>/previous.json     the versions to fall back to until the cached one is confirmed, each as in version.json: the
//	                                   version before and, if that is not confirmed either, an older one that is
//	<root>/<dataset>/boot.json         the version that the process tries, and which versions processes died of ([Boot])
//	<root>/<dataset>/new-<random>.tmp  an object or version record that is being written
//
// A version is written by a [Draft]: objects go to temporary files while they are pulled, and get their names only
// after the caller has verified every byte of them. The rename of version.json is what makes the cached version change.
// Files are synced before they are renamed, and the folder after. Objects of the version before are removed last, so
// that at any moment there is one whole version, and the folder has to have room for two: for a snapshot, the deltas on
// it, and one new snapshot. A Draft that fails gives its room free at once. With [Dir.Retain] the folder needs room for one
// version more, and for two more while versions follow each other before they are confirmed; versions that deltas led to share
// their objects. previous.json is written before version.json names another version.
//
// A version that deltas led to is made of what was cached before and these deltas ([Draft.Extend]), so what is written
// follows what changed. When the deltas have become many, somebody puts one new snapshot in the place of those that
// lead up to it ([Draft.Shorten]), also while later deltas are being added. It is not begun without room for it and for
// these deltas; until there is, deltas go on being added, because to be the newest version is what the cache is for.
//
// # A disk that hangs
//
// Every operation of the file system is timed. One that takes longer than the patience of the [Disk] makes the folder hang: all calls
// that are under way return [ErrHangs], and so does each that begins, until the operation returns ([Dir.Hangs]). The operations of
// a call that returned early go on alone: a draft undoes itself, and a later call repeats the others, or they change nothing.
// After Close they end at their next operation. So at most as many goroutines hang as there were calls when the first operation was
// overdue, and one for each version that is read.
//
// The objects of a version that is open are read on while the folder hangs elsewhere: only a read that hangs itself ends with
// [ErrHangs]. A start from a slow disk with many datasets would otherwise begin again whenever one of them pauses.
//
// A small version waits in memory until its Commit, so that a refresh touches the disk after its swap alone.
//
// The package trusts nothing that it finds: the reader of a [Stored] version verifies it again like a pulled one. If a delta
// is damaged or lost, the snapshot and the deltas before it are an older version, which the reader serves until a relay
// answers. They stay in the folder until a whole version takes their place ([Dir.Damaged]).
//
// The folder belongs to one process at a time. A second one, such as the next release of a service that starts while
// the last one is still stopping, reads it but does not write until the first has ended.
package cachedir
