// Package refresh is the one supervised goroutine of an instance: it decides when which dataset is brought to which
// version, and swaps.
//
// # Who does what
//
//	event log --Versions, CatchUps--> +------+ --job--> lane 1 ... lane n   (pull, decode, verify, index, cache)
//	                                  | loop |
//	readers <--atomic load-- served --+------+ <--loaded, finished-- lanes
//	                                      |  ^
//	                                      v  +--caught up-- catcher         (asks the log and the relays)
//	                                    Watcher
//
// The loop owns all state of refreshing. It never waits for a network, a disk or a user's function; lanes and the
// catcher do that work and answer with a message. Their number is fixed when [Engine.Run] starts, so the number of
// goroutines does not follow the number of refreshes.
//
// # Rules
//
//   - Only version numbers order things. A version that is not above the served one is a no-op.
//   - One refresh at a time per dataset, always to the newest version announced when it begins: a burst collapses.
//   - A failure of any kind (error, panic, no progress for Config.Stall) is reported and tried again, forever,
//     with exponential backoff and jitter. Meanwhile the last good version is served.
//   - A failure belongs to an attempt, not to a version: the next attempt starts clean. A version newer than the
//     one that failed does not wait for the end of its backoff.
//   - If the loop itself panics it is started again, with the state that it had, and catches up: what it was told when it
//     panicked may be lost.
package refresh
