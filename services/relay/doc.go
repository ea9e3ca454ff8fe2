// Package relay is the service between instances and the store: it serves objects from a bounded cache of segments that
// all requests share, and answers which version of a dataset is the newest.
//
//	GET, HEAD /v1/objects/{digest}          an object, whole or one range of bytes
//	GET       /v1/datasets/{name}/latest    the newest version record
//	GET       /v1/datasets/{name}/versions/{version}
//	                                        the record of one version
//	GET       /v1/store                     the id of the store
//	GET       /healthz, /readyz, /metrics
//
// The header Freshet-Store of an answer names the store that the relay reads. The newest version is the store's. The catalog
// answers only while it agrees with what the store had a second ago, or, as a hint that names no store, while the store
// does not answer.
//
// A relay sends an object's bytes as the store returned them: instances check digests and checksums, a relay does not.
// It never presents a part as the whole: when the store fails within a response, the relay closes the connection before
// the length of the header is reached.
//
// Bytes that were damaged on the way to a relay stay in its cache. An instance that received wrong bytes retries with
// Cache-Control: no-cache. The relay, and the relays upstream, then read the whole object from the store, if that takes at
// most ten seconds, and check its digest. If the object is damaged there, the answer is a problem of the kind
// damaged-object that names the file or key. Otherwise the object leaves the caches and is read again.
//
// FRESHET_RELAY_RESPONSES bounds the responses in progress, FRESHET_RELAY_ORIGIN_READS the reads of the store. Beyond that
// the answer is 503, with a Retry-After that differs from client to client. A client that takes less than 256 KiB within
// FRESHET_RELAY_WRITE_STALL is cut off, and holds no memory of objects until then (package wire). Connections are bounded by
// FRESHET_RELAY_CONNECTIONS: idle ones are closed for new ones.
//
// The cache (FRESHET_RELAY_CACHE_BYTES) should be a quarter larger than the largest snapshot. The relay logs once when an
// object does not fit. It streams such an object: clients that start at about the same time share one read of the store, others
// share the next one.
//
// The store may be other relays; when one fails, the relay reads from the next (package upstream). A folder is served from
// the cache like any other store, and not by sendfile from its files: each object is then read once, within the bounds on
// reads and memory, which a network file system may need.
//
// Segments are copied to sockets by plain writes. An earlier relay gave their pages to the kernel (vmsplice, splice), which
// container limits count until the client has read them: with 1,000 clients that read 4 MiB and stop it peaked at 478 to
// 595 MiB where 346 are allowed, and under BBR it was slower for any number of clients. scripts/bench relay compares the two.
//
// The file openapi.yaml in this folder describes the interface.
package relay
