// Package relay is the service between instances and the store: it answers for objects from a bounded cache of
// segments that many requests share, and says which version of a dataset is the newest.
//
//	GET, HEAD /v1/objects/{digest}          an object, whole or one range of bytes
//	GET       /v1/datasets/{name}/latest    the newest version record
//	GET       /v1/store                     the id of the store
//	GET       /healthz, /readyz, /metrics
//
// Answers name the store that the relay reads in the header Freshet-Store. The newest version is what the store has: the
// catalog answers only as long as it agrees with what the store had a second ago, or, as a hint that names no store, while
// the store does not answer.
//
// An object's bytes are sent as the store gave them: instances check digests and checksums, a relay does not. What it
// does not do is present a part as the whole: when the store fails within a response, the connection is closed before
// the length that the header promised.
//
// Bytes that were damaged on the way to a relay would be given out as long as they lie in its cache. An instance that
// got wrong bytes says Cache-Control: no-cache when it asks the same relay again; then the relay, and those before it,
// read the whole object from the store, if ten seconds are enough, and check its digest. If it is damaged there, the answer is a problem of the kind
// damaged-object that names the file or key. Otherwise the object leaves the caches and is read again.
//
// So many responses may be in progress (FRESHET_RELAY_RESPONSES) and so many reads of the store; beyond that the answer
// is 503 with a Retry-After that differs from client to client. A client that takes less than 256 KiB within
// FRESHET_RELAY_WRITE_STALL is cut off, and holds no memory of objects until then (package wire). Open connections are bounded
// (FRESHET_RELAY_CONNECTIONS): those that wait for a request make way for new ones.
//
// The store may be other relays, of which the next is asked when one fails (package upstream). A folder is served from the
// cache as any other store, and not by sendfile from its files, so that it is read once, in turns and within the budget,
// as what it is mounted from may need.
//
// Segments are copied to sockets by plain writes. An earlier relay gave their pages to the kernel (vmsplice, splice), which
// container limits count until the client has read them: with 1,000 clients that read 4 MiB and stop it peaked at 478 to
// 595 MiB where 346 are allowed, and under BBR it was slower for any number of clients. scripts/bench relay compares the two.
//
// openapi.yaml beside this file describes the interface.
package relay
