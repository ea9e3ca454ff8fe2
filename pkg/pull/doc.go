// Package pull gets objects and version records from relays over HTTP.
//
// A [Client] is given the relays in the order of preference and asks them in that order until one answers with what
// was asked for; a relay that failed lately is asked after those that did not. It makes one round over the relays per
// call and never waits between attempts: when to try again is the caller's decision, for which [Error.RetryAfter]
// passes on what the relays asked for.
//
// # Time
//
// A pull has no overall time limit, because a large object over a slow line takes what it takes. Every phase has its
// own: dialling, the TLS handshake, the wait for the response's header, and each wait for more bytes of the body
// ([Config.StallTimeout]). A relay that takes a connection and then says nothing is given up as soon as one that
// refuses it.
//
// # What is checked
//
// An answer counts only when its status is 200, its length is the one that the version record says, and its ETag,
// where it has one, is the object's digest. The bytes themselves are checked by who reads them (pkg/snapshot knows
// the digest and a checksum of every block, and refuses the first damaged block instead of the last byte); the reader
// then says [Body.Refuse], so that the next pull begins at another relay.
package pull
