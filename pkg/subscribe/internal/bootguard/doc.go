// Package bootguard keeps a version that kills the process from killing it again at every restart.
//
// Before a version is loaded, a mark in the dataset's cache folder names it (boot.json, see [cachedir.Boot]). The mark goes when the
// process has served the version for some time, when a caller confirms it, when it could not be loaded, and when the process stops in
// good order. A mark that the next process finds is a death, unless the machine was booted in between. After [maxDeaths] deaths the
// version is quarantined: it is not loaded any more, and the cache folder goes back to the version before.
//
//	       Try                Swapped                   confirmed
//	(none) --> being loaded -----------> on probation -----------> (none, never quarantined)
//	  ^            |                          |
//	  +--- Undo ---+                          +--- process dies: a death at the next start
//
// Of each dataset, what counts is the version that was tried last. Which dataset was at fault is not known: of several versions that
// would be quarantined for one death, the one that was first tried last is, and the others need one more death. A confirmed version is never marked again. Only the process that holds the cache
// folder writes marks; one that does not hold it keeps to what the file says.
//
// A mark belongs to the call of Try that set it: a load that was abandoned and returns late takes back no other load's mark. The death
// of the process before is counted when the marks of all datasets can be read; until then no mark is set.
//
// Nothing waits for a disk that hangs for longer than half a second: the version is then loaded without a mark.
package bootguard
