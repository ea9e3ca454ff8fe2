// Package refresh is the one supervised goroutine of an instance: it decides when which dataset is brought to which
// version, and swaps.
//
// # Who does what
//
//	event log --Versions, CatchUps--> +------+ --job--> lane 1 ... lane n   (pull, decode, verify, index)
//	publisher -------------Beacons--> | loop |
//	readers <--atomic load-- served --+------+ <--loaded, finished-- lanes --> finisher  (cache)
//	                                   |  ^  ^
//	                                   v  |  +--logged-- catcher            (asks the log)
//	                             Watcher  +--inquired-- inquiries           (ask the relays, one for each dataset)
//
// The loop owns all state of refreshing. It never waits for a network, a disk or a user's function; the others do that work and answer
// with a message. The number of their goroutines is bounded, and does not follow the number of refreshes.
//
// A job has a lane as long as it makes progress. One that makes none for lendAfter lends its lane, and waits for a free one when it goes
// on. Config.Lanes is how many make progress at a time, and eight times as many may be under way.
//
// # Rules
//
//   - Version numbers order versions, ids tell them apart. An event of a version that is not above the served one is a no-op.
//   - The relays' store decides. Down, or to another version of the same number, leads only what a beacon and a relay of that
//     store both name ([Health].Diverged). While a beacon contradicts what is served and the relays have not settled it, the
//     dataset is blind ([Health].Doubt).
//   - A version that processes died of ([Deps].Barred) is the target, but is not loaded: the dataset is quarantined. That is no
//     failure and is not retried. A higher version, or another id of the same number, takes its place.
//   - Messages of other stores are ignored. If every relay that is up names another store in a catch-up, that store becomes the instance's. A relay
//     that is slow, busy or without its store may read any store, so the instance keeps its own.
//   - One refresh at a time per dataset, always to the newest version announced when it begins: a burst collapses.
//   - A failure of any kind (error, panic, no progress for Config.Stall) is reported and tried again, forever,
//     with exponential backoff and jitter. Meanwhile the last good version is served.
//   - Datasets that fail never have all lanes, and stand behind the others. When all lanes have long refreshes, a dataset that is
//     served gets one lane more.
//   - What is left to be done after a swap is done in order, beside the lanes. A refresh waits for it for a second at most, and only when
//     three versions wait for it.
//   - A failure belongs to an attempt, not to a version: the next attempt starts clean. A version newer than the
//     one that failed does not wait for the end of its backoff.
//   - A job that does not end within a grace after it was cancelled is lost: the lane goes on without it. The version that it
//     is at is not tried again before its goroutine returns, and at most maxLost goroutines hang at one dataset.
//   - A beacon that names a version of which no event came is a reason to catch up, at once. If neither the log nor the
//     relays know the version, the catch-up has failed, and is tried again with backoff until they do, or until nobody
//     names the version any more.
//   - What the log says is taken in at once. A record that may be of a history that a restore ended waits for the relays for headStart.
//   - What vouches for a dataset is a beacon and an answer to a catch-up. After three periods of the beacon without either
//     it is blind. No timer makes the loop ask for anything: it wakes at such deadlines to tell the Watcher.
//   - The state of a dataset is what [Health.Judge] says, for the loop as for those who ask.
//   - If the loop itself panics it is started again, with the state that it had, and catches up: what it was told when it
//     panicked may be lost.
package refresh
