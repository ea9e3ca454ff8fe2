// Package refresh keeps the datasets of one instance at their newest versions. One supervised goroutine, the loop,
// owns all state and makes all decisions. It never waits for a network, a disk or a user's function: other goroutines
// do that work and send a message with the result. Their number is bounded and does not grow with the number of refreshes.
//
// # From an event to a swap
//
//  1. A version record arrives on [Deps].Versions. onRecord ignores the record of another store, of a version that
//     is not above the target, and of a version that was rejected before.
//  2. advance makes the version the dataset's target. It replaces an older target, so a burst of events collapses into one refresh.
//  3. queueDue appends the dataset to the queue when its target is above the served version, no refresh of it is running and
//     its backoff has ended.
//  4. dispatch takes a dataset from the queue when a lane is free, and sends a job for its target to a worker.
//  5. The worker calls [Loader].Load, which pulls, decodes, verifies and indexes the version. A watchdog cancels a job without
//     progress (worker.go).
//  6. The worker sends the result. onLoaded stores it as the served version, which is the swap, and reports it to the [Watcher].
//     Readers see the version from then on: a read is one atomic load.
//  7. The worker calls Loaded.Swapped and hands Loaded.Finish, which writes the cache, to the finisher. onJobDone frees the lane.
//
// A lost event changes only the beginning. A publisher's beacon names the newest version of each dataset. If no event announced that
// version, onBeacon requests a catch-up. A catch-up reads the event log and, where the log does not settle the newest version, queries
// the relays. The record that it finds enters at step 1 or 2. A catch-up also runs at the start, after a reconnect and after a
// panic of the loop.
//
// # Goroutines
//
//	event log --Versions, CatchUps--> +------+ --job--> workers     (Loader.Load: pull, decode, verify, index)
//	publisher -------------Beacons--> | loop | <--loaded, jobDone--
//	readers <--atomic load-- served --+------+ <--finishDone-- finisher     (Loaded.Finish: cache)
//	                                   |  ^  ^
//	                                   v  |  +--logRead-- log reader        (Log.Latest)
//	                             Watcher  +--queried----- queries           (Relays.Latest, one for each dataset)
//
// A lane is a slot for a job that makes progress. A job without progress for yieldAfter yields its lane, and waits for a free one before it
// goes on. Config.Lanes bounds the jobs that make progress; up to flightsPerLane times as many may be in flight, and as many again may hang.
// When that bound is reached, a dataset that is served takes the place of the job that has hung for the longest, which is cancelled.
//
// # States of a dataset
//
// [Health.Judge] returns the state, for the loop as well as for status requests. The first that applies holds:
//
//   - failing: the last attempt to load failed.
//   - quarantined: the newest version is in [Deps].Barred, because processes died of it. It is not loaded.
//   - diverged: the served version is not in the store's history, or the store has no version.
//   - blind: no beacon and no catch-up confirmed the newest version for three beacon periods, or a beacon or a relay contradicts the
//     served version and no relay has settled which is right.
//   - refreshing: a worker loads a newer version.
//   - lagging: a newer version is known and waits.
//   - overdue: the publisher promised a version by now.
//   - deleted: the newest version is served and deletes the dataset; readers keep the table that they have.
//   - waiting: the dataset has no version yet.
//   - fresh: the newest version is served.
//
// # What is retried, and when
//
// The last good version is served through all of this.
//
//   - A load that fails by an error, a panic or a stall is retried forever with exponential backoff ([Retry]). Each attempt starts clean.
//     A newer version shortens the backoff to Retry.Initial after the failure. A relay's Retry-After lengthens it up to Retry.Max.
//   - A job that does not end within a grace period after its cancellation is abandoned, and its lane is free again. Its version
//     is not retried before its goroutine returns. At most maxAbandoned goroutines may hang at one dataset.
//   - A catch-up that fails is retried with exponential backoff. It has also failed if a beacon names a version that neither the log
//     nor the relays know; retries end when the version is found or no publisher names it any more.
//   - A stored version that could not be read is read again when [Deps].StoredAgain reports that the folder works, if nothing is served.
//   - Finish is not retried. A Finish that hangs is abandoned, and the next one runs.
//   - A panic of the loop restarts the loop with backoff. The state survives, and a catch-up finds the messages that were lost.
//
// # Rules
//
//   - Numbers order versions. Ids distinguish versions of the same number.
//   - The relays' store decides. A dataset moves to a lower version, or to another version of the same number, only if a beacon and a
//     relay of that store both name the version ([Health].Diverged).
//   - Messages of other stores are ignored. The instance adopts another store only when every relay that is up names that store
//     in one catch-up. A relay that is slow, busy or without its store may read any store, so the instance keeps its own.
//   - Datasets that are served take turns in the queue with those that are not. Datasets that fail stand behind both and never occupy all
//     lanes. When long refreshes occupy all lanes, a dataset that is already served gets one lane more.
//   - Finish calls of one dataset run in the order of its refreshes. A refresh waits for them for finishWait at most, and only if
//     maxUnfinished are pending.
//   - The loop accepts log records at once. A record that may belong to a history that a restore ended waits for the relays
//     for headStart.
//   - A barred version stays the target without being loaded. A higher version, or another id of the same number, replaces it.
//   - Timers start no request. The loop wakes at deadlines of states only to report the change to the Watcher.
package refresh
