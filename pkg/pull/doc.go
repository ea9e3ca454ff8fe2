// Package pull gets objects and version records from relays over HTTP.
//
// # Several relays
//
// A [Client] is given relays that all have the same to give. Package relays settles which is asked first for an object, by
// its digest, so that a fleet of relays holds each object once, and which are asked last, because they failed or gave
// wrong bytes. A relay that is busy is passed over as well: in a storm, serving early is worth that an object lies on two
// relays.
//
// A relay that has not sent the header of its answer after 0.4 s is hedged: another relay is asked too, and the first answer counts. A hang
// costs an object one more request, and a second hang, after two seconds, another one. A relay that is overtaken has failed only if it
// sends nothing for two seconds; its request may outlive the pull for that time. Hedges that were of no use have a budget: about 5 % of the
// requests. So a slow store, which makes all relays slow, gets little more load.
//
// # Going on
//
// When the connection breaks in the middle of an object, [Body.Read] goes on at the byte where it broke, at the next
// relay or again at the same, by Range and If-Range. What came before is not pulled twice.
//
// # Time
//
// A pull has no overall time limit, because a large object over a slow line takes what it takes. Every phase has its
// own: dialling, the TLS handshake, the wait for the response's header, and each wait for more bytes of the body
// ([Config.StallTimeout]). A relay that takes a connection and then says nothing is given up as soon as one that
// refuses it.
//
// A pull waits on purpose in two cases: while relays answer 503 with Retry-After, it asks them again when they said and
// not before, with jitter; and after a connection broke, as giving up would throw away what came. A relay that says
// when to come again does not hang, and neither does who waits for it. Hence the two bounds: [Config.Patience] is for
// how long in all no byte may come, and ends with an error that says who was busy or down; the step function of
// [Client.Object] is called often enough for a watchdog that is to find real hangs and nothing else.
//
// Without bytes to lose and with no busy relay, [Client.Object] makes one round over the relays and leaves it to the
// caller when to try again; [Error.RetryAfter] passes on what the relays asked for. So does [Client.Latest], always.
//
// # What is checked
//
// An answer counts only when its status is 200, or 206 with the range that was asked for, its length is the one that the
// version record says, and its ETag, where it has one, is the object's digest. The bytes themselves are checked by who
// reads them: pkg/snapshot knows the digest and a checksum of every block, and refuses the first damaged block instead
// of the last byte. The reader then says [Body.Rewind], and gets the block from another relay, or [Body.Refuse]. The
// relay that gave the bytes is distrusted for [Config.Distrust] and reported by [Config.Refused] and [Client.Health].
package pull
