// Package events is the event log: a NATS JetStream stream with one subject a dataset, on which publishers announce
// versions and from which instances learn of them.
//
// The log is not the truth, the store is. So everything here may be repeated, and everything here heals:
//
//   - [Log.Announce] is idempotent, keeps the versions of a subject ascending whoever announces them at the same
//     time, and returns nil only when the log is known to hold the version or a later one.
//   - [Listener] gives live events by plain NATS subscriptions, and says whenever some may have been missed: at the
//     start, after every reconnect, after every asynchronous error, after an event that it could not read.
//   - A [Beacon] says every few seconds, on core NATS, which version of each dataset is the newest in the store. Whoever
//     hears of one of which no event came knows that it missed it, and whoever hears no beacon knows that it may.
//   - [Log.Latest] is how to catch up then: the last event of each dataset, in one request.
//   - [Log.History] reads the events of a dataset from a version on.
//
// [Log.Supersede] announces a version after one that is not in the store's history, so that after a restore from an older copy
// the versions of a subject go down once.
//
// In the default namespace the stream is FRESHET and the subject of a dataset freshet.v1.versions.<dataset>; in the namespace
// staging they are FRESHET_STAGING and freshet.v1.ns.staging.versions.<dataset>. No subject of one namespace matches a wildcard of
// another.
//
// Only version numbers order events. Sequence numbers of the stream start again when the stream is created again, so
// nothing here compares them across that, and History says when it happened while it read.
//
// A live event is what a publisher sent, not what the stream stored: subscribers also see an event that the stream
// refuses as a duplicate or as out of order. It announces a committed version all the same.
//
// What remains, in a cluster: in the moments after a subscription another server may not know of it yet, and a
// version that is published through that server just then, and that reaches the stream after the catch-up, is seen
// by neither. The next beacon names it.
package events
