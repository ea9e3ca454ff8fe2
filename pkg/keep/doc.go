// Package keep removes objects that no kept version of a dataset needs.
//
// The retention of a dataset is a setting: [dataset.Retention]. A version is kept if it
//
//   - is among the newest N (keep_versions),
//   - was superseded less than a time ago (keep_for),
//   - is pinned or served by an instance, or
//   - has only objects that kept versions need: it is named by them.
//
// Of a deleted dataset the second reason replaces the first, because no further version may come: [dataset.Retention.AfterDelete].
//
// All objects that the records of versions name that are kept for one of the first three reasons are needed, and the snapshots of compactions that shorten its chain. Of a dataset
// without the setting all versions are kept. Version records are never removed. The journal says which versions lost their objects, before
// they do: an entry of the kind "gc".
//
// # A run
//
// [Collector.Run] plans for all datasets, because datasets may share objects. Then it removes the objects that were marked at least the
// grace time ago and that are still not needed. Then it marks the objects that are not needed, among them left-overs of publishers that
// died, if they are at least the grace time old. So an object is removed twice the grace time after it was written at the earliest, and
// by the second of two runs.
//
// A run harms no publisher that commits at the same time:
//
//   - Objects that the newest version names are needed, so a version after it may name them.
//   - Objects that a publisher has just written are too young to be marked.
//   - All other objects that a commit, a compaction, a rollback or a pin names are held: see package hold, which has the argument. An object
//     that was removed just before is written again, because the publish is prepared again.
//   - A retention that is changed, or a store that is replaced, ends the run: the next one makes a new plan.
//
// A run may die at any point. The journal names all versions that lost objects by then. A later run removes or spares the marked objects. If the journal says
// that a version lost its objects and they are still there, the next run removes them.
//
// # Time
//
// All ages are by the store's clock: the times of files, or of keys in a bucket. A clock that jumps removes nothing:
//
//   - If the store's clock and this process's clock do not agree on the time that has passed since the last run, if the store's clock went
//     back, or if the two clocks differ by more than ten minutes, the run removes nothing, and says so.
//   - After a jump, all marks are dropped, and no version counts as superseded before the jump.
//   - A record that was written while the clock was behind does not look old: of all records up to it the latest time counts.
//
// A jump forward while no collector runs looks like time that has passed.
package keep
