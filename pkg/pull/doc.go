// Package pull reads objects and version records from several relays over HTTP. Instances use it, and relays that read from
// other relays.
//
// # Several relays
//
// All relays of a [Client] read the same store. Package relays ranks them for each object by its digest, so that a fleet of
// relays holds each object once. Relays that failed recently rank after the others, and relays that sent wrong bytes rank
// last. A busy relay is skipped too: during a storm, a fast answer is worth a second copy of the object.
//
// A relay that has not sent the header of its answer for an object after 0.4 s is hedged: another relay is queried too, and
// the first answer wins. A hang costs an object one more request, and a second hang, after two seconds, another one. An
// overtaken relay has failed only if it is silent for two seconds; its request may outlive the pull for that time. Useless
// hedges have a budget of about 5 % of the requests, so a slow store, which makes all relays slow, gets little more load.
//
// Reads by relays ([Client.Range], [Client.Size]) have no hedges; see [Config.TotalTimeout].
//
// # Broken connections
//
// When the connection breaks within an object, [Body.Read] continues at the byte where it broke, at the next relay or again
// at the same, by Range and If-Range. Earlier bytes are not pulled twice.
//
// # Time
//
// A pull has no overall time limit, because the time of a large object depends on the line. Every phase has a limit:
// dialling, the TLS handshake, the wait for the response's header, and each wait for more bytes of the body
// ([Config.StallTimeout]). A relay that accepts a connection and then is silent fails like one that refuses it.
//
// A pull pauses in two cases: while relays answer 503 with Retry-After, and after a connection broke, because an error would
// waste the bytes so far. Relays are not queried before their Retry-After, plus jitter. [Config.Patience] limits how long no
// byte may come in all; the error then names the relays that were busy or down. A pause is not a hang: the heartbeat of
// [Client.Object] runs during pauses too, so that a watchdog finds real hangs only.
//
// Without earlier bytes and without a busy relay, [Client.Object] makes one round over the relays, and the caller decides
// when to retry; [Error.RetryAfter] holds the time that the relays named. The other methods never pause.
//
// # Checks
//
// An answer is usable only if its status is 200, or 206 with the requested range, its length is that of the version record,
// and its ETag, if any, is the object's digest. The reader of the bytes checks the bytes: pkg/snapshot knows the digest and
// a checksum of every block, and finds damage at the first wrong block instead of the last byte. The reader then calls
// [Body.Rewind], and gets the block from another relay, or [Body.Refuse]. The relay that sent the bytes is distrusted for
// [Config.Distrust], and reported by [Config.Refused] and [Client.Health].
package pull
