// Package tracking invalidates the client-side caches of clients that read datasets in Redis' protocol: CLIENT TRACKING, as Redis has it.
//
// A client that turns tracking on keeps the answers to its reads. The server sends it an invalidation of each such key whose record a
// new version changes, and the client drops the answer. A key of the protocol is `dataset:key`.
//
// # Modes
//
//   - Default: [Session.Read] records the keys that a client reads. An invalidation forgets the key until the client reads it again.
//   - OPTIN and OPTOUT: the same, with CLIENT CACHING YES or NO choosing the commands whose keys are recorded.
//   - BCAST: nothing is recorded. The client has all changed keys that begin with one of its prefixes.
//   - NOLOOP is accepted and changes nothing, because clients write nothing through this port.
//
// Errors and formats are those of Redis, with two differences. REDIRECT is refused, because the port has no channels. CLIENT TRACKING ON is
// refused in RESP2, and HELLO 2 ends tracking: such a client would have no invalidations and keep stale answers for ever. Redis accepts both.
//
// # Bounds
//
// Config.Keys bounds the tracked keys of all clients together; a key that n clients have read counts n times. Past the bound a random key
// falls out, and its clients have an invalidation of it first. A tracked key takes about 85 bytes and its own length
// (BenchmarkTrackedKeyMemory); the same key for a further client about 65 bytes. The keys of a client that has left stay until they are
// invalidated, fall out, or are half of all tracked keys; then they are removed together.
//
// The changes of a version cost one lookup each, and nothing while no client tracks. A client that would have more than
// [maxKeysASwap] keys or [maxBytesASwap] bytes invalidated by one swap has a flush instead (an invalidation of all keys), as has each
// client with keys of a dataset that is loaded in full. The port cuts a client that does not take its pushes.
//
// # Why no client keeps a stale answer
//
// A port calls [Session.Read] before it loads the pointer to the served table. A version is served before [Tracker.Changed] is called for it. All of
// these are atomic operations or happen under a mutex, so that they have one order. There are two cases:
//
//   - The read has the table with the change. Its answer is current. An invalidation that comes as well costs the client one read more.
//   - The read has an earlier table. Then the pointer was replaced after the read loaded it, Changed was called after that, and therefore after
//     Read recorded the key: Changed finds the key (or finds that the client tracks its prefix, or that there is a tracking client at all) and
//     sends an invalidation.
//
// The invalidation must not overtake the answer, or the client would drop nothing and then keep the old answer. [Client.Push] therefore sends
// it after the replies to all commands that have begun.
//
// Four more places keep this true:
//
//   - Swaps merge while Changed runs. A record that changes and changes back in merged swaps does not differ in the end, but a client may have read
//     the version in between. [subscribe.Swap.Touched] therefore has the keys of all deltas, and not only of records that differ.
//   - A key that falls out is invalidated in the same way, also for the client whose read made it fall out.
//   - When a client has a flush in the middle of a swap, its later reads are recorded under another [watch]. Read records the key again if its
//     watch ended in the meantime, so that no key is recorded where nothing looks for it.
//   - A swap whose changes cannot be walked to the end is answered with a flush.
//
// TestModel checks this with simulated caches.
package tracking
