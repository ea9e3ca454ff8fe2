// Package bootguard prevents a version that kills the process from killing it again at every restart.
//
// Before a version is loaded, a mark in the dataset's cache folder names it (boot.json, see [cachedir.Boot]). The mark is removed:
//   - when the process has served the version for some time,
//   - when a caller confirms the version,
//   - when the version could not be loaded,
//   - when the process stops normally.
//
// If the next process finds a mark, the previous process died of that version, unless the machine was booted in between. After [maxDeaths]
// deaths the version is quarantined: it is no longer loaded, and the cache folder falls back to the previous version.
//
//	       Try                Swapped                   confirmed
//	(none) --> being loaded -----------> on probation -----------> (none, never quarantined)
//	  ^            |                          |
//	  +--- Undo ---+                          +--- process dies: a death at the next start
//
// For each dataset, a death counts for the version that was tried last. With several datasets the guard cannot know which version was at
// fault. If one death would quarantine versions of several datasets, only the version whose first try was the latest is quarantined, and
// the others need one more death. A confirmed version is never marked again. Only the process that holds the cache folder writes marks;
// other processes only respect the quarantine in the file.
//
// A mark belongs to the call of Try that set it, so a load that was abandoned and returns late does not remove the mark of another load.
// The death of the previous process is counted when the marks of all datasets can be read. Until then no mark is set.
//
// No load waits more than half a second for a disk that hangs: the version is then loaded without a mark. Marks and deaths are written
// without a sync, because they need to survive only the process. A confirmation is synced. No load and no other dataset waits for that
// sync, and a confirmation waits for it no longer than a second.
package bootguard
