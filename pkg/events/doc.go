// Package events implements the event log: a NATS JetStream stream with one subject for each dataset. Publishers announce
// versions in it, and instances learn of versions from it.
//
// The store is the truth, not the log. So every operation may be repeated, and every loss is repaired:
//
//   - [Log.Announce] is idempotent. It keeps the versions of a subject ascending under concurrent announcements, and
//     returns nil only when the log is known to hold the version or a later one.
//   - [Listener] receives live events by core NATS subscriptions. It reports whenever events may have been missed: at the
//     start, after every reconnect, after every asynchronous error, after an unreadable event.
//   - A [Beacon] reports every few seconds, on core NATS, the newest version of each dataset in the store. An instance that
//     has received no event of such a version has missed it; an instance that receives no beacons may be missing events.
//   - [SendEntry] sends a journal entry on core NATS, and [Watcher] reports which datasets have a new version or entry.
//   - [Log.Latest] catches up: it returns the last event of each dataset, in one request.
//   - [Log.History] returns the events of a dataset from a version on.
//
// [Log.Supersede] announces a version after one that is not in the store's history. After a restore of the store from an
// older copy, the versions of a subject go down once.
//
// In the default namespace the stream is FRESHET and the subject of a dataset freshet.v1.versions.<dataset>; in the namespace
// staging they are FRESHET_STAGING and freshet.v1.ns.staging.versions.<dataset>. A subject of one namespace never matches a
// wildcard of another.
//
// Only version numbers order events. A stream that is deleted and created again also restarts its sequence numbers, so
// this package never compares them across streams, and History reports when the stream was replaced while it read.
//
// Subscribers receive a live event from the publisher, not from the stream. So they also receive an event that the stream
// refuses as a duplicate or as out of order. Such an event also announces a committed version.
//
// One gap remains in a cluster. For a moment after a subscription, another server may not know of it. An event that is
// published through that server in this moment, and stored after the catch-up, reaches the Listener neither way. The next
// beacon reports its version.
package events
